"""Checkpoints: whole or not there, data and never code, and a hash of what they hold."""

import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.storage import Bucket
from tests.helpers.trials import FLOAT, PHOTOS, tiny_trial, training_of
from tune_qat.config import NotRead, TuneQatError
from tune_qat.storage.paths import storage_path
from tune_qat.training.alone import train
from tune_qat.training.checkpoints import load_checkpoint, load_weights, save_checkpoint, weights_sha256

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(2, dtype=torch.int64)}


class Attack:
    """A pickle that makes a folder when it is loaded as code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def damaged(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.pt"
    torch.save({"model": WEIGHTS}, path)
    whole = path.read_bytes()
    content = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "random": bytes(torch.randint(0, 256, (4096,), generator=torch.Generator().manual_seed(0)).tolist()),
        "text": b"these are not the weights you are looking for\n",
        "code": pickle.dumps({"model": Attack(folder / "executed")}),
    }
    path.write_bytes(content[kind])
    return path


class TestLoading:
    @pytest.mark.parametrize("kind", ["truncated", "empty", "random", "text", "code"])
    @pytest.mark.parametrize("load", [load_checkpoint, load_weights])
    def test_a_damaged_file_is_named(self, tmp_path: Path, kind: str, load: Any) -> None:
        path = damaged(tmp_path, kind)
        with pytest.raises(TuneQatError, match=re.escape(str(path)) + " cannot be read"):
            load(path)
        assert not (tmp_path / "executed").exists()

    def test_code_in_torchs_own_format_is_not_executed(self, tmp_path: Path) -> None:
        path = tmp_path / "zip.pt"
        torch.save({"model": {"a": Attack(tmp_path / "executed")}}, path)
        with pytest.raises(TuneQatError, match=re.escape(str(path))):
            load_checkpoint(path)
        assert not (tmp_path / "executed").exists()

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TuneQatError, match=re.escape(f"{tmp_path / 'none.pt'} does not exist")):
            load_checkpoint(tmp_path / "none.pt")

    def test_a_file_that_storage_does_not_give_is_not_damaged(self, bucket: Bucket) -> None:
        """It may be asked for again; a damaged one is set aside, and its trial begins anew."""
        path = storage_path(f"{bucket.uri}/last.pt")
        save_checkpoint({"a": torch.ones(2)}, path)
        with bucket.failing("503"), pytest.raises(NotRead, match="last.pt cannot be read"):
            load_checkpoint(path)
        assert load_checkpoint(path)["a"].tolist() == [1.0, 1.0]

    def test_a_folder_is_no_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(TuneQatError, match=re.escape(str(tmp_path))):
            load_checkpoint(tmp_path)

    @pytest.mark.parametrize("content", [[1.0, 2.0], torch.zeros(3), "weights"], ids=["list", "tensor", "text"])
    def test_something_without_names_is_no_checkpoint(self, tmp_path: Path, content: Any) -> None:
        path = tmp_path / "other.pt"
        torch.save(content, path)
        with pytest.raises(TuneQatError, match=re.escape(str(path)) + " holds a"):
            load_weights(path)

    def test_the_two_kinds_of_weights(self, tmp_path: Path) -> None:
        for content in (WEIGHTS, {"model": WEIGHTS, "epoch": 3}):
            torch.save(content, tmp_path / "w.pt")
            assert weights_sha256(load_weights(tmp_path / "w.pt")) == weights_sha256(WEIGHTS)

    def test_a_weight_that_is_called_model_is_a_weight(self, tmp_path: Path) -> None:
        torch.save({"model": torch.ones(2)}, tmp_path / "w.pt")
        assert torch.equal(load_weights(tmp_path / "w.pt")["model"], torch.ones(2))

    def test_a_quantized_model_is_no_start(self, tmp_path: Path) -> None:
        path = tmp_path / "quantized.pt"
        save_checkpoint(training_of(tiny_trial()).state_dict(), path)
        with pytest.raises(TuneQatError, match=re.escape(str(path)) + " holds more than floating-point weights"):
            load_weights(path)


class TestStart:
    def test_weights_of_another_model_are_named(self, tmp_path: Path) -> None:
        path = tmp_path / "espcn.pt"
        save_checkpoint(training_of(tiny_trial(**PHOTOS, scheme=FLOAT)).state_dict(), path)
        with pytest.raises(TuneQatError, match=re.escape(f"{path} does not fit model 'lenet5'")):
            next(train(tiny_trial(), init=path))

    def test_a_missing_start_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(TuneQatError, match=re.escape(str(tmp_path / "none.pt"))):
            next(train(tiny_trial(), init=tmp_path / "none.pt"))

    @pytest.mark.parametrize("scheme", [tiny_trial().scheme, FLOAT], ids=["w4a4", "float"])
    def test_training_starts_from_the_weights(self, tmp_path: Path, scheme: Any) -> None:
        pretrained = training_of(tiny_trial(scheme=FLOAT, init_seed=5))
        list(pretrained.epochs())
        save_checkpoint(pretrained.state_dict(), tmp_path / "start.pt")
        started = training_of(tiny_trial(scheme=scheme), init=tmp_path / "start.pt")
        ours = [value for name, value in started.model.named_parameters() if "quantizer" not in name]
        for value, expected in zip(ours, pretrained.model.parameters(), strict=True):
            assert torch.equal(value, expected)

    def test_the_state_of_another_trial_is_refused(self) -> None:
        state = training_of(tiny_trial()).state_dict()
        for other in (tiny_trial(learning_rate=2e-3), tiny_trial(seed=1), tiny_trial(**PHOTOS)):
            with pytest.raises(TuneQatError, match="belongs to another trial"):
                training_of(other).load_state_dict(state)
        with pytest.raises(TuneQatError, match="belongs to another trial"):
            training_of(tiny_trial()).load_state_dict(WEIGHTS)


class TestSaving:
    def test_makes_the_folder_and_leaves_one_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a" / "b" / "last.pt"
        save_checkpoint({"epoch": 1}, path)
        save_checkpoint({"epoch": 2}, path)
        assert load_checkpoint(path) == {"epoch": 2}
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("broken", ["os.replace", "os.fsync", "torch.save"])
    def test_failing_leaves_the_old_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
        path = tmp_path / "last.pt"
        save_checkpoint({"epoch": 1}, path)

        def fail(*args: Any, **options: Any) -> None:
            raise OSError("No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(broken, fail)
            with pytest.raises(OSError, match="No space"):
                save_checkpoint({"epoch": 2}, path)
        assert load_checkpoint(path) == {"epoch": 1}
        assert list(tmp_path.iterdir()) == [path]

    def test_is_on_disk_before_it_has_its_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        order: list[str] = []
        sync, rename = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda file: order.append("fsync") or sync(file))  # type: ignore[func-returns-value]
        monkeypatch.setattr(os, "replace", lambda *names, **at: order.append("replace") or rename(*names, **at))  # type: ignore[func-returns-value]
        save_checkpoint({"epoch": 1}, tmp_path / "last.pt")
        assert order[:2] == ["fsync", "replace"]


class TestHash:
    def test_is_what_it_was(self) -> None:
        # Golden: it is in every key of a trial that starts from a checkpoint.
        assert weights_sha256(WEIGHTS) == "ca9792757fba3d14e11cbfcf6ca569fd70b2168bf10e36cd44875a1553fdb13a"

    def test_does_not_depend_on_order_file_or_layout(self, tmp_path: Path) -> None:
        torch.save(OrderedDict(reversed(WEIGHTS.items())), tmp_path / "w.pt")
        assert weights_sha256(load_weights(tmp_path / "w.pt")) == weights_sha256(WEIGHTS)
        image = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
        turned = image.to(memory_format=torch.channels_last)
        assert turned.stride() != image.stride()
        assert weights_sha256({"a": turned}) == weights_sha256({"a": image})
        spread = torch.arange(6.0)[::2]
        assert weights_sha256({"a": spread}) == weights_sha256({"a": spread.clone()})
        assert weights_sha256({"a": torch.nn.Parameter(image)}) == weights_sha256({"a": image})

    @pytest.mark.parametrize(
        "other",
        [
            {"a": WEIGHTS["a"] + torch.eye(2, 3) * 1e-6, "b": WEIGHTS["b"]},
            {"a": WEIGHTS["a"].reshape(3, 2), "b": WEIGHTS["b"]},
            {"a": WEIGHTS["a"].double(), "b": WEIGHTS["b"]},
            {"a": WEIGHTS["a"].view(torch.int32), "b": WEIGHTS["b"]},
            {"c": WEIGHTS["a"], "b": WEIGHTS["b"]},
            {"a": WEIGHTS["a"]},
            {"a": WEIGHTS["b"], "b": WEIGHTS["a"]},
        ],
        ids=["value", "shape", "precision", "type", "name", "missing", "swapped"],
    )
    def test_depends_on_values_names_types_and_shapes(self, other: dict[str, torch.Tensor]) -> None:
        assert weights_sha256(other) != weights_sha256(WEIGHTS)

    def test_takes_every_kind_of_tensor(self) -> None:
        kinds = {"half": torch.ones(2).bfloat16(), "flag": torch.tensor([True]), "none": torch.zeros(0)}
        assert len(weights_sha256(kinds)) == 64
