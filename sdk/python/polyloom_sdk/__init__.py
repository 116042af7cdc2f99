"""Write an executor in Python: a function or a class, and `serve`.

    from polyloom_sdk import Context, Exec, Failure, executor, serve

    @executor("upper", "1")
    def upper(cx: Context, exec: Exec) -> None:
        cx.value("text", exec.source.upper())

    if __name__ == "__main__":
        serve(upper)

The conversation with the host is taken care of, by the same code that runs Python cells. What an
executor prints is what its cell prints: standard output and error belong to the cell, the protocol
has a socket of its own. Only the standard library is needed.
"""

from typing import TYPE_CHECKING

from polyloom_sdk._context import Context, Exec, Input
from polyloom_sdk._executor import About, Completions, Executor, Saved, executor
from polyloom_sdk._failure import Diagnostic, Failure
from polyloom_sdk._functions import Call, Function
from polyloom_sdk._serve import serve

if TYPE_CHECKING:
    from polyloom_sdk._program import Ran as Ran

__all__ = ["About", "Call", "Completions", "Context", "Diagnostic", "Exec", "Executor", "Failure"]
__all__ += ["Function", "Input", "Ran", "Saved", "executor", "serve"]


def __getattr__(name: str) -> object:
    if name == "Ran":
        from polyloom_sdk._program import Ran

        return Ran
    raise AttributeError(f"module `polyloom_sdk` has no attribute `{name}`")
