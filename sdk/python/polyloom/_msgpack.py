"""MessagePack in the profile of protocol W: canonical encoding, strict decoding.

Knows no frames, sockets or declared types. Canonical means: shortest integer, string, binary and
container forms, floats as 64 bits with one NaN, map keys as text in byte order. Decoding accepts
longer forms but refuses what could hide something: duplicate keys, extension types, integers
outside 64 bits signed, invalid UTF-8, nesting over the limit, and anything after the value.
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

MAX_DEPTH = 32
_NAN = b"\xcb\x7f\xf8\0\0\0\0\0\0"
_pack_f64 = Struct(">Bd").pack
_pack_u16 = Struct(">BH").pack
_pack_u32 = Struct(">BI").pack
_pack_i16 = Struct(">Bh").pack
_pack_i32 = Struct(">Bi").pack
_pack_i64 = Struct(">Bq").pack
_BYTE = [bytes((n,)) for n in range(256)]


class MsgpackError(ValueError):
    """The value cannot be encoded, or the bytes are not one value of the profile.

    `name` is what the specification of the protocol calls it in a message's body.
    """

    def __init__(self, text: str, name: str = "bad_message") -> None:
        super().__init__(text)
        self.name = name


def encode(value: Any, max_depth: int = MAX_DEPTH) -> bytes:
    """The canonical bytes of `value`: None, bool, int, float, str, bytes, list, tuple or dict."""
    parts: list[bytes] = []
    _put(value, parts.append, max_depth)
    return b"".join(parts)


def _put(value: Any, add: Callable[[bytes], None], depth: int) -> None:
    kind = type(value)
    if kind is str:
        try:
            data = value.encode()
        except UnicodeEncodeError as error:
            raise MsgpackError(f"text with a lone surrogate: {error.reason}") from None
        size = len(data)
        if size < 32:
            add(_BYTE[0xA0 | size])
        else:
            _put_size(size, add, 0xD9)
        add(data)
    elif kind is int:
        if 0 <= value < 128:
            add(_BYTE[value])
        else:
            _put_int(value, add)
    elif kind is float:
        add(_pack_f64(0xCB, value) if value == value else _NAN)
    elif kind is dict:
        if depth < 1:
            raise MsgpackError("nested too deeply")
        size = len(value)
        if size < 16:
            add(_BYTE[0x80 | size])
        else:
            add(_pack_u16(0xDE, size) if size < 65536 else _pack_u32(0xDF, size))
        try:
            # The order of code points is the order of UTF-8 bytes.
            keys = sorted(value)
        except TypeError:
            raise MsgpackError("map keys must be text") from None
        depth -= 1
        for key in keys:
            if not isinstance(key, str):
                raise MsgpackError(f"map keys must be text, found `{type(key).__name__}`")
            _put(str.__str__(key), add, depth)
            _put(value[key], add, depth)
    elif kind is list or kind is tuple:
        if depth < 1:
            raise MsgpackError("nested too deeply")
        size = len(value)
        if size < 16:
            add(_BYTE[0x90 | size])
        else:
            add(_pack_u16(0xDC, size) if size < 65536 else _pack_u32(0xDD, size))
        depth -= 1
        for item in value:
            _put(item, add, depth)
    elif value is None:
        add(b"\xc0")
    elif value is True:
        add(b"\xc3")
    elif value is False:
        add(b"\xc2")
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        _put_size(len(data), add, 0xC4)
        add(data)
    else:
        # A subclass, such as an IntEnum or an OrderedDict. `str()` would ask an enum for its name.
        if isinstance(value, str):
            return _put(str.__str__(value), add, depth)
        for base in (int, float, dict):
            if isinstance(value, base):
                return _put(base(value), add, depth)  # type: ignore[arg-type]
        if isinstance(value, (list, tuple)):
            return _put(list(value), add, depth)
        raise MsgpackError(f"a `{kind.__name__}` has no MessagePack form")


def _put_size(size: int, add: Callable[[bytes], None], code: int) -> None:
    if size < 256:
        add(_BYTE[code] + _BYTE[size])
    elif size < 65536:
        add(_pack_u16(code + 1, size))
    else:
        add(_pack_u32(code + 2, size))


def _put_int(value: int, add: Callable[[bytes], None]) -> None:
    if value >= 0:
        if value < 256:
            add(b"\xcc" + _BYTE[value])
        elif value < 65536:
            add(_pack_u16(0xCD, value))
        elif value < 1 << 32:
            add(_pack_u32(0xCE, value))
        elif value < 1 << 63:
            add(_pack_i64(0xCF, value))
        else:
            raise MsgpackError("the integer does not fit into 64 bits")
    elif value >= -32:
        add(_BYTE[256 + value])
    elif value >= -128:
        add(b"\xd0" + _BYTE[256 + value])
    elif value >= -32768:
        add(_pack_i16(0xD1, value))
    elif value >= -(1 << 31):
        add(_pack_i32(0xD2, value))
    elif value >= -(1 << 63):
        add(_pack_i64(0xD3, value))
    else:
        raise MsgpackError("the integer does not fit into 64 bits")


# code -> (unpack one number, its size), for numbers and for the lengths of str, bin, array, map
_NUMBERS = {
    code: (Struct(">" + form).unpack_from, Struct(">" + form).size)
    for code, form in {
        **{0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q"},
        **{0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"},
        **{0xC4: "B", 0xC5: "H", 0xC6: "I", 0xD9: "B", 0xDA: "H", 0xDB: "I"},
        **{0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"},
    }.items()
}

_PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}


def decode(data: bytes, max_depth: int = MAX_DEPTH, unsigned: bool = False) -> Any:
    """The one value that `data` holds. `unsigned`: integers may have 64 bits, as in messages."""
    try:
        value, end = _get(data, 0, max_depth, unsigned)
    except (IndexError, StructError):
        raise MsgpackError("the value is cut short", "truncated_body") from None
    except UnicodeDecodeError:
        raise MsgpackError("text is not UTF-8", "invalid_utf8") from None
    if end != len(data):
        raise MsgpackError(f"{len(data) - end} bytes after the value", "trailing_bytes")
    return value


def _get(data: bytes, at: int, depth: int, unsigned: bool) -> tuple[Any, int]:
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if 0xA0 <= code < 0xC0:
        end = at + (code & 31)
        if end > len(data):
            raise IndexError
        return data[at:end].decode(), end
    if code >= 0xE0:
        return code - 256, at
    if code < 0x90:
        return _get_map(data, at, code & 15, depth, unsigned)
    if code < 0xA0:
        return _get_list(data, at, code & 15, depth, unsigned)
    if code == 0xC0:
        return None, at
    if code == 0xC2 or code == 0xC3:
        return code == 0xC3, at
    if code not in _NUMBERS:
        name = "reserved_byte" if code == 0xC1 else "ext_type"
        raise MsgpackError(f"code 0x{code:02x} is not part of the profile", name)
    unpack, size = _NUMBERS[code]
    number: Any = unpack(data, at)[0]
    at += size
    if 0xCA <= code <= 0xD3:
        if code == 0xCF and number >> 63 and not unsigned:
            raise MsgpackError("the integer does not fit into 64 bits signed")
        return number, at
    if code <= 0xC6 or 0xD9 <= code <= 0xDB:
        end = at + number
        if end > len(data):
            raise IndexError
        return (data[at:end] if code <= 0xC6 else data[at:end].decode()), end
    return (_get_list if code < 0xDE else _get_map)(data, at, number, depth, unsigned)


def _get_list(data: bytes, at: int, size: int, depth: int, unsigned: bool) -> tuple[list[Any], int]:
    if depth < 1:
        raise MsgpackError("nested too deeply", "too_deep")
    items: list[Any] = []
    for _ in range(size):
        item, at = _get(data, at, depth - 1, unsigned)
        items.append(item)
    return items, at


def _get_map(
    data: bytes, at: int, size: int, depth: int, unsigned: bool
) -> tuple[dict[str, Any], int]:
    if depth < 1:
        raise MsgpackError("nested too deeply", "too_deep")
    depth -= 1
    items: dict[str, Any] = {}
    for _ in range(size):
        code = data[at]
        if 0xA0 <= code < 0xC0:
            # Messages are maps of short keys, most of them to short text: no calls for these.
            end = at + 1 + (code & 31)
            code = data[end]
            key: Any = data[at + 1 : end].decode()
        else:
            key, end = _get(data, at, 0, unsigned)
            if type(key) is not str:
                raise MsgpackError("map keys must be text", "key_not_text")
            code = data[end]
        if key in items:
            raise MsgpackError(f"the key `{key}` appears twice", "duplicate_key")
        if 0xA0 <= code < 0xC0:
            at = end + 1 + (code & 31)
            if at > len(data):
                raise IndexError
            items[key] = data[end + 1 : at].decode()
        elif code in _PLAIN:
            items[key] = _PLAIN[code]
            at = end + 1
        else:
            items[key], at = _get(data, end, depth, unsigned)
    return items, at
