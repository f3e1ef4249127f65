"""Bits of mixed schemes' layers in the record of arms: written once they are allocated, and read ever after."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tune_qat.study import Arm, Study
from tune_qat.study.mixed import allocation_hash, budgets_of, waits


def mixed_columns(study: Study, arm: Arm) -> dict[str, Any]:
    """Return the columns of an arm with the bits of its layers; empty for one whose scheme is not mixed, or waits."""
    bits = study.quantization.allocated.get(arm.method)
    if bits is None or waits(arm.scheme):
        return {"layer_bits_json": None, "allocation_hash": None}
    return {
        "layer_bits_json": json.dumps(bits),
        "allocation_hash": allocation_hash(study.quantization, arm.method),
    }


def recorded_bits(study: Study, arms: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Read the bits by layer of the study's mixed schemes, by name, from recorded arms: those allocated as today."""
    part = study.quantization
    if part.mixed is None:
        return {}
    hashes = {name: allocation_hash(part, name) for name in budgets_of(part.mixed)}
    return {
        row["method"]: json.loads(row["layer_bits_json"])
        for row in arms
        if row.get("layer_bits_json") and hashes.get(row["method"]) == row["allocation_hash"]
    }
