"""Fields that came after the first records, which must keep their identity."""

from dataclasses import MISSING, field, fields
from typing import Any

_LATER = "later"


def later(default: Any = MISSING, *, default_factory: Any = MISSING, **options: Any) -> Any:
    """Declare a field that came after the first records: part of a trial's identity only where it is not default."""
    return field(default=default, default_factory=default_factory, metadata={_LATER: True}, **options)


def drop_unused(kind: Any, values: dict[str, Any]) -> None:
    """Leave out the later fields of a dataclass that have their defaults."""
    for one in fields(kind):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.metadata.get(_LATER) and values[one.name] == default:
            del values[one.name]
