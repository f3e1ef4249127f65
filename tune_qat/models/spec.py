"""The line of a model in the table. Free of torch."""

from dataclasses import dataclass

from tune_qat.data.spec import CLASSIFICATION


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One model: what it is for, how it is built, and where it comes from."""

    name: str
    task: str
    summary: str
    build: str
    """`package.module:function`, called as `function(model_input)`; raises `UsageError` if the input does not fit."""
    smallest: int = 0
    """Smallest height and width that the network takes, for most its total stride; smaller images are enlarged."""
    source: str


def classifier(name: str, summary: str, build: str, smallest: int, source: str) -> ModelSpec:
    """Return the line of a classification network for images of any size, those below `smallest` enlarged to it."""
    return ModelSpec(
        name=name,
        task=CLASSIFICATION,
        summary=summary,
        build=f"tune_qat.models.{build}",
        smallest=smallest,
        source=source,
    )


def at_1000(what: str, parameters: str) -> str:
    """Return a summary with the number of parameters that a network has on ImageNet."""
    return f"{what} ({parameters} parameters at 1,000 classes)"
