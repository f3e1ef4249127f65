"""Published weights: from the library's cache, read as data alone, and one message where there are none."""

from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
from torchvision import models as torchvision_models

from tests.conformance.models import images
from tests.training.weights.test_file import Hostile
from tune_qat import models
from tune_qat.config import TuneQatError, UsageError
from tune_qat.training.weights.fitting import load_fitting
from tune_qat.training.weights.published import published

VISION = "mobilenet_v3_small"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The libraries' cache, empty, on a machine without a network."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def offline(url: str, *_: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def planted(cache: Path) -> Path:
    """Where torchvision looks for the weights of `VISION`."""
    url: str = torchvision_models.get_model_weights(VISION).DEFAULT.url
    return cache / url.rpartition("/")[2]


@pytest.fixture(params=["mobilenetv3_small_050"])
def timm_file(request: pytest.FixtureRequest, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where timm looks for the weights of a small network, whose source is a URL here."""
    known = timm.models.get_pretrained_cfg(request.param)
    assert known is not None
    known.hf_hub_id, known.url = None, "https://example.org/small-12345678.pth"
    registry = timm.models._registry._model_pretrained_cfgs
    for name in [one for one in registry if one.partition(".")[0] == request.param]:
        monkeypatch.setitem(registry, name, known)
    return cache / "small-12345678.pth"


@pytest.mark.parametrize("model", [f"torchvision:{VISION}", "mobilenet_v3_small"])
def test_torchvisions_are_read_from_its_cache(model: str, cache: Path) -> None:
    given = models.build(f"torchvision:{VISION}", images(3, 32, 1000), 3).state_dict()
    torch.save(given, planted(cache))
    found = published("torchvision", model, images(3, 32, 10), {})
    assert found.keys() == given.keys() and all(torch.equal(found[name], given[name]) for name in given)


def test_code_in_torchvisions_cache_does_not_run(cache: Path, tmp_path: Path) -> None:
    torch.save({"features.0.0.weight": Hostile(tmp_path / "made")}, planted(cache))
    with pytest.raises(TuneQatError, match="posix.mkdir, which would be imported, and is not"):
        published("torchvision", f"torchvision:{VISION}", images(3, 32, 10), {})
    assert not (tmp_path / "made").exists()
    torchvision_models.get_model_weights(VISION).DEFAULT.get_state_dict()
    assert (tmp_path / "made").exists()  # torchvision itself runs it


def test_timms_are_read_from_its_cache(timm_file: Path) -> None:
    given = timm.create_model("mobilenetv3_small_050").state_dict()
    torch.save(given, timm_file)
    found = published("timm", "timm:mobilenetv3_small_050", images(1, 32, 10), {})
    assert found.keys() == given.keys() and all(torch.equal(found[name], given[name]) for name in given)


@pytest.mark.parametrize("timm_file", ["test_vit"], indirect=True)
def test_positions_of_other_images_are_resampled_by_timm(timm_file: Path) -> None:
    given = timm.create_model("test_vit").state_dict()
    torch.save(given, timm_file)
    wanted = images(1, 28, 10)
    found = published("timm", "timm:test_vit", wanted, {})
    assert given["pos_embed"].shape[1] == 101 and found["pos_embed"].shape[1] == 5  # 160 and 32 pixels, patches of 16
    model = models.build("timm:test_vit", wanted, 0)
    fit = load_fitting(model, found, wanted, "Weights")
    assert "head left out: 1,000 classes for 10; patch_embed.proj from 3 channels to 1" in str(fit)


def test_code_in_timms_cache_does_not_run(timm_file: Path, tmp_path: Path) -> None:
    torch.save({"conv_stem.weight": Hostile(tmp_path / "made")}, timm_file)
    with pytest.raises(TuneQatError, match="that timm publishes are not to be had: UnpicklingError"):
        published("timm", "timm:mobilenetv3_small_050", images(3, 32, 10), {})
    assert not (tmp_path / "made").exists()


def test_without_cache_and_network_one_message_says_so(cache: Path) -> None:
    with pytest.raises(TuneQatError, match=r"not to be had: URLError: .*no network.*looked for in .*v3_small.*fetched"):
        published("torchvision", f"torchvision:{VISION}", images(3, 32, 10), {})


def test_what_a_library_does_not_publish_is_refused() -> None:
    with pytest.raises(TuneQatError, match="timm publishes no weights of 'vit_base_patch32_plus_256'"):
        published("timm", "timm:vit_base_patch32_plus_256", images(3, 256, 10), {})
    for library, model in (("timm", "lenet5"), ("torchvision", "timm:resnet18"), ("timm", "mine.nets:build")):
        with pytest.raises(UsageError, match=f'"{library}": model .* is no network of {library}'):
            published(library, model, images(3, 32, 10), {})
