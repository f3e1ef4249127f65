"""Options of `train` that --set has replaced: they go on working, out of the help."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer

from tune_qat.cli.application import Command
from tune_qat.cli.options import read_pairs
from tune_qat.config import TrialConfig

_OLD: dict[str, tuple[str, Any]] = {
    "--first-last-bits": ("scheme.first_last_bits", int),
    "--activation-quantizer": ("scheme.activation_quantizer", str),
    "--layer-bits": ("scheme.layer_bits", "conv1=[8,8]"),
    "--quantizer-option": ("scheme.options", "per_channel=true"),
    "--ste": ("scheme.ste", str),
    "--option": ("optimizer_options", "momentum=0.9"),
    "--data-option": ("dataset_options", "scale=2"),
    "--quantizer-lr-multiplier": ("quantizer_lr_multiplier", float),
    "--quantizer-optimizer": ("quantizer_optimizer.name", str),
    "--quantizer-learning-rate": ("quantizer_optimizer.learning_rate", float),
    "--schedule": ("schedule", str),
    "--warmup-epochs": ("warmup_epochs", float),
    "--bn-reestimation-batches": ("bn_reestimation_batches", int),
    "--freezing": ("freezing", "threshold_start=0.1"),
    "--dampening": ("dampening", "weight=0.1"),
    "--milestone": ("milestones", list),
    "--decay": ("decay", float),
    "--distillation": ("distillation.weight", float),
    "--temperature": ("distillation.temperature", float),
}
"""Key of each, and the type of its value; of those that take KEY=VALUE, an example in its place."""
OldOptions = Annotated[list[str] | None, typer.Option("--old", hidden=True, help="An option that --set has replaced.")]


class TrainCommand(Command):
    """The command `train`, to which the options of earlier versions are one option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments, the old options behind --old."""
        return super().parse_args(ctx, _renamed(args))


def _renamed(args: Iterable[str]) -> list[str]:
    found, rest = [], iter(args)
    for argument in rest:
        option, equals, _ = argument.partition("=")
        if option in _OLD:
            found += ["--old", argument if equals else f"{option}={next(rest, '')}"]
        else:
            found.append(argument)
    return found


def read_trial(settings: list[str] | None, given: Mapping[str, Any], old: list[str] | None) -> TrialConfig:
    """Read --set, over the options that are given and the old ones."""
    from tune_qat.study.lone_trial import lone_trial

    said = read_pairs(settings, "--set", "optimizer_options.momentum=0.9")
    shown = {tuple(key.split(".")): value for key, value in given.items() if value is not None}
    return lone_trial(said, shown | _old_values(old or (), said))


def _old_values(texts: Iterable[str], settings: Iterable[str]) -> dict[tuple[str, ...], Any]:
    """Read the values of old options, by the path of their key."""
    found: dict[tuple[str, ...], Any] = {}
    for text in texts:
        option, _, value = text.partition("=")
        key, kind = _OLD[option]
        path = tuple(key.split("."))
        if isinstance(kind, str):
            found |= {(*path, name): one for name, one in read_pairs([value], option, kind).items()}
        elif kind is list:
            found.setdefault(path, []).append(_number(value, float))
        else:
            found[path] = _number(value, kind)
    if ("distillation", "weight") not in found and not any(key.startswith("distillation") for key in settings):
        found.pop(("distillation", "temperature"), None)  # without a teacher it never meant anything
    return found


def _number(text: str, kind: Any) -> Any:
    """Read a value; what cannot be read is refused later, with its key."""
    with suppress(ValueError):
        return kind(text)
    return text
