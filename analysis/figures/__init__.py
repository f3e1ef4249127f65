"""Figures of the report, each a function from results to a plotly figure.

analysis.figures.learning_rate("results").show()
analysis.figures.learning_rate("results", study_id="quickstart", workload="espcn-photos")

Each takes results folders or URIs, or `analysis.Answers`, and keyword arguments that select rows by the values of
columns (study_id, workload, ...). Each optimizer has the same colour, dash and marker in all figures and studies.
"""

from tune_qat.config import TuneQatError

try:
    import plotly  # noqa: F401 - everything below needs it
except ModuleNotFoundError:
    raise TuneQatError("Figures and the report need further packages: pip install 'tune-qat[analysis]'") from None

from analysis.figures.batch_size import batch_size
from analysis.figures.calibration import calibration
from analysis.figures.divergence import divergence
from analysis.figures.importance import importance
from analysis.figures.layers import oscillation, step_size
from analysis.figures.learning_curves import learning_curves
from analysis.figures.learning_rate import learning_rate
from analysis.figures.parallel import parallel_coordinates
from analysis.figures.pareto import pareto
from analysis.figures.published import published
from analysis.figures.quantization import bit_widths, quantization_effect
from analysis.figures.ranks import critical_differences
from analysis.figures.tuning import tuning_budget

__all__ = [
    "batch_size",
    "bit_widths",
    "calibration",
    "critical_differences",
    "divergence",
    "importance",
    "learning_curves",
    "learning_rate",
    "oscillation",
    "parallel_coordinates",
    "pareto",
    "published",
    "quantization_effect",
    "step_size",
    "tuning_budget",
]
