"""Event files, read back by TensorBoard's own reader and by what answers its HParams page."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.get_experiment import Handler as GetExperiment
from tensorboard.plugins.hparams.list_session_groups import Handler as ListSessionGroups

from tests.helpers.rows import MOMENT
from tests.trackers.small import rows_of, search_trial, small_record
from tune_qat.trackers.event_files import FILE
from tune_qat.trackers.recorded import recorded
from tune_qat.trackers.tensorboard import EventFiles
from tune_qat.trackers.tracked import CURVES, FINALS, tracked

ENDED = ("completed", "stopped", "diverged", "oom", "error")


def export(results: Path, out: Path) -> tuple[int, int]:
    return EventFiles(out).write(map(tracked, recorded(results, "small")))


def files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def scalars(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Step, value and time of each point, by tag."""
    read = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(one.step, float(one.tensor_proto.float_val[0]), one.wall_time) for one in read.Tensors(tag)]
        for tag in read.Tags()["tensors"]
        if read.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def expected(row: dict[str, Any], epochs: list[dict[str, Any]]) -> dict[str, list[tuple[int, float, float]]]:
    found: dict[str, list[tuple[int, float, float]]] = {}
    for epoch in epochs:
        for column, name in CURVES.items():
            if epoch[column] is not None:
                first = column == "calibrated_metric"
                at = MOMENT.timestamp() + (0 if first else epoch["device_s"])
                point = (0 if first else epoch["epoch"], float(np.float32(epoch[column])), at)
                found.setdefault(name.format(metric="accuracy"), []).append(point)
    for column, name in FINALS.items() if row["status"] in ENDED else ():
        if row[column] is not None:
            last = epochs[-1]["epoch"] if epochs else 0
            point = (last, float(np.float32(row[column])), row["finished_at"].timestamp())
            found[name.format(metric="accuracy")] = [point]
    return found


def test_every_value_of_the_record_is_there_at_its_epoch_and_time(tmp_path: Path) -> None:
    small_record(tmp_path / "results")
    assert export(tmp_path / "results", tmp_path / "out") == (9, 9)
    for key, (row, epochs) in rows_of(tmp_path / "results").items():
        folder = tmp_path / "out" / "small" / row["arm_id"] / f"{row['stage']}-{key}"
        assert scalars(folder) == expected(row, epochs), row["status"]
    start = scalars(tmp_path / "out" / "small" / "pretrain" / "pretrain-p1")
    ((step, value, _),) = start["when_ended/val_accuracy"]
    assert step == 2 and value == pytest.approx(0.9, abs=1e-7)  # float32


def test_the_hparams_page_has_types_ranges_metrics_and_how_each_trial_ended(tmp_path: Path) -> None:
    small_record(tmp_path / "results")
    export(tmp_path / "results", tmp_path / "out")
    read = EventMultiplexer()
    read.AddRunsFromDirectory(str(tmp_path / "out"))
    read.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(read, str(tmp_path / "out"))))
    experiment = GetExperiment(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    infos = {info.name: info for info in experiment.hparam_infos}
    rates = infos["learning_rate"]
    assert (rates.type, rates.domain_interval.min_value) == (api_pb2.DATA_TYPE_FLOAT64, 1e-4)
    assert rates.domain_interval.max_value == 0.5
    words = [one.string_value for one in infos["optimizer"].domain_discrete.values]
    assert (infos["optimizer"].type, words) == (api_pb2.DATA_TYPE_STRING, ["adam", "sgd"])
    metrics = [info.name.tag.removeprefix("when_ended/") for info in experiment.metric_infos]
    assert metrics == ["val_accuracy", "val_accuracy_best", "val_loss", "train_loss", "epochs_run"]
    shown = [info.name for info in experiment.hparam_infos][:5]
    assert shown == ["batch_size", "learning_rate", "optimizer", "stage", "weight_bits"]

    statuses = [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN]
    asked = api_pb2.ListSessionGroupsRequest(slice_size=100, allowed_statuses=statuses)
    groups = ListSessionGroups(RequestContext(), context, "", asked).run().session_groups
    rows = {
        f"small/{row['arm_id']}/{row['stage']}-{key}": row for key, (row, _) in rows_of(tmp_path / "results").items()
    }
    assert len(groups) == len(rows) == 9
    for group in groups:
        (session,) = group.sessions
        row = rows[session.name]
        failed, going = row["status"] in ("diverged", "oom", "error"), row["status"] == "running"
        assert session.status == statuses[1 if failed else 3 if going else 0], row["status"]
        values = {one.name.tag: one.value for one in group.metric_values}
        assert values.get("when_ended/val_accuracy") == (
            None if row["val_metric"] is None else pytest.approx(row["val_metric"], abs=1e-6)  # float32
        )
        assert group.hparams["stage"].string_value == row["stage"]


def test_the_same_again_writes_nothing(tmp_path: Path) -> None:
    small_record(tmp_path / "results")
    export(tmp_path / "results", tmp_path / "out")
    before = files(tmp_path / "out")
    assert export(tmp_path / "results", tmp_path / "out") == (9, 0)
    assert files(tmp_path / "out") == before


def test_a_study_that_went_on_is_as_if_it_were_exported_once(tmp_path: Path) -> None:
    study = small_record(tmp_path / "results")
    export(tmp_path / "results", tmp_path / "out")
    running = next(key for key, (row, _) in rows_of(tmp_path / "results").items() if row["status"] == "running")
    search_trial(study, "adam-w4a4", "completed", trial_key=running, learning_rate=3e-4)
    search_trial(study, "sgd-w4a4", "stopped", learning_rate=0.7, momentum=0.5)
    assert export(tmp_path / "results", tmp_path / "out") == (10, 2)
    export(tmp_path / "results", tmp_path / "anew")
    assert files(tmp_path / "out") == files(tmp_path / "anew")


@pytest.mark.parametrize("left", [0, 5, 300])
def test_an_export_that_was_cut_off_is_completed(tmp_path: Path, left: int) -> None:
    small_record(tmp_path / "results")
    export(tmp_path / "results", tmp_path / "out")
    before = files(tmp_path / "out")
    cut, gone, *_ = (path for path in sorted((tmp_path / "out" / "small").rglob(FILE)))
    cut.write_bytes(cut.read_bytes()[:left])
    gone.unlink()
    (tmp_path / "out" / FILE).write_bytes(b"half of a page")
    export(tmp_path / "results", tmp_path / "out")
    assert files(tmp_path / "out") == before
