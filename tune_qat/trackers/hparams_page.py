"""TensorBoard's HParams page on all runs of a folder: parameters with types and ranges, and final values."""

from collections.abc import Iterable
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import DatasetType, DataType, Experiment, HParamInfo, MetricInfo, MetricName
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tune_qat.trackers.event_files import FILE, bring_up_to, hparams_bytes
from tune_qat.trackers.tracked import FINALS, OF_ARM, PARAMETERS, TrackedRun, Value, shown_metric

LISTED = ("optimizer", "stage")
"""Parameters that the page lists the values of. It hides a run whose value is not on a list: others have none."""
SHOWN = ("batch_size", "learning_rate", "optimizer", "stage", "weight_bits")
"""Parameters that the page shows until more are ticked: its first five, of which those that differ come first."""
METRICS = ("val_metric", "val_metric_best", "val_loss", "train_loss", "epochs_run")
"""Final values of the page, which every trial has that has ended with a metric: it draws no trial that lacks one."""
_FIRST = (*PARAMETERS, *OF_ARM)


class HParamsPage:
    """The page's file, which says of all runs that it has been told of what they have; later ones are added."""

    def __init__(self, folder: Path) -> None:
        """Take what the file holds, if it is there: other studies may have been written into the folder."""
        self._path = folder / FILE
        self._types: dict[str, int] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._words: dict[str, set[str]] = {}
        self._metrics: dict[str, str] = {}
        self._written = b""
        self._read()

    def _read(self) -> None:
        for experiment in _experiments(self._path):
            for info in experiment.hparam_infos:
                self._types[info.name] = info.type
                if info.HasField("domain_interval"):
                    known = (info.domain_interval.min_value, info.domain_interval.max_value)
                    self._widen(info.name, *known)
                if info.HasField("domain_discrete"):
                    words = {one.string_value for one in info.domain_discrete.values}
                    self._words.setdefault(info.name, set()).update(words)
            self._metrics.update({one.name.tag: one.description for one in experiment.metric_infos})

    def add(self, run: TrackedRun) -> None:
        """Take a run's parameters and final values in; one that has not ended will have those of its kind."""
        for name, value in run.parameters.items():
            self._types.setdefault(name, _type_of(value))
            if name in LISTED:
                self._words.setdefault(name, set()).add(str(value))
            elif self._types[name] == DataType.DATA_TYPE_FLOAT64 and not isinstance(value, str):
                self._widen(name, value, value)
        for name in set(run.finals) & {FINALS[one].format(metric=shown_metric(run.metric)) for one in METRICS}:
            self._metrics.setdefault(name, f"{run.metric} in {run.unit}" if run.metric in name and run.unit else "")

    def _widen(self, name: str, low: float, high: float) -> None:
        known = self._ranges.get(name, (low, high))
        self._ranges[name] = (min(low, known[0]), max(high, known[1]))

    def write(self) -> None:
        """Bring the file up to date. Raises `OSError`."""
        if self._path.exists() and self._path.read_bytes() != self._written:
            self._read()  # another study is logged into the folder at the same time
        data = HParamsPluginData(experiment=Experiment(hparam_infos=self._infos(), metric_infos=self._shown()))
        self._written = hparams_bytes(metadata.EXPERIMENT_TAG, data, at=0.0)
        bring_up_to(self._path, self._written)

    def _infos(self) -> list[HParamInfo]:
        infos = []
        for name in sorted(self._types, key=_place):
            info = HParamInfo(name=name, type=self._types[name])
            if name in self._words:
                for word in sorted(self._words[name]):
                    info.domain_discrete.values.add().string_value = word
            if name in self._ranges:
                info.domain_interval.min_value, info.domain_interval.max_value = self._ranges[name]
            info.differs = name in SHOWN
            infos.append(info)
        return infos

    def _shown(self) -> list[MetricInfo]:
        return [
            MetricInfo(
                name=MetricName(tag=tag),
                display_name=tag.removeprefix("when_ended/"),
                description=self._metrics[tag],
                dataset_type=DatasetType.DATASET_VALIDATION if "val_" in tag else DatasetType.DATASET_UNKNOWN,
            )
            for tag in sorted(self._metrics, key=_rank)
        ]


def _experiments(path: Path) -> Iterable[Experiment]:
    """Read what the file says; nothing where it is not there, or is not whole, which `add` then says again."""
    if not path.is_file():
        return []
    try:
        values = [value for event in EventFileLoader(str(path)).Load() for value in event.summary.value]
    except Exception:  # of a file that is damaged the loader raises what its parts do
        return []
    tagged = [value.metadata.plugin_data.content for value in values if value.tag == metadata.EXPERIMENT_TAG]
    return [metadata.parse_experiment_plugin_data(content) for content in tagged]


def _type_of(value: Value) -> int:
    if isinstance(value, bool):
        return int(DataType.DATA_TYPE_BOOL)
    return int(DataType.DATA_TYPE_STRING if isinstance(value, str) else DataType.DATA_TYPE_FLOAT64)


def _place(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)


def _rank(tag: str) -> tuple[int, str]:
    """Return the place of a final value, whatever its metric is called: the metric, the best one, what is not one."""
    known = {FINALS[one]: place for place, one in enumerate(METRICS)}
    return (known.get(tag, int(tag.endswith("_best"))), tag)
