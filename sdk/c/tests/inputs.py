"""Writes the inputs that are not Arrow files into the folder given: values and tensors, good and bad. Standard library only."""
import pathlib
import struct
import sys

out = pathlib.Path(sys.argv[1])


def npy(name, descr, shape, data, version=1, order="False"):
    header = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    size = 10 if version == 1 else 12
    header += b" " * (-(size + len(header) + 1) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    (out / f"{name}.npy").write_bytes(b"\x93NUMPY" + bytes([version, 0]) + length + header + data)


values = {
    "int": b"\x14", "negative": b"\xd1\xff\x38", "huge": b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    "float": b"\xcb" + struct.pack(">d", 1.5), "single": b"\xca" + struct.pack(">f", 0.25), "null": b"\xc0", "yes": b"\xc3",
    "name": b"\xa5world", "text": b"\xa4a\x00\xc3\xa9", "raw": b"\xc4\x03\x00\xff\x01",
    "list": b"\x93\x01\xcb" + struct.pack(">d", 2.5) + b"\xa1x",
    "three": b"\x93\x01\x02\x03",
    "map": b"\x83\xa1a\x01\xa1b\x92\x02\x03\xa1c\x81\xa1d\xc0",
    "words": b"\x92\xa1p\xa2qr",
    "ext": b"\xd4\x01\x00", "cut": b"\xa5wor", "trailing": b"\x01\x02", "void": b"", "bomb": b"\xdd\xff\xff\xff\xff",
    "deep": b"\x91" * 100000 + b"\x01",
}
for name, data in values.items():
    (out / f"{name}.msgpack").write_bytes(data)
    (out / f"{name}.txt").write_bytes(b"beside it")

npy("matrix", "<f8", "(2, 3)", struct.pack("<6d", 0, 1, 2, 3, 4, 5))
npy("vector", "<i4", "(4,)", struct.pack("<4i", 1, -2, 3, -4))
npy("scalar", "<f4", "()", struct.pack("<f", 0.5))
npy("flags", "|b1", "(3,)", b"\1\0\1", version=2)
npy("none", "<f8", "(0, 5)", b"")
npy("fortran", "<f8", "(2, 3)", bytes(48), order="True")
npy("short", "<f8", "(100,)", bytes(799))
npy("endian", ">f8", "(1,)", bytes(8))
npy("overflow", "<f8", "(4611686018427387904, 4611686018427387904)", bytes(8))
npy("wide", "<f8", "(99999999999999999999,)", bytes(8))
npy("dims", "|u1", "(" + "1, " * 40 + ")", b"\0")
(out / "notnpy.npy").write_bytes(b"not a tensor at all")
(out / "head.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff{'descr'")
(out / "page.html").write_bytes(b"<p>hello</p>")
(out / "tree").mkdir()
(out / "tree" / "leaf.txt").write_bytes(b"leaf")
(out / "tree" / "branch").mkdir()
(out / "tree" / "branch" / "twig").write_bytes(b"twig")
(out / "stream.arrow").write_bytes(b"\xff\xff\xff\xff" + bytes(60))
