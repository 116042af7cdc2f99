"""What a cell's run offers to its executor: inputs as values, outputs, and words to the host.

Knows what a cell is; how values look in files is `polyloom`'s, how words travel the execution's.
Readers and writers are imported once they are needed: this is read at the start of every cell.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from polyloom._types import Type, parse
from polyloom_sdk._failure import Diagnostic, Failure

if TYPE_CHECKING:
    from polyloom_sdk._functions import Call
    from polyloom_sdk._program import Ran, Word
    from polyloom_sdk._serve import Run

_FILES = ("tensor", "table", "image", "file", "dir")
_EXTRAS = 48 << 10


@dataclass(frozen=True)
class Input:
    """Where the input of a port is."""

    type: str
    path: Path
    encoding: str
    """`msgpack`, `npy`, `arrow`, `raw` or `dir`."""
    media: Optional[str] = None


@dataclass(frozen=True)
class Exec:
    """The cell that is to be run."""

    cell: str
    code: Path
    inputs: Mapping[str, Input]
    outputs: Mapping[str, str]
    """The declared outputs: the type of each port."""
    out: Path
    argv: Sequence[str] = ()
    seed: Optional[int] = None
    deadline_ms: Optional[int] = None
    call: Optional[Call] = None
    """The function that the cell is, where it is one call; there is no code then."""
    interactive: bool = False
    """Whether somebody waits at a prompt: the value of a last expression is to be displayed."""
    text: Optional[str] = None
    """The code, where it came without a file, as it may with the feature `source`."""

    @cached_property
    def source(self) -> str:
        """The text of the cell's code."""
        if self.text is not None:
            return self.text
        try:
            return self.code.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise Failure(f"the code is not UTF-8: {error}") from error


class Context:
    """The run of one cell. Talking never fails: without its feature, what is said is dropped."""

    def __init__(self, run: Run, exec: Exec) -> None:
        self._run = run
        self._exec = exec

    # ---- inputs

    def input(self, port: str) -> Any:
        """The value of an input: plain, an array, a table, or the path of a file or folder."""
        from polyloom._inputs import read_input

        slot = self._run.inputs.get(port)
        if slot is None:
            raise Failure(f"no input `{port}`; {_among(self._exec.inputs)}")
        return read_input(port, slot)

    @property
    def inputs(self) -> dict[str, Any]:
        """All inputs as values."""
        return {port: self.input(port) for port in self._exec.inputs}

    # ---- outputs

    def output(self, port: str, value: Any) -> None:
        """Write an output as its declared type asks, whatever a Python cell could assign to it."""
        self._write(port, value, ())

    def value(self, port: str, value: Any) -> None:
        """Write an output that is a value."""
        self._write(port, value, ["value"])

    def tensor(
        self,
        port: str,
        data: Any,
        shape: Optional[Sequence[int]] = None,
        dtype: Optional[str] = None,
    ) -> None:
        """Write an output that is a tensor: an array, nested lists, or bytes of `shape`, `dtype`.

        Bytes are little-endian elements in C order; `dtype` is one of flows (`f64`).
        """
        from polyloom._npy import write_elements

        if shape is None and dtype is None and not isinstance(data, (bytes, bytearray)):
            return self._write(port, data, ["tensor"])
        if shape is None or dtype is None:
            raise Failure(f"tensor `{port}`: bytes need both `shape` and `dtype`")
        path = os.path.join(self._exec.out, port + ".npy")
        try:
            write_elements(data, dtype, shape, self._declared(port, ["tensor"]), port, path)
        except (TypeError, ValueError) as error:
            raise Failure(f"output {error}") from error

    def table(self, port: str, data: Any) -> None:
        """Write an output that is a table: a dict of columns, rows, or a frame."""
        self._write(port, data, ["table"])

    def file(self, port: str, data: Union[bytes, str, os.PathLike[str]]) -> None:
        """Write an output that is a file, picture or folder: bytes, text, or what is at a `Path`.

        A path in the working folder or in `/tmp` is moved, any other copied.
        """
        self._write(port, data, ["file", "image", "dir"])

    def artifact(self, name: str, data: Union[bytes, str, os.PathLike[str]]) -> None:
        """Keep a result beyond the declared outputs: bytes, text, or what is at a `Path`."""
        from polyloom import _display

        _display.artifact(name, data)

    def _write(self, port: str, value: Any, kinds: Sequence[str]) -> None:
        from polyloom._outputs import write_output

        self._declared(port, kinds)
        write_output(port, self._run.outputs[port], str(self._exec.out), value)

    def _declared(self, port: str, kinds: Sequence[str]) -> Type:
        """The declared type of an output, which has to be one of `kinds`, if there are any."""
        text = self._exec.outputs.get(port)
        if text is None:
            raise Failure(f"no output `{port}`; {_among(self._exec.outputs)}")
        declared = parse(text)
        # What is none of these is a value, or of a type that an executor declared: a value, too.
        kind = declared.name if declared.name in _FILES else "value"
        if kinds and kind not in kinds:
            raise Failure(f"output `{port}` is declared as {declared.text}, not as {kinds[0]}")
        return declared

    # ---- words

    def log(self, text: object, level: str = "info") -> None:
        """Add a line to the log; `level` is debug, info, warn or error."""
        if level not in ("debug", "info", "warn", "error"):
            raise ValueError(f"level `{level}` is none of debug, info, warn, error")
        self._run.log(str(text), level)

    def progress(self, fraction: Optional[float] = None, text: str = "") -> None:
        """Say how far the cell is: a fraction from 0 to 1, or None for unknown."""
        if fraction is not None:
            fraction = min(max(float(fraction), 0.0), 1.0)
        self._run.progress(fraction, text)

    def display(self, value: Any) -> None:
        """Show a figure, picture, frame, SVG or HTML text, or anything's `repr`."""
        from polyloom import _display

        _display.display(value)

    def display_text(self, text: str) -> None:
        """Show a text as it is."""
        self._show("text/plain", text)

    def display_html(self, html: str) -> None:
        """Show HTML."""
        self._show("text/html", html)

    def display_image(self, image: Any) -> None:
        """Show a picture: bytes of a PNG, JPEG, GIF, WebP or SVG, a figure, an array of pixels."""
        from polyloom import _display

        media, data = _display.represent(image)
        if not media.startswith("image/"):
            raise Failure("what was to be displayed is no picture")
        _display.show(media, data)

    def display_table(self, data: Any, most: int = 100) -> None:
        """Show the first rows of a table: a dict of columns, rows, or a `polyloom.Table`."""
        from polyloom._table import Table

        self.display_html(_html(Table(data), most))

    def _show(self, media: str, text: str) -> None:
        from polyloom import _display

        _display.show(media, text.encode("utf-8", "replace"))

    def diagnostic(self, diagnostic: Diagnostic) -> None:
        """Report a message about a place in the code. An error does not fail the cell."""
        self._run.diagnose(diagnostic.fields(self._run.code))

    def extra(self, name: str, value: Any) -> None:
        """Add a result of the executor's own, shown with the attempt: a plain value."""
        from polyloom._msgpack import encode
        from polyloom._values import plain

        extras = {**self._run.extras, name: plain(value)}
        if len(encode(extras)) > _EXTRAS:
            raise ValueError(f"extra `{name}`: all extras together have over {_EXTRAS} bytes")
        self._run.extras = extras

    def session_changed(self) -> None:
        """Say that the cell changed what later cells find."""
        self._run.session_changed = True

    # ---- being stopped

    @property
    def cancelled(self) -> bool:
        """Whether the host wants the cell to stop."""
        self._run.look()
        return self._run.cancelled

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """What must not be interrupted: being cancelled is raised when it is over."""
        with self._run.shielded():
            yield

    # ---- programs

    def run(
        self,
        argv: Sequence[Word],
        *,
        cwd: Optional[Word] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[bytes] = None,
        diagnostics: Optional[str] = None,
        stream: str = "stderr",
        check: bool = True,
    ) -> Ran:
        """Run a program whose output is the cell's own, and tell its diagnostics.

        `diagnostics` is a pattern as in a manifest's `[diagnostics]`, for what comes on `stream`.
        `env` is added to the cell's environment. Unless `check` is False, a status other than 0 is
        a `Failure`. A program that still runs when the cell is cancelled is asked to end.
        """
        from polyloom_sdk import _program

        ran = _program.run(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            diagnostics=diagnostics,
            stream=stream,
            code=self._run.code,
            shielded=self.shielded,
        )
        failure = ran.failure() if check and not ran.ok else None
        for found in ran.diagnostics:
            if failure is None or found is not failure.diagnostic:
                self.diagnostic(found)
        if failure is not None:
            raise failure
        return ran

    def compile_and_run(
        self,
        argv: Sequence[Word],
        *,
        compile: Optional[Sequence[Word]] = None,
        diagnostics: Optional[str] = None,
        run_diagnostics: Optional[str] = None,
        stream: str = "stderr",
        cwd: Optional[Word] = None,
        env: Optional[Mapping[str, str]] = None,
        stdin: Optional[bytes] = None,
    ) -> Ran:
        """Compile, then run. The compiler's messages are read by `diagnostics`, the program's by
        `run_diagnostics`; without `compile` there is one program, and either is its."""
        if compile is None:
            run_diagnostics = run_diagnostics or diagnostics
        else:
            self.run(compile, cwd=cwd, env=env, stdin=b"", diagnostics=diagnostics, stream=stream)
        return self.run(
            argv, cwd=cwd, env=env, stdin=stdin, diagnostics=run_diagnostics, stream=stream
        )


def _among(ports: Mapping[str, object]) -> str:
    return "there are " + ", ".join(f"`{port}`" for port in ports) if ports else "there are none"


def _html(table: Any, most: int) -> str:
    from html import escape
    from itertools import islice

    def row(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    names = table.column_names
    rows = [row("td", list(each.values())) for each in islice(table, most)]
    more = f"<p>and {len(table) - most} rows</p>" if len(table) > most else ""
    return f"<table>{row('th', names)}{''.join(rows)}</table>{more}"
