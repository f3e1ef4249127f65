"""One backend for a study: what was asked for, what the record has, or what pays."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch

from tests.helpers.studies import tiny_study
from tests.helpers.trials import tiny_trial as trial
from tests.helpers.trials import work_of
from tune_qat.config import UsageError
from tune_qat.training.compiler import usable
from tune_qat.training.workload import Workload
from tune_qat.tuning.backend_choice import choose, plan
from tune_qat.tuning.run import run

LONG: dict[str, Any] = {"training": {"epochs": 30_000}, "pretrain": {"batch_size": 32, "epochs": 2}}


def work() -> Workload:
    return work_of(trial(dataset_options={"train_limit": 128}))


def chosen(requested: str, recorded: Sequence[Mapping[str, Any]] = (), **changes: Any) -> tuple[str, str]:
    return choose(tiny_study(**changes), work(), requested, recorded=recorded, device="cpu", processes=2)


def test_counts_what_is_trained_in_quantized_form() -> None:
    found = plan(tiny_study(), work(), processes=2)
    # Two optimizers at 4/4, each 1 default, 1 random, 3 search and 2 retrain trials, of 3 epochs of 128 samples.
    assert found.samples == 2 * 7 * 3 * 128
    assert found.steps == found.samples // 32
    # LeNet-5 on 8 x 8 digits in a frame of 28 x 28: see its summary; the input of every layer.
    assert found.layers == 5
    assert found.programs == 2 * 3  # bit widths, batch sizes 16, 32 and 64
    assert found.processes == 2


def test_batch_norm_makes_no_difference_to_what_is_counted() -> None:
    plain, normed = (plan(tiny_study(), work_of(trial(model=model)), processes=1) for model in ("lenet5", "lenet5_bn"))
    assert (normed.layers, normed.features) == (plain.layers, plain.features) and plain.features > 0


def test_a_floating_point_study_has_nothing_to_save() -> None:
    floating = {"bits": [[32, 32]]}
    assert plan(tiny_study(quantization=floating), work(), processes=2).samples == 0
    assert chosen("auto", quantization=floating)[0] == "eager"


def test_auto_is_eager_for_a_short_study_and_compiled_for_a_long_one() -> None:
    assert chosen("auto") == ("eager", "training steps run eagerly: compiling would cost more than it saves")
    assert chosen("auto", **LONG) == ("inductor", "training steps are compiled by Inductor: which pays")


def test_a_study_keeps_the_backend_of_its_record() -> None:
    before: list[dict[str, Any]] = [{"backend": None}, {"backend": "inductor"}]
    assert chosen("auto", before) == ("inductor", "training steps are compiled by Inductor: as the recorded trials")
    assert chosen("auto", [{"backend": "eager"}], **LONG)[0] == "eager"
    assert chosen("eager", before)[0] == "eager"


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_qat.training.compiler._compiler_problem", lambda device_type: "no g++")
    assert usable("inductor", torch.device("cpu")) == ("eager", "no g++")
    assert usable("eager", torch.device("cpu")) == ("eager", "")
    assert chosen("inductor") == ("eager", "training steps run eagerly: no compiler works here (no g++)")


def test_another_name_is_refused_before_anything_is_done() -> None:
    with pytest.raises(UsageError, match="must be one of auto, eager, inductor, but got 'fast'"):
        run(tiny_study(), backend="fast")
