"""Bits of mixed schemes' layers in the record of arms: written once they are allocated, and read ever after."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tune_qat.config import Scheme
from tune_qat.study import Arm, Study
from tune_qat.study.begun import GroupCosts
from tune_qat.study.mixed import allocation_hash, budgets_of, chosen_bits, searches


def mixed_columns(study: Study, arm: Arm, chosen: Scheme | None = None) -> dict[str, Any]:
    """Return the columns of an arm with the bits of its layers, and of what groups cost whose bits are searched.

    `chosen` is the scheme that the search of such an arm has come to, if it has. Empty where no scheme is mixed.
    """
    part = study.quantization
    searched, costs = searches(part, arm.scheme), part.group_costs
    bits = part.allocated.get(arm.method)
    if searched:
        bits = chosen_bits(part, chosen) if chosen else None
    return {
        "layer_bits_json": json.dumps(dict(bits)) if bits else None,
        "allocation_hash": allocation_hash(part, arm.method) if bits or searched else None,
        "group_costs_json": json.dumps(asdict(costs)) if costs and searched else None,
    }


def recorded_costs(study: Study, arms: Sequence[Mapping[str, Any]]) -> GroupCosts | None:
    """Read what groups cost whose bits are searched from recorded arms; None where none has them as today's file."""
    part = study.quantization
    hashes = [allocation_hash(part, name) for name in budgets_of(part.mixed)] if part.mixed else []
    for row in arms:
        if row.get("group_costs_json") and row["allocation_hash"] in hashes:
            return GroupCosts(**json.loads(row["group_costs_json"]))
    return None


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
