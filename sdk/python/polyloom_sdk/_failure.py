"""Why a cell failed, as its author is to read it. Knows no wire."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Diagnostic:
    """A message about a place in the cell's code. Lines and columns count from 1."""

    message: str
    severity: str = "error"
    """`error`, `warning`, `info` or `hint`."""
    line: Optional[int] = None
    col: Optional[int] = None
    end_line: Optional[int] = None
    end_col: Optional[int] = None
    code: Optional[str] = None
    """The tool's own name for this kind of message."""
    file: Optional[str] = None
    """The file, where it is not the cell's."""

    def __post_init__(self) -> None:
        if self.severity not in ("error", "warning", "info", "hint"):
            raise ValueError(f"severity `{self.severity}` is none of error, warning, info, hint")

    def fields(self, file: str) -> dict[str, Any]:
        """The fields of the message; `file` is the cell's."""
        return {**asdict(self), "file": self.file or file}


class Failure(Exception):
    """The failure of a cell's code: an error diagnostic, and a line on standard error.

    `exit_code` is the cell's status. `printed` says that standard error has it already, from a
    program that was run.
    """

    def __init__(self, message: str, *, exit_code: int = 1, printed: bool = False) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(message)
        self.exit_code = exit_code
        self.printed = printed

    @classmethod
    def told_by(
        cls, diagnostic: Diagnostic, *, exit_code: int = 1, printed: bool = False
    ) -> Failure:
        """A failure that is told by this diagnostic."""
        failure = cls(diagnostic.message, exit_code=exit_code, printed=printed)
        failure.diagnostic = diagnostic
        return failure

    @classmethod
    def at_line(cls, line: int, message: str) -> Failure:
        """A failure in a line of the cell's code, from 1."""
        return cls.told_by(Diagnostic(message, line=line))

    def __str__(self) -> str:
        line = self.diagnostic.line
        return self.diagnostic.message if line is None else f"line {line}: {super().__str__()}"
