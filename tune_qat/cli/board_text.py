"""Words and numbers that the boards of the last screen share."""

import math
from collections.abc import Mapping
from typing import Any

from analysis.stats.boards import is_worsened
from tune_qat.text.names import shown
from tune_qat.text.numbers import bare_score, digits, unit_name
from tune_qat.text.tables import cell

TWO_DECIMALS = ("fraction", "percent", "dB")


def board_name(row: Mapping[str, Any], *, named: bool) -> str:
    """Return workload and bits of a row's board, with the method if it is `named`, and that of a second control."""
    method = str(row["method"])
    what = f", {shown(method)}" if is_worsened(method) or (named and method != "none") else ""
    return f"{row['workload']} at {row['weight_bits']}/{row['activation_bits']} bits{what}"


def metric_of(row: Mapping[str, Any]) -> str:
    """Return the metric of a row, and its unit in brackets."""
    unit = unit_name(row["unit"])
    return f"{shown(row['metric'])} ({unit})" if unit else shown(row["metric"])


def optimizer_name(name: str) -> str:
    """Return an optimizer as people write it; behind a plus may be who moves the quantizers' parameters."""
    base, plus, rest = name.partition(" + ")
    return f"{shown(base)}{plus}{rest}"


def plain_score(value: float, unit: str) -> str:
    """Return a score without its unit, with decimals that a column has in common; of other units four digits."""
    if math.isnan(value):
        return cell(value)
    return bare_score(value, unit, 2) if unit in TWO_DECIMALS else digits(value, 4)
