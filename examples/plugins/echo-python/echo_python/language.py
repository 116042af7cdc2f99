"""The executor: a cell is text, in which `{x}` stands for the input `x`.

It is printed, and is the output `text`.
"""

from polyloom_sdk import Context, Exec, Failure, executor

from echo_python.words import fill


@executor("echo", "1")
def echo(cx: Context, exec: Exec) -> None:
    """Run one cell."""
    lines = []
    for number, line in enumerate(exec.source.splitlines(), 1):
        try:
            lines.append(fill(line, cx.inputs))
        except KeyError as error:
            raise Failure.at_line(number, f"there is no input {error}") from None
        print(lines[-1])
    if "text" in exec.outputs:
        cx.value("text", "\n".join(lines))
