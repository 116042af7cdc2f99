"""A small executor: a cell is text, given back in capitals as the output `text`.

A line that begins with `!` is for the conformance kit: it does what it says, as a program would.
"""

from __future__ import annotations

import os
import sys
import time

from polyloom_sdk import Context, Exec, Failure, executor, serve


@executor("upper", "1")
def upper(cx: Context, exec: Exec) -> None:
    """Run one cell."""
    for number, line in enumerate(exec.source.splitlines(), 1):
        if line.startswith("!"):
            word, _, rest = line[1:].partition(" ")
            act(cx, exec, number, word, rest)
    if "text" in exec.outputs:
        cx.value("text", exec.source.upper())


def act(cx: Context, exec: Exec, number: int, word: str, rest: str) -> None:
    """Do what a line says."""
    if word == "print":
        print(rest, flush=True)
    elif word == "warn":
        print(rest, file=sys.stderr)
    elif word == "argv":
        print(*exec.argv, sep="\n")
    elif word == "stdin":
        sys.stdout.write(sys.stdin.read())
    elif word == "exit":
        raise Failure("as it was told", exit_code=int(rest))
    elif word == "fail":
        raise Failure.at_line(number, rest)
    elif word == "keep":
        cx.file("y", rest)
    elif word == "give":
        cx.output("y", cx.input("x"))
    elif word == "variable":
        print(os.environ.get(rest, ""))
    elif word == "run":
        cx.compile_and_run(["sh", "-c", rest])
    elif word == "log":
        cx.log(rest)
    elif word == "flood":
        for _ in range(64):
            cx.log("x" * 16384)
    elif word == "progress":
        cx.progress(float(rest))
    elif word == "display":
        cx.display_text(rest)
    elif word == "extra":
        cx.artifact("notes-2.txt", rest)
    elif word == "sleep":
        time.sleep(float(rest))
    elif word == "large":
        sys.stdout.write(("x" * 63 + "\n") * 16384)
    elif word == "loop":
        while True:
            print("again", flush=True)
    else:
        raise Failure.at_line(number, f"`{word}` is no word")


if __name__ == "__main__":
    serve(upper)
