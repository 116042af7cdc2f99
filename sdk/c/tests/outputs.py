"""Looks at what write.c and cpp.cpp made, with readers of its own. Standard library only; with pyarrow the tables too."""
import math
import pathlib
import struct
import sys

out = pathlib.Path(sys.argv[1])


def unpack(data):
    def one(at):
        tag = data[at]
        if tag < 0x80 or tag >= 0xE0:
            return (tag if tag < 0x80 else tag - 256), at + 1
        if tag < 0xC0 and tag >= 0xA0:
            return data[at + 1:at + 1 + (tag & 31)].decode(), at + 1 + (tag & 31)
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at + 1
        if tag == 0xC4:
            return data[at + 2:at + 2 + data[at + 1]], at + 2 + data[at + 1]
        fixed = {0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
        if tag in fixed:
            size = struct.calcsize(fixed[tag])
            return struct.unpack(fixed[tag], data[at + 1:at + 1 + size])[0], at + 1 + size
        count = struct.unpack(">I", data[at + 1:at + 5])[0]
        at += 5
        items = []
        for _ in range(count * (2 if tag == 0xDF else 1)):
            item, at = one(at)
            items.append(item)
        return (dict(zip(items[::2], items[1::2])) if tag == 0xDF else items), at

    value, end = one(0)
    assert end == len(data), "bytes after the value"
    return value


def value(name):
    return unpack((out / f"{name}.msgpack").read_bytes())


def tensor(name):
    data = (out / f"{name}.npy").read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size = 10 + struct.unpack("<H", data[8:10])[0]
    assert size % 64 == 0 and data[size - 1:size] == b"\n"
    header = eval(data[10:size])
    assert header["fortran_order"] is False
    code = {"|b1": "?", "<f8": "d", "<f4": "f", "<i2": "h", "<i4": "i"}[header["descr"]]
    count = math.prod(header["shape"])
    return header["descr"], header["shape"], list(struct.unpack(f"<{count}{code}", data[size:]))


def check(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


def check_c():
    for name, wanted in {"i0": 0, "i1": -33, "i2": 1000, "i3": -2**63, "i4": 2**63 - 1, "f": 0.1, "b": True, "n": None,
                         "s": "héllo", "zero": "a\0b", "raw": b"\0\1", "nested": {"list": list(range(300)), "empty": {}}}.items():
        check(value(name), wanted)
    check((out / "nan.msgpack").read_bytes(), b"\xcb\x7f\xf8" + bytes(6))
    check((out / "i2.msgpack").read_bytes(), b"\xcd\x03\xe8")
    for name, wanted in {"report.csv": b"a,b\n", "picture.svg": b"<svg/>", "page.html": b"<p>hello</p>",
                         "copied/leaf.txt": b"leaf", "copied/branch/twig": b"twig", "made/inside": b""}.items():
        check((out / name).read_bytes(), wanted)
    check(tensor("cube"), ("<f8", (2, 3, 4), [i / 2 for i in range(24)]))
    check(tensor("line"), ("<i2", (5,), [0, 1, 4, 9, 16]))
    check(tensor("point"), ("|b1", (), [True]))
    check(tensor("hollow"), ("<f8", (0,), []))


def check_cpp():
    for name, wanted in {"sum": 15.0, "lst": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "b": True, "s": "abc", "n": None, "str": "q\0r",
                         "m": {"a": [1, 2], "z": []}, "u": 2**63 - 1, "l": -5, "words": ["p", "qr"], "ten": 10.0}.items():
        check(value(name), wanted)
    check(tensor("vec"), ("<f8", (6,), [0, 1, 2, 3, 4, 5]))
    check(tensor("bits"), ("|b1", (2,), [True, False]))
    check(tensor("o"), ("<f4", (2, 2), [0, 0, 0, 3]))


def check_tables():
    try:
        import pyarrow
    except ImportError:
        return
    table = pyarrow.ipc.open_file(out / "days.arrow").read_all()
    table.validate(full=True)
    if "wet" in table.column_names:
        check(table["name"].to_pylist(), ["even", "odd", "even", None, "even", "odd"])
        check(table["temp"].to_pylist(), [0, 0.25, 0.5, 0.75, 1, None])
        check(table["wet"].to_pylist(), [True, False, False, True, False, False])
        check(str(table["day"][0]), "2012-01-01")
        bare = pyarrow.ipc.open_file(out / "bare.arrow").read_all()
        bare.validate(full=True)
        check(bare.num_rows, 0)


{"c": check_c, "cpp": check_cpp}[sys.argv[2]]()
check_tables()
leftover = [path.name for path in out.iterdir() if path.name.startswith(".")]
check(leftover, [])
