"""Names of models beside the table: of a library's network, and of an own part. Free of torch; nothing is imported."""

import re
from collections.abc import Mapping
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.entry_points import entry_points
from tune_qat.config.own_parts import LIBRARIES, check_name, is_own, load_part
from tune_qat.config.shown import cause, shown
from tune_qat.data.spec import CLASSIFICATION
from tune_qat.models.spec import ModelSpec

ANY_TASK = ""
"""Task of an own part, of which no more is known than its name."""
_NETWORK = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
"""Name in a library's list; timm's may have a tag of weights behind a dot."""
_OF_THE_DATA = ("num_classes", "in_chans", "img_size", "image_size", "input_size")
_OF_WEIGHTS = {
    "timm": ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
    "torchvision": ("weights", "weights_backbone", "progress"),
}
"""Arguments by which a library would load weights itself."""
_OTHER_MODELS = ("features_only", "out_indices", "feature_cls", "scriptable", "exportable", "no_jit")
"""Arguments of timm with which it builds no classifier, or one for another purpose."""


def is_library(name: str) -> bool:
    """Tell whether a name is that of a library's network, as `timm:vit_tiny_patch16_224`."""
    return isinstance(name, str) and ":" in name and name.partition(":")[0] in LIBRARIES


def is_offered(name: str) -> bool:
    """Tell whether an installed package offers a model of this name."""
    return isinstance(name, str) and ":" not in name and name in entry_points("model")


def load_own(name: str) -> Any:
    """Import an own part, or what an installed package offers: a function, or a class of modules.

    Raises:
        UsageError: it cannot be imported, or must not be.
    """
    if is_own(name):
        return load_part(name, "model")
    try:
        return entry_points("model")[name].load()
    except Exception as error:  # whatever a module of someone else's does as it is imported
        value = entry_points("model")[name].value
        raise UsageError(f"Model {name!r} is offered as {value}, which cannot be imported: {cause(error)}") from error


def library_spec(name: str) -> ModelSpec:
    """Return the line of a library's network; whether the library has it, is asked when it is to be built.

    Raises:
        UsageError: no name that a network of a library can have.
    """
    library, _, network = name.partition(":")
    if not _NETWORK.fullmatch(network):
        raise UsageError(
            f"Model {shown(name)} must be written as {library}:NAME, the name as in the list of {library}."
        )
    return ModelSpec(name=name, task=CLASSIFICATION, summary=f"a network of {library}", build="", source=library)


def own_spec(name: str) -> ModelSpec:
    """Return the line of an own part, or of one that is offered; `UsageError` for a name that no own part has."""
    if is_own(name):
        check_name(name, "model")
    return ModelSpec(name=name, task=ANY_TASK, summary="an own model", build=name, source="the user's own")


def check_library_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for options of a library's network that follow from the data, or that load weights."""
    library = name.partition(":")[0]
    for option in options:
        why = ""
        if option in _OF_THE_DATA:
            why = "follows from the data"
        elif option in _OF_WEIGHTS[library]:
            why = "is said by training.weights (--weights)"
        elif library == "timm" and option in _OTHER_MODELS:
            why = "makes something else than a classifier"
        if why:
            raise UsageError(f"Option {option!r} of model {name!r} {why}, and is no model option. Leave it out.")
