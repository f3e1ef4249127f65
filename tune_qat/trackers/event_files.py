"""Event files of TensorBoard: one for each trial, whose bytes follow from the record alone.

A file grows as its trial does: one that is the beginning of what it should be gets the rest, so that nothing is written
twice, also after a write that was cut off. Any other, as of a resumed trial that has made epochs again, is replaced.
"""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from tune_qat.trackers.tracked import TrackedRun, Value

FILE = "events.out.tfevents.tune-qat"
"""Name of every event file. TensorBoard reads all files of a folder with `tfevents` in their names: each has one."""
_VERSION = "brain.Event:2"
"""Version of the format, which each file begins with."""


def run_folder(run: TrackedRun) -> str:
    """Return the name of a trial's run, which is a path below the folder of all."""
    return "/".join(map(_part, (run.study, run.arm, run.name)))


def file_bytes(run: TrackedRun) -> bytes:
    """Return the event file of a trial as it stands."""
    return _encoded(_events(run))


def bring_up_to(path: Path, whole: bytes) -> bool:
    """Write what a file lacks, and return whether it lacked anything. Raises `OSError`."""
    try:
        known = path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        known = b""
    if known == whole:
        return False
    if whole.startswith(known):
        with path.open("ab") as file:
            file.write(whole[len(known) :])
        return True
    partial = path.with_name(".partial")  # not read by TensorBoard
    partial.write_bytes(whole)
    partial.replace(path)
    return True


def hparams_bytes(tag: str, data: HParamsPluginData, at: float) -> bytes:
    """Return an event file with one summary of the HParams plugin alone."""
    return _encoded(iter([_version(at), _event(at, 0, _hparams(tag, data))]))


def _events(run: TrackedRun) -> Iterator[Event]:
    start = HParamsPluginData()
    start.session_start_info.start_time_secs = run.started_at
    # The page shows its beginning, and joins runs with the same one.
    start.session_start_info.group_name = f"{run.arm}/{run.name} {run.study}"
    for name, value in run.parameters.items():
        _put(start.session_start_info.hparams[name], value)
    yield _version(run.started_at)
    about = text_pb("trial", _table(run.identity))
    yield _event(run.started_at, 0, _hparams(metadata.SESSION_START_INFO_TAG, start), about)
    for point in run.points:
        yield _event(point.at, point.epoch, *(_scalar(run, *one) for one in point.values.items()))
    if run.ended:
        last = run.points[-1].epoch if run.points else 0
        end = HParamsPluginData()
        end.session_end_info.status = Status.STATUS_SUCCESS if run.succeeded else Status.STATUS_FAILURE
        end.session_end_info.end_time_secs = run.ended_at
        finals = [_scalar(run, *one) for one in run.finals.items()]
        outcome = text_pb("outcome", _table(run.outcome))
        yield _event(run.ended_at, last, *finals, outcome, _hparams(metadata.SESSION_END_INFO_TAG, end))


def _version(at: float) -> Event:
    return Event(wall_time=at, file_version=_VERSION)


def _event(at: float, step: int, *summaries: Any) -> Event:
    values = [value for one in summaries for value in one.value]
    return Event(wall_time=at, step=step, summary=Summary(value=values))


def _scalar(run: TrackedRun, name: str, value: float) -> Any:
    described = f"{run.metric} in {run.unit}" if run.unit and run.metric in name else None
    return scalar_pb(name, value, description=described)


def _hparams(tag: str, data: HParamsPluginData) -> Any:
    about = metadata.create_summary_metadata(data)
    # Protocol buffers do not promise an order of what is in a map.
    content = HParamsPluginData.FromString(about.plugin_data.content)
    about.plugin_data.content = content.SerializeToString(deterministic=True)
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])


def _put(field: Any, value: Value) -> None:
    """Set a `google.protobuf.Value`."""
    kind = "bool_value" if isinstance(value, bool) else "string_value" if isinstance(value, str) else "number_value"
    setattr(field, kind, value)


def _table(values: Mapping[str, Value]) -> str:
    """Return a table of Markdown, which is what the Text page shows."""
    rows = [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in values.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _encoded(events: Iterator[Event]) -> bytes:
    buffer = BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString(deterministic=True))
    return buffer.getvalue()


def _part(name: str) -> str:
    """Return a name as a part of a path that any file system takes."""
    safe = quote(name, safe=" +,=@")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe
