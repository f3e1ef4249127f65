"""Names as people write them. Study files, filters, SQL and the record have the keys, which stay as they are."""

import re
from collections.abc import Iterable

_SHOWN = {
    # Optimizers.
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSProp",
    "adagrad": "AdaGrad",
    "adadelta": "Adadelta",
    "sgd": "SGD",
    "nesterov": "Nesterov",
    "lion": "Lion",
    "sgd_clip": "SGD with clipping",
    "sgd_agc": "SGD with AGC",
    "sgd_momentum": "SGD with momentum",
    "nadam": "NAdam",
    "radam": "RAdam",
    "lamb": "LAMB",
    "adan": "Adan",
    "ademamix": "AdEMAMix",
    "adopt": "ADOPT",
    "mars": "MARS",
    "soap": "SOAP",
    "muon": "Muon",
    "prodigy": "Prodigy",
    "schedule_free_sgd": "Schedule-Free SGD",
    "schedule_free_adamw": "Schedule-Free AdamW",
    # Quantizers.
    "lsq": "LSQ",
    "lsq_plus": "LSQ+",
    "pact": "PACT",
    "dsq": "DSQ",
    "qil": "QIL",
    "qnn": "QNN",
    "dorefa": "DoReFa",
    "xnor": "XNOR",
    "twn": "TWN",
    "ttq": "TTQ",
    # Metrics.
    "accuracy": "accuracy",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "r2": "R²",
    "mean_iou": "mean IoU",
}


_BESIDE = " + "
"""Text between an optimizer and what moves the step sizes beside it, as in `sgd + adam steps`."""


def shown(name: str) -> str:
    """Return an optimizer, quantizer or metric as people write it; a part of the user's own by its own name."""
    first, beside, steps = name.partition(_BESIDE)
    mover, _, rest = steps.partition(" ")
    return f"{shown(first)}{beside}{shown(mover)} {rest}" if rest else _SHOWN.get(name, name)


def in_words(text: str, names: Iterable[str]) -> str:
    """Return a sentence in which these names, wherever they are whole words, are as people write them."""
    keys = sorted({part for name in names for part in _parts(name) if shown(part) != part}, key=len, reverse=True)
    if not keys:
        return text
    whole = rf"(?<![\w./:`-])(?:{'|'.join(map(re.escape, keys))})(?![\w/`-]|[.:]\w)"
    return re.sub(whole, lambda found: shown(found[0]), text)


def _parts(name: str) -> tuple[str, ...]:
    first, _, steps = name.partition(_BESIDE)
    return first, steps.partition(" ")[0]
