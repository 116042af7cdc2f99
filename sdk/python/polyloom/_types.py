"""The grammar of port types: `list<float>`, `record{day: str, temp: float}`, `tensor<f64,[n,3]>`.

Knows how types are spelled, not how values look. A name that is no built-in type is one that an
executor declared; its values are carried as those of `any`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Union

# spelling -> (spelling of .npy after the byte order, format of struct and memoryview, bytes)
DTYPES = {
    "bool": ("b1", "?", 1),
    "i8": ("i1", "b", 1),
    "i16": ("i2", "h", 2),
    "i32": ("i4", "i", 4),
    "i64": ("i8", "q", 8),
    "u8": ("u1", "B", 1),
    "u16": ("u2", "H", 2),
    "u32": ("u4", "I", 4),
    "u64": ("u8", "Q", 8),
    "f32": ("f4", "f", 4),
    "f64": ("f8", "d", 8),
}


class Type:
    """One parsed type; which fields mean something depends on `name`."""

    __slots__ = ("dtype", "fields", "item", "members", "name", "options", "shape", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.item: Optional[Type] = None
        self.fields: dict[str, Type] = {}
        self.options: list[str] = []
        self.members: list[Type] = []
        self.dtype: Optional[str] = None
        self.shape: Optional[list[Union[int, str]]] = None
        self.text = name


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, wanted: str) -> ValueError:
        return ValueError(f"type `{self.text}`: expected {wanted} at character {self.at + 1}")

    def skip(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def take(self, mark: str) -> bool:
        self.skip()
        if self.text.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def need(self, mark: str) -> None:
        if not self.take(mark):
            raise self.fail(f"`{mark}`")

    def word(self, extra: str = "") -> str:
        self.skip()
        start = self.at
        while self.at < len(self.text) and (
            self.text[self.at].isalnum() or self.text[self.at] in "_-." + extra
        ):
            self.at += 1
        if start == self.at:
            raise self.fail("a name")
        return self.text[start : self.at]

    def type(self) -> Type:
        """One type, or several with `|` between, of which a value has one."""
        start = self.at
        members = [self.one()]
        while self.take("|"):
            members.append(self.one())
        if len(members) == 1:
            return members[0]
        found = Type("union")
        found.members = members
        found.text = self.text[start : self.at].strip()
        return found

    def one(self) -> Type:
        self.skip()
        start = self.at
        found = Type(self.word("/:"))
        if found.name in ("list", "map") and self.take("<"):
            found.item = self.type()
            self.need(">")
        elif found.name == "record" and self.take("{"):
            while not self.take("}"):
                name = self.word()
                self.need(":")
                found.fields[name] = self.type()
                if not self.take(","):
                    self.need("}")
                    break
        elif found.name == "enum" and self.take("{"):
            while not self.take("}"):
                found.options.append(self.word())
                if not self.take(","):
                    self.need("}")
                    break
        elif found.name == "tensor" and self.take("<"):
            self.tensor(found)
        found.text = self.text[start : self.at].strip()
        return found

    def tensor(self, found: Type) -> None:
        dtype = self.word("*?")
        found.dtype = None if dtype in ("any", "*", "?") else dtype
        if found.dtype is not None and dtype not in DTYPES:
            raise ValueError(f"type `{self.text}`: `{dtype}` is none of {', '.join(DTYPES)}")
        if self.take(","):
            self.need("[")
            found.shape = []
            while not self.take("]"):
                size = self.word("*?")
                found.shape.append(int(size) if size.isdigit() else size)
                if not self.take(","):
                    self.need("]")
                    break
        self.need(">")


def parse(text: str) -> Type:
    """The type that `text` spells."""
    if text.isalnum():
        return Type(text)  # as most are, a name alone
    parser = _Parser(text)
    found = parser.type()
    parser.skip()
    if parser.at != len(text):
        raise parser.fail("the end")
    return found
