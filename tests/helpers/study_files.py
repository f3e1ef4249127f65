"""A study file of every section but [pretrain], and ways to change it."""

from pathlib import Path

SMALL = """\
[workload]
model = "lenet5"
dataset = "digits"

[quantization]
bits = [[32, 32], [4, 4]]

[training]
epochs = 9
init = "scratch"

[space]
optimizers = ["adam", "nesterov"]
batch_size = { low = 8, high = 64 }

[stages]
search = 6

[judgement]
metric = "accuracy"
margin = 0.01
"""


def changed(old: str, new: str) -> str:
    """The small study with one place changed."""
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def write(folder: Path, text: str = SMALL, name: str = "small.toml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)
