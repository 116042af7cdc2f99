"""What docstrings say: the first paragraph, each parameter's sentence, and the tags.

The three styles that are in use are read: Google's, numpy's and Sphinx's.
"""

from __future__ import annotations

import re

LONGEST = 4000
_FIELD = re.compile(r"^:param(?:\s+[^:]*?)?\s+\*{0,2}(\w+):\s*(.*)$")
_GOOGLE = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::\s*(.*))?$")
_SECTIONS = ("args:", "arguments:", "parameters:", "keyword args:", "keyword arguments:", "params:")
_TAGS = re.compile(r"^\s*Tags:\s*(.+?)\s*$", re.M)


class Doc:
    """A docstring, taken apart."""

    __slots__ = ("params", "tags", "text", "types")

    def __init__(self, text: str) -> None:
        text = clean(text)[: 64 << 10]
        self.text = _first(text)
        self.params: dict[str, str] = {}
        self.types: dict[str, str] = {}
        """numpy's style: what it says of the type."""
        self.tags: list[str] = []
        if "Tags:" in text:
            for found in _TAGS.findall(text):
                self.tags += [tag.strip() for tag in found.split(",") if tag.strip()]
        if ":" in text or "---" in text:
            self._read(text.split("\n"))

    def _read(self, lines: list[str]) -> None:
        section = ""
        indent = 0
        name = ""
        for at, line in enumerate(lines):
            bare = line.strip()
            deep = len(line) - len(line.lstrip())
            if bare.startswith(":param"):
                found = _FIELD.match(bare)
                if found is not None:
                    name, section, indent = found[1], "sphinx", deep
                    self.params[name] = found[2]
                continue
            below = lines[at + 1].strip() if at + 1 < len(lines) else ""
            if bare and len(below) > 2 and not below.strip("-"):
                section, name, indent = bare.lower(), "", deep
                section = "numpy" if section in ("parameters", "other parameters") else section
                if section in ("returns", "yields"):
                    section = "returns"
                continue
            if bare.lower() in _SECTIONS:
                section, name, indent = "google", "", -1
                continue
            if not section or not bare.strip("-"):
                name = "" if section != "sphinx" and not bare and section == "google" else name
                continue
            if section == "google":
                indent = deep if indent < 0 else indent
                if deep < indent:
                    section = name = ""
                elif deep == indent:
                    found = _GOOGLE.match(bare)
                    name = found[1] if found else name
                    if found:
                        self.params[name] = found[2]
                else:
                    self._more(name, bare)
            elif section == "numpy":
                found = _NUMPY.match(bare) if deep <= indent else None
                if found is not None:
                    name = found[1].split(",")[0].strip("* ")
                    for each in found[1].split(","):
                        self.types[each.strip("* ")] = found[2] or ""
                else:
                    self._more(name, bare)
            elif section == "returns":
                if deep <= indent and "" not in self.types:
                    self.types[""] = bare.partition(" : ")[2] or bare
            elif section == "sphinx":
                if deep > indent and not bare.startswith(":"):
                    self._more(name, bare)
                else:
                    section = name = ""

    def _more(self, name: str, text: str) -> None:
        if name:
            before = self.params.get(name, "")
            if len(before) < LONGEST:
                self.params[name] = f"{before} {text}" if before else text


def clean(text: str) -> str:
    """The text without the indentation of its lines."""
    lines = text.expandtabs().split("\n")
    deep = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    return "\n".join([lines[0].strip(), *(line[deep:].rstrip() for line in lines[1:])]).strip()


def _first(text: str) -> str:
    paragraph = re.split(r"\n[ \t]*\n", text, maxsplit=1)[0]
    if _TAGS.match(paragraph):
        return ""
    lines = [line.strip() for line in paragraph.split("\n") if not _TAGS.match(line)]
    return " ".join(lines)[:LONGEST]
