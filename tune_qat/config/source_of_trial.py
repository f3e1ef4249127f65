"""Source that a recorded trial ran with, beside the one that is here now. Standard library only."""

import json
from collections.abc import Mapping

from tune_qat.config.errors import UsageError
from tune_qat.config.own_parts import source_sha256, top_package

SHOWN = 12


def ran_with(sources: Mapping[str, str], sources_json: str | None) -> dict[str, str]:
    """Return the hashes of the own code that a trial ran with: as its row says, or else as its key does."""
    return {**sources, **json.loads(sources_json or "{}")}


def check_source(parts: Mapping[str, str], ran: Mapping[str, str], trial_key: str, *, accept: bool) -> dict[str, str]:
    """Hash the source of own parts, by kind, as it is here; nothing is imported.

    Raises:
        UsageError: it is not what the trial ran with, unless that is accepted; or a part is not here.
    """
    here = {top_package(name): source_sha256(name) for name in parts.values()}
    for top, sha256 in here.items():
        if ran.get(top) != sha256 and not accept:
            raise UsageError(
                f"Trial {trial_key} ran with another source of {top} ({(ran.get(top) or 'unknown')[:SHOWN]}, here "
                f"{sha256[:SHOWN]}). Name the folder that has it (--code), or take this one: --accept-changed-code"
            )
    return here
