"""What a line of the table of models says. Free of torch."""

from dataclasses import dataclass

from tune_qat.data.spec import CLASSIFICATION


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One model: what it is for, how it is built, and where it comes from."""

    name: str
    task: str
    summary: str
    build: str
    """`package.module:function`, called as `function(model_input)`; raises `UsageError` where it does not fit."""
    smallest: int = 0
    """Height and width that the network takes at least, of most its total stride; smaller images are enlarged."""
    source: str


def classifier(name: str, summary: str, build: str, smallest: int, source: str) -> ModelSpec:
    """A line for a network that takes any image, those below `smallest` enlarged to it."""
    return ModelSpec(
        name=name,
        task=CLASSIFICATION,
        summary=summary,
        build=f"tune_qat.models.{build}",
        smallest=smallest,
        source=source,
    )


def at_1000(what: str, parameters: str) -> str:
    """A summary with the size that a network has on ImageNet."""
    return f"{what} ({parameters} parameters at 1,000 classes)"
