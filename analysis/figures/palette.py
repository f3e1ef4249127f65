"""Colour and marker of each optimizer, by families that colour-blind readers can tell.

A family has a hue, its optimizers differ in lightness, and everyone has a marker of their own. The colours of the ten
optimizers of the published studies were searched for the largest smallest distance (OKLab) of any two to readers with
normal vision, protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes, 2009), at a contrast of 3 or
more to white.
"""

import hashlib
from dataclasses import dataclass

BLUE, SKY, AZURE = "#2f4175", "#1095fa", "#0f6cbd"
PINE, TEAL, SAGE = "#006855", "#28847c", "#6f9b69"
ORANGE, RUST, BROWN, MAROON = "#fc5901", "#a93a08", "#782803", "#551310"
PURPLE, MAUVE, GREY = "#8f42cd", "#b0629b", "#707070"

_KNOWN = {
    # Adam and what follows from it.
    "adam": (BLUE, "circle"),
    "adamw": (SKY, "square"),
    "nadam": (AZURE, "diamond"),
    "radam": (AZURE, "bowtie"),
    "lamb": (AZURE, "triangle-down"),
    "adan": (AZURE, "cross"),
    "ademamix": (SKY, "x"),
    "adopt": (SKY, "star"),
    "mars": (BLUE, "hourglass"),
    "schedule_free_adamw": (SKY, "pentagon"),
    # One rate for each weight, without momentum.
    "rmsprop": (PINE, "diamond"),
    "adagrad": (TEAL, "triangle-up"),
    "adadelta": (SAGE, "triangle-down"),
    # Gradient descent.
    "sgd": (ORANGE, "cross"),
    "nesterov": (RUST, "x"),
    "sgd_clip": (BROWN, "hourglass"),
    "sgd_agc": (MAROON, "bowtie"),
    "sgd_momentum": (ORANGE, "circle"),
    "schedule_free_sgd": (ORANGE, "pentagon"),
    # Signs and matrices.
    "lion": (PURPLE, "star"),
    "muon": (MAUVE, "circle"),
    "soap": (MAUVE, "square"),
    # No rate to tune.
    "prodigy": (GREY, "hexagon"),
}
_COLOURS = tuple(dict.fromkeys(colour for colour, _ in _KNOWN.values()))
_SYMBOLS = tuple(dict.fromkeys(symbol for _, symbol in _KNOWN.values()))


@dataclass(frozen=True)
class Style:
    """Style of one optimizer; no two known ones share colour and marker."""

    colour: str
    dash: str
    symbol: str


def style(optimizer: str) -> Style:
    """Return the style of an optimizer by its name; an unknown one, of an imported study, gets one from its hash.

    One whose quantizers another optimizer moves, as `sgd + adam steps`, has the colour of the weights' optimizer, a
    dashed line and an open marker.
    """
    number = int(hashlib.sha256(optimizer.encode()).hexdigest()[:8], 16)
    symbol = _SYMBOLS[number % len(_SYMBOLS)]
    base, _, steps = optimizer.partition(" + ")
    if steps:
        return Style(style(base).colour, "dash", f"{symbol}-open")
    colour, symbol = _KNOWN.get(optimizer, (_COLOURS[number % len(_COLOURS)], symbol))
    return Style(colour, "solid", symbol)
