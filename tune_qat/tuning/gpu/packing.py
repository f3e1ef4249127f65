"""How many trials share a GPU: as many as their memory and its CPUs allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune_qat.config import TuneQatError

RESERVE = 0.1
"""Part of a GPU's memory that is left free: fragments, and programs that are compiled later."""
GRAIN = 10_000
"""Ray counts a GPU in this many parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """What the largest trial of a study takes, measured."""

    peak_mb: float
    """MB of its tensors at most, with what the allocator keeps."""
    context_mb: float
    """MB of its process beside them."""
    total_mb: float
    """MB that the device has."""
    trial: str
    """The trial that takes them, in words."""

    @property
    def mb(self) -> float:
        return self.peak_mb + self.context_mb


def pack(need: Need, *, cpus_per_gpu: float, cpus_per_trial: float) -> int:
    """Trials on one GPU, at least one.

    Raises:
        TuneQatError: the largest trial alone does not fit.
    """
    by_memory = int(need.total_mb * (1 - RESERVE) / need.mb)
    if need.mb > need.total_mb:
        raise too_large(need.trial, f"it takes {need.mb:,.0f} MB, and a GPU has {need.total_mb:,.0f} MB")
    by_cpus = int(cpus_per_gpu / cpus_per_trial + 1e-9)  # 0.6 / 0.2 is a little less than 3
    return max(1, min(by_memory, by_cpus))


def fraction(trials: int) -> float:
    """Part of a GPU that each of so many trials holds, as Ray counts it: never more than an equal one."""
    return int(GRAIN / trials) / GRAIN


def cpus_per_gpu(nodes: Sequence[Mapping[str, float]]) -> float:
    """CPUs for each GPU on the node that has the fewest, of those that have GPUs; 0 where none has."""
    return min((node.get("CPU", 0.0) / node["GPU"] for node in nodes if node.get("GPU")), default=0.0)


def sentence(need: Need, trials: int) -> str:
    """What was measured, and what follows."""
    many = "one trial takes a GPU" if trials == 1 else f"{trials} trials share a GPU"
    return (
        f"{many} (--gpus-per-trial {fraction(trials):g}): {need.trial} takes {need.mb:,.0f} MB "
        f"of its {need.total_mb:,.0f} MB"
    )


def too_large(trial: str, why: str) -> TuneQatError:
    """The error for people where not even one trial fits."""
    return TuneQatError(
        f"--gpus-per-trial auto: {trial} does not fit on a GPU of this cluster ({why}). "
        "Lower space.batch_size.high in the study, such as --set space.batch_size.high=64, or use larger GPUs."
    )
