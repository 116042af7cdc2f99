"""Values that are written out in source: defaults, choices, arguments of metadata."""

from __future__ import annotations

import ast

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional


class NotLiteral(Exception):
    """An expression whose value only running it would tell."""


def literal(
    node: ast.expr, name: Optional[Callable[[ast.expr], Any]] = None, depth: int = 0
) -> Any:
    """The value, as JSON can have it; `name` says what a name is, or raises NotLiteral."""
    if depth > 20:
        raise NotLiteral
    if isinstance(node, ast.Constant):
        value = node.value
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
            return value
        if isinstance(value, float) and value - value == 0:
            return value
        raise NotLiteral
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = literal(node.operand, name, depth + 1)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
        raise NotLiteral
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [literal(part, name, depth + 1) for part in node.elts]
    if isinstance(node, ast.Dict):
        found: dict[str, Any] = {}
        for key, part in zip(node.keys, node.values):
            text = literal(key, name, depth + 1) if key is not None else None
            if not isinstance(text, str):
                raise NotLiteral
            found[text] = literal(part, name, depth + 1)
        return found
    if name is not None and isinstance(node, (ast.Name, ast.Attribute)):
        return name(node)
    raise NotLiteral


def shown(node: ast.expr) -> str:
    """The text of an expression, in short."""
    try:
        return ast.unparse(node)[:200]
    except (RecursionError, ValueError, MemoryError):
        return "…"
