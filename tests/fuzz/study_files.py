"""Fuzzer of what users write about studies: study files, and `--set` of `plan` and of `train`."""

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.loop import command, main
from tests.fuzz.mutants import changed_bytes, odd_text
from tests.helpers.study_files import SMALL
from tune_qat.cli.old_options import read_trial
from tune_qat.study import Study
from tune_qat.study.file import bundled, load_study

KEYS = (
    *("name", "note", "mode", "seed", "repeats", "max_failed_trials", "data_dir", "extend", "x", "workload", "space"),
    *("workload.model", "workload.dataset", "workload.options.train_limit", "quantization.quantizer", "pretrain"),
    *("quantization.bits", "quantization.options.per_channel", "quantization.layers.conv1", "quantization.methods"),
    *("quantization.search_bits", "quantization.weight_decay_factors.2", "training.epochs", "training.milestones"),
    *("training.decay", "training.warmup_epochs", "training.distillation.weight", "training.freezing.momentum"),
    *("training.dampening", "training.quantizer_optimizer.optimizer", "training.init_path", "training.schedule"),
    *("space.optimizers", "space.batch_size.low", "space.batch_size", "space.learning_rate.high"),
    *("space.per_optimizer.adam.beta1.low", "space.fixed.adam.weight_decay", "space.fixed", "stages.search"),
    *("stages.retrain", "asha.reduction_factor", "asha.grace_epochs", "judgement.margin", "judgement.alpha"),
)
TRIAL_KEYS = (
    *("optimizer_options.momentum", "dataset_options.train_limit", "dataset_options", "schedule", "milestones"),
    *("decay", "scheme", "scheme.first_last_bits", "scheme.options.per_channel", "scheme.layer_bits.conv1", "seed"),
    *("scheme.weight_bits", "scheme.x", "quantizer_optimizer.name", "quantizer_optimizer", "freezing.threshold_start"),
    *("dampening.weight", "distillation", "distillation.weight", "init_seed", "optimizer", "model", "learning_rate"),
    *("batch_size", "epochs", "scheme.quantizer", "optimizer_options", "bn_reestimation_batches"),
    *("calibration_batches", "scheme.options.range"),
)


@functools.cache
def texts() -> tuple[str, ...]:
    """Study files to begin with."""
    return (SMALL, *(path.read_text(encoding="utf-8") for path in bundled().values()))


def case(chance: random.Random, folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A changed study file, read with changed overrides; and the same for one trial."""
    path = folder / "study.toml"
    path.write_bytes(_file(chance, folder))
    settings = [_setting(chance, KEYS) for _ in range(chance.choice((0, 0, 1, 2)))]
    words = [word for one in settings for word in ("--set", one)]
    yield "plan", functools.partial(command, "plan", path, *words, "--results", folder / "none")
    overrides = {chance.choice(KEYS): _value(chance)}
    yield "load", functools.partial(load_study, Study, chance.choice(sorted(bundled())), overrides)
    said = [_setting(chance, TRIAL_KEYS) for _ in range(chance.choice((1, 1, 2)))]
    given = {"model": "lenet5", "dataset": "digits", "scheme.quantizer": "lsq", "optimizer": "adam", "seed": 0}
    bits = {"scheme.weight_bits": 4, "scheme.activation_bits": 4, "batch_size": 32, "epochs": 3}
    yield f"train {said!r:.300}", functools.partial(read_trial, said, given | bits, [])


def _file(chance: random.Random, folder: Path) -> bytes:
    text = chance.choice(texts())
    kind = chance.randrange(5)
    if kind == 0:
        return changed_bytes(chance, text.encode())
    if kind == 1:  # a value replaced
        lines = text.splitlines()
        places = [place for place, line in enumerate(lines) if "=" in line] or [0]
        for _ in range(chance.choice((1, 1, 2, 5))):
            place = chance.choice(places)
            lines[place] = f"{lines[place].partition('=')[0]}= {odd_text(chance)}"
        return "\n".join(lines).encode(errors="surrogateescape")
    if kind == 2:  # a key more
        return f"{_key(chance)} = {odd_text(chance)}\n{text}".encode(errors="surrogateescape")
    if kind == 3:  # extended
        (folder / "base.toml").write_bytes(changed_bytes(chance, text.encode()) if chance.random() < 0.5 else b"")
        base = chance.choice(("base.toml", "study.toml", "quickstart", "/dev/null", ".", "\\u0000", "none.toml"))
        return f'extend = "{base}"\n{_key(chance)} = {odd_text(chance)}\n'.encode(errors="surrogateescape")
    return "\n".join(f"{chance.choice(KEYS)} = {odd_text(chance)}" for _ in range(20)).encode(errors="surrogateescape")


def _key(chance: random.Random) -> str:
    return chance.choice((*KEYS, '""', '"a.b"', "'\n'", ".", ".".join("a" * chance.choice((2, 30, 300, 3_000)))))


def _setting(chance: random.Random, keys: tuple[str, ...]) -> str:
    text = f"{chance.choice(keys)}={odd_text(chance)}"
    return chance.choice(
        (text, text, text, text.replace("=", ""), odd_text(chance), f"{_key(chance)}={odd_text(chance)}")
    )


def _value(chance: random.Random) -> Any:
    return chance.choice(
        (None, True, -1, 0, 10**6, 10**18, 10**5000, -0.0, 1e308, float("nan"), float("inf"), "", "x" * 10**6, b"x", [])
        + (
            [[]] * 3,
            [[4, 4]] * 50,
            {},
            {"a": {"b": {}}},
            {1: 2},
            [None],
            ["adam"] * 99,
            ["adam", "sgd"],
            "adam",
            4,
            0.5,
        )
    )


if __name__ == "__main__":
    main("tests.fuzz.study_files", case)
