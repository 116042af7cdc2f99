"""Functions of before there was an SDK, as executors: `_exec(code, g) -> (ok, out)`.

`code` is the cell's text and `g` a dict with its inputs; outputs are what is in `g` at the end.
`out` is what is printed, or the message of a failure; or an ExecMeta, a dict or an object with
`stdout`, `stderr`, `exit_code`, `diagnostics` and more, which becomes extras.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, is_dataclass
from typing import Any, Callable

from polyloom_sdk._context import Context, Exec
from polyloom_sdk._executor import Executor
from polyloom_sdk._failure import Diagnostic, Failure

DEPRECATED = "PL064"
_TAKEN = ("artifacts", "cpu_ms", "diagnostics", "exit_code", "outcome", "stderr", "stdout")


class Legacy(Executor):
    """The executor that such a function is."""

    version = "legacy"

    def __init__(self, id: str, function: Callable[[str, dict[str, Any]], Any]) -> None:
        self.id = id
        self._function = function

    def exec(self, cx: Context, exec: Exec) -> None:
        """Run one cell."""
        text = f"`{self.id}` is a function `_exec(code, g)`; write it with `polyloom_sdk`"
        cx.diagnostic(Diagnostic(text, "warning", code=DEPRECATED))
        scope = cx.inputs
        result = self._function(exec.source, scope)
        if not isinstance(result, tuple) or len(result) != 2:
            found = type(result).__name__
            raise Failure(f"`_exec` of `{self.id}` gave a `{found}`, not `(ok, out)`")
        ok, out = result
        if not ok and isinstance(out, (str, bytes)):
            raise Failure(str(_meta(out)["stdout"]).strip() or "it failed")
        meta = _meta(out)
        for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
            said = str(meta.get(name) or "")
            print(said, file=stream, end="" if not said or said.endswith("\n") else "\n")
        for found in meta.get("diagnostics") or ():
            _diagnose(cx, found)
        for name, value in meta.items():
            if name not in _TAKEN and isinstance(value, (bool, int, float, str, list, dict)):
                cx.extra(name, value)
        if not ok:
            message = str(meta.get("stderr") or meta.get("stdout") or "it failed").strip()
            code = meta.get("exit_code")
            code = code if type(code) is int and code else 1
            raise Failure(message, exit_code=code, printed=bool(meta.get("stderr")))
        for port in exec.outputs:
            if port in scope:
                cx.output(port, scope[port])


def _meta(out: Any) -> dict[str, Any]:
    if out is None or isinstance(out, (str, bytes)):
        text = out.decode("utf-8", "replace") if isinstance(out, bytes) else out
        return {"stdout": text}
    if isinstance(out, dict):
        return dict(out)
    if is_dataclass(out) and not isinstance(out, type):
        return asdict(out)
    if hasattr(out, "_asdict"):
        return dict(out._asdict())
    if hasattr(out, "__dict__"):
        return dict(vars(out))
    return {"stdout": str(out)}


def _diagnose(cx: Context, found: Any) -> None:
    fields = found if isinstance(found, dict) else getattr(found, "__dict__", {})
    message = fields.get("message")
    if not isinstance(message, str):
        return
    known = ("error", "warning", "info", "hint")
    severity = fields.get("severity")
    places: dict[str, Any] = {
        name: value
        for name in ("line", "col", "end_line", "end_col")
        if type(value := fields.get(name)) is int and value > 0
    }
    cx.diagnostic(Diagnostic(message, severity if severity in known else "info", **places))
