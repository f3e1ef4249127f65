"""Weights that timm and torchvision publish: from the library's cache, or the network; read as data alone."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.own_parts import LIBRARIES
from tune_qat.config.shown import cause
from tune_qat.data.spec import ModelInput
from tune_qat.training.weights.file import read_weights

_DATA_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""Environment variable with which torch reads no pickled code, whatever its caller asks for."""
_HASH = re.compile(r"-([a-f0-9]{8,})\.")
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Names that DenseNets of torchvision had when their weights were saved."""


def published(library: str, model: str, model_input: ModelInput, options: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the published weights of a library's network, or of one of our table that is the library's.

    Those of timm come for images of this size: what is of each position is resampled as timm does.

    Raises:
        UsageError: the model is no network of the library.
        TuneQatError: there are none, or they are neither in the cache nor to be had from the network.
    """
    of, _, network = model.rpartition(":")
    known = of in ("", library)
    if known:
        from tune_qat.models import timm_networks, torchvision_networks

        known = network in (timm_networks if library == "timm" else torchvision_networks).names(network)
    if not known:
        others = " or ".join(f'"{one}"' for one in LIBRARIES if one == of) or "the path of a file"
        raise UsageError(
            f'training.weights = "{library}": model {model!r} is no network of {library}. Give {others}, or a model '
            f'"{library}:NAME".'
        )
    found = _of_timm if library == "timm" else _of_torchvision
    return found(network, model_input, options)


def _of_timm(network: str, model_input: ModelInput, options: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    import timm

    from tune_qat.models import timm_networks

    known = timm.models.get_pretrained_cfg(network)
    if known is None or not known.has_weights:
        raise TuneQatError(f"timm publishes no weights of {network!r}. Give the path of a file (training.weights).")
    more = {"pretrained": True, "num_classes": known.num_classes, "in_chans": known.input_size[0]}
    assert model_input.height is not None and model_input.width is not None  # or the model was not built
    try:
        with _data_only(), torch.random.fork_rng(devices=[]):
            height, width = timm_networks.size(network, (model_input.height, model_input.width), options)
            enlarged = replace(model_input, height=height, width=width, shape=(model_input.channels, height, width))
            model = timm_networks.build(network, enlarged, options, **more)
    except Exception as error:  # of the network, of a file, or of options that the weights do not fit
        raise _not_had("timm", network, "timm's cache", error) from error
    return dict(model.state_dict())


def _of_torchvision(network: str, model_input: ModelInput, options: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    from torchvision import models

    # Not `get_state_dict`, which would run what a pickled file in the cache says.
    url = models.get_model_weights(network).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            digits = _HASH.search(path.name)
            torch.hub.download_url_to_file(url, str(path), digits[1] if digits else None, progress=False)
        except (OSError, RuntimeError) as error:
            raise _not_had("torchvision", network, str(path), error) from error
    return {_DENSENET.sub(r"\1\2", name): value for name, value in read_weights(path).items()}


def _not_had(library: str, network: str, place: str, error: Exception) -> TuneQatError:
    return TuneQatError(
        f"The weights of {network!r} that {library} publishes are not to be had: {type(error).__name__}: "
        f"{cause(error)}. They are looked for in {place}, and fetched where there is a network. Run once where there "
        "is one, or give the path of a file (training.weights, --weights)."
    )


@contextmanager
def _data_only() -> Iterator[None]:
    """Let torch read no code from files, whatever a library asks it for."""
    before = os.environ.get(_DATA_ONLY)
    os.environ[_DATA_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_DATA_ONLY]
        else:
            os.environ[_DATA_ONLY] = before
