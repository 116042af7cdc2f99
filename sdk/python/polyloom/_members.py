"""The fields of instances: of dataclasses, of attrs' classes and of pydantic's models.

Imports neither: what has such fields has loaded what it needs.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


class Member:
    """A field, and how `__init__` takes it."""

    __slots__ = ("hint", "key", "needed")

    def __init__(self, key: Optional[str], needed: bool, hint: Any = None) -> None:
        self.key = key
        """The name under which it is given; None where it is set afterwards."""
        self.needed = needed
        self.hint = hint
        """What it is, where the class knows better than its annotations."""


def members(cls: Any) -> Optional[dict[str, Member]]:
    """The fields by name; None of a class that has none of these."""
    fields = getattr(cls, "__dataclass_fields__", None)
    if fields is not None:
        from dataclasses import MISSING

        return {
            name: Member(
                name if field.init else None,
                field.init and field.default is MISSING and field.default_factory is MISSING,
            )
            for name, field in fields.items()
        }
    fields = getattr(cls, "__attrs_attrs__", None)
    if fields is not None:
        nothing = sys.modules["attr"].NOTHING
        return {
            field.name: Member(
                getattr(field, "alias", field.name.lstrip("_")) if field.init else None,
                field.init and field.default is nothing,
            )
            for field in fields
        }
    if not hasattr(cls, "__pydantic_core_schema__"):
        return None
    fields = getattr(cls, "__pydantic_fields__", None) or cls.model_fields
    by_name = (getattr(cls, "model_config", None) or {}).get("populate_by_name")
    return {
        name: Member(
            name
            if by_name or not isinstance(field.validation_alias, str)
            else field.validation_alias,
            field.is_required(),
            field.annotation,
        )
        for name, field in fields.items()
    }


def names(cls: Any) -> Optional[list[str]]:
    """The names alone, which is quick: of most classes it is that they have none."""
    fields = getattr(cls, "__dataclass_fields__", None)
    if fields is not None:
        return list(fields)
    if hasattr(cls, "__attrs_attrs__") or hasattr(cls, "__pydantic_core_schema__"):
        return list(members(cls) or ())
    return None
