"""Say: a language of a few words, to show how an executor is written in Python. A line each:

say TEXT           prints it; `$port` in a text is the value of that input
put PORT TEXT      is the output PORT; `put PORT $port` gives the value on, whatever its type
show TEXT          shows it while the cell runs
wait SECONDS       waits
fail TEXT          fails
# TEXT             says nothing
"""

from __future__ import annotations

import re
import time

from polyloom_sdk import Context, Exec, Failure, executor


@executor("say-python", "1")
def say(cx: Context, exec: Exec) -> None:
    """Run one cell."""
    for number, line in enumerate(exec.source.splitlines(), 1):
        word, _, rest = line.partition(" ")
        if not word or word.startswith("#"):
            continue
        try:
            act(cx, exec, word, rest)
        except (Failure, ValueError) as error:
            raise Failure.at_line(number, str(error)) from error


def act(cx: Context, exec: Exec, word: str, rest: str) -> None:
    """Do what a line says."""
    if word == "say":
        print(filled(cx, rest), flush=True)
    elif word == "put":
        name, _, text = rest.partition(" ")
        if text[:1] == "$" and text[1:] in exec.inputs and name in exec.outputs:
            cx.output(name, cx.input(text[1:]))
        else:
            (exec.out / name).write_text(filled(cx, text), encoding="utf-8")
    elif word == "show":
        cx.display_text(filled(cx, rest))
    elif word == "wait":
        time.sleep(float(rest))
    elif word == "fail":
        raise ValueError(rest)
    else:
        raise ValueError(f"expected say, put, show, wait, fail or #, found `{word}`")


def filled(cx: Context, text: str) -> str:
    """Give a text with the inputs that it names."""
    return re.sub(r"\$(\w+)", lambda found: str(cx.input(found[1])), text)
