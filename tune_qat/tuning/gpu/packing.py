"""Number of trials that share a GPU: as many as memory and CPUs allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune_qat.config import TuneQatError

RESERVE = 0.1
"""Fraction of a GPU's memory that is left free, for fragmentation and kernels that are compiled later."""
GRAIN = 10_000
"""Number of parts in which Ray counts a GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Measured memory of the largest trial of a study."""

    peak_mb: float
    """Peak of its tensors, with the allocator's cache."""
    context_mb: float
    """Memory of its process besides tensors."""
    total_mb: float
    """Memory of the device."""
    trial: str
    """Description of the trial."""

    @property
    def mb(self) -> float:
        return self.peak_mb + self.context_mb


def pack(need: Need, *, cpus_per_gpu: float, cpus_per_trial: float) -> int:
    """Return the number of trials on one GPU; raise `TuneQatError` if not even one fits."""
    by_memory = int(need.total_mb * (1 - RESERVE) / need.mb)
    if need.mb > need.total_mb:
        raise too_large(need.trial, f"it takes {need.mb:,.0f} MB, and a GPU has {need.total_mb:,.0f} MB")
    by_cpus = int(cpus_per_gpu / cpus_per_trial + 1e-9)  # 0.6 / 0.2 is a little less than 3
    return max(1, min(by_memory, by_cpus))


def fraction(trials: int) -> float:
    """Return each trial's equal share of a GPU, rounded down to the parts in which Ray counts."""
    return int(GRAIN / trials) / GRAIN


def cpus_per_gpu(nodes: Sequence[Mapping[str, float]]) -> float:
    """Return the CPUs per GPU of the node with the fewest; 0 if no node has a GPU."""
    return min((node.get("CPU", 0.0) / node["GPU"] for node in nodes if node.get("GPU")), default=0.0)


def sentence(need: Need, trials: int) -> str:
    """Say what was measured, and how many trials share a GPU."""
    many = "one trial takes a GPU" if trials == 1 else f"{trials} trials share a GPU"
    return (
        f"{many} (--gpus-per-trial {fraction(trials):g}): {need.trial} takes {need.mb:,.0f} MB "
        f"of its {need.total_mb:,.0f} MB"
    )


def too_large(trial: str, why: str) -> TuneQatError:
    return TuneQatError(
        f"--gpus-per-trial auto: {trial} does not fit on a GPU of this cluster ({why}). "
        "Lower space.batch_size.high in the study, such as --set space.batch_size.high=64, or use larger GPUs."
    )
