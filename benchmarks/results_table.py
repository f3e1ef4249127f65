"""The table of docs/results/README.md: what the two published studies found, of their records in docs/results.

python -m benchmarks.results_table
"""

from pathlib import Path
from typing import Any

import analysis
from analysis.stats import standings
from benchmarks.measure import table

FOLDER = Path(__file__).parent.parent / "docs" / "results"
STUDIES = {"lenet5_mnist_small": "LeNet-5", "espcn_photos": "ESPCN"}
"""Studies, and what their columns are headed."""


def results_table() -> str:
    """Markdown: a row an optimizer, a column a study and bit width; mean and 95 % interval, or what collapsed."""
    cells: dict[str, dict[str, str]] = {}
    for study, model in STUDIES.items():
        for row in standings(analysis.answers(FOLDER / study / "record")).itertuples():
            column = f"{model} {row.weight_bits}/{row.activation_bits}, n = {row.n}"
            cells.setdefault(row.optimizer, {})[column] = _said(row)
    columns = list(next(iter(cells.values())))
    return table(
        ["optimizer", *columns], [[name, *(found[column] for column in columns)] for name, found in cells.items()]
    )


def _said(row: Any) -> str:
    scale, digits = (100, 2) if row.unit == "fraction" else (1, 2)
    mean, low, high = (f"{scale * value:.{digits}f}" for value in (row.mean, row.ci_low, row.ci_high))
    return f"{mean} ({row.failed} of {row.trials} collapsed)" if row.failed else f"{mean} ({low} .. {high})"


def main() -> None:
    """Print it."""
    print(results_table())


if __name__ == "__main__":
    main()
