"""The codec against the golden vectors of the protocol, which every implementation shares."""

from __future__ import annotations

import json
import socket
import struct
import tempfile
import unittest
from pathlib import Path
from typing import Any

from conversation import SDK

from polyloom import _frames, _msgpack, _npy, _types

VECTORS = SDK.parent.parent / "protocol" / "vectors"
_BROKEN = (_frames.ProtocolError, _frames.ConnectionClosed)


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


def untag(tagged: dict[str, Any]) -> Any:
    """The value that a tagged one spells out."""
    ((kind, value),) = tagged.items()
    if kind == "list":
        return [untag(item) for item in value]
    if kind == "map":
        return {key: untag(item) for key, item in value}
    if kind == "bytes":
        return bytes.fromhex(value)
    make: Any = {"null": lambda _: None, "bool": bool, "int": int, "float": float, "str": str}[kind]
    return make(value)


def frame(data: bytes) -> tuple[int, int, bytes]:
    """Kind, exec id and body of one whole frame."""
    return data[4], int.from_bytes(data[8:16], "little"), data[16:]


def markers(value: Any) -> Any:
    """The JSON form of a body as the value it means."""
    if isinstance(value, dict):
        if set(value) == {"$bytes"}:
            import base64

            return base64.b64decode(value["$bytes"])
        if set(value) == {"$float"}:
            return float(value["$float"])
        return {key: markers(item) for key, item in value.items()}
    return [markers(item) for item in value] if isinstance(value, list) else value


@unittest.skipUnless(VECTORS.is_dir(), "outside of the repository there are no vectors")
class Vectors(unittest.TestCase):
    def test_values_are_encoded_and_decoded_as_canonical(self) -> None:
        for row in load("values.json")["valid"]:
            with self.subTest(row["msgpack"][:40]):
                value, data = untag(row["tagged"]), bytes.fromhex(row["msgpack"])
                self.assertEqual(_msgpack.encode(value), data)
                self.assertEqual(repr(_msgpack.decode(data)), repr(value))

    def test_longer_forms_are_read_and_written_canonical(self) -> None:
        for row in load("values.json")["not_canonical"]:
            with self.subTest(row["name"]):
                value = _msgpack.decode(bytes.fromhex(row["msgpack"]))
                self.assertEqual(_msgpack.encode(value).hex(), row["canonical"])

    def test_invalid_values_are_refused(self) -> None:
        for row in load("values.json")["invalid"]:
            with self.subTest(row["name"]), self.assertRaises(_msgpack.MsgpackError):
                _msgpack.decode(bytes.fromhex(row["msgpack"]), 64)

    def test_frames_read_as_their_bodies_and_are_written_so(self) -> None:
        vectors = load("frames.json")
        self.assertEqual(_frames.PREAMBLE.hex(), vectors["preamble"])
        for row in vectors["from_host"] + vectors["from_worker"]:
            with self.subTest(row["message"]):
                kind, exec_id, body = frame(bytes.fromhex(row["hex"]))
                self.assertEqual((kind, exec_id), (row["kind"], row["exec"]))
                value = _msgpack.decode(body)
                self.assertEqual(repr(sorted(value)), repr(sorted(row["body"])))
                self.assertEqual(_msgpack.encode(value), _msgpack.encode(markers(row["body"])))

    def test_streams_that_break_the_frame_are_refused(self) -> None:
        # What is bad about the message itself, in the other direction, is for the host to find.
        theirs = ("bad_message", "wrong_direction", "must_understand")
        for row in load("frames.json")["invalid"]:
            if row["violation"] in theirs:
                continue
            with self.subTest(row["name"]):
                ours, host = socket.socketpair()
                with ours, host:
                    host.sendall(bytes.fromhex(row["stream"]))
                    host.shutdown(socket.SHUT_WR)
                    connection = _frames.Connection(ours)
                    with self.assertRaises(_BROKEN) as refused:
                        connection.receive()
                    name = getattr(refused.exception, "name", "truncated_frame")
                    self.assertEqual(name, row["violation"])

    def test_npy_headers(self) -> None:
        vectors = load("npy.json")
        for row in vectors["valid"]:
            with self.subTest(row["shape"]):
                data = bytes.fromhex(row["header"])
                self.assertEqual(_npy.header(row["dtype"], row["shape"]), data)
                self.assertEqual(_npy.parse_header(data), (row["dtype"], row["shape"], len(data)))
        for row in vectors["tolerated"]:
            with self.subTest(row["name"]):
                data = bytes.fromhex(row["header"])
                self.assertEqual(_npy.parse_header(data)[:2], (row["dtype"], row["shape"]))
        for row in vectors["invalid"]:
            with self.subTest(row["name"]), self.assertRaises(ValueError):
                _npy.parse_header(bytes.fromhex(row["header"]))

    def test_npy_files_are_written_and_read(self) -> None:
        for row in load("npy.json")["files"]:
            with self.subTest(row["name"]), tempfile.TemporaryDirectory() as folder:
                dtype, shape, path = row["dtype"], row["shape"], folder + "/x.npy"
                form = _types.DTYPES[dtype][1]
                kind: Any = {"f": float, "b": lambda text: text == "1"}.get(dtype[0], int)
                values = [kind(text) for text in row["values"]]
                data = struct.pack(f"<{len(values)}{form}", *values)
                file = bytes.fromhex(row["file"])
                self.assertEqual(_npy.header(dtype, shape) + data, file)
                Path(path).write_bytes(file)
                read = _npy.read(path)
                self.assertEqual((read.nbytes, read.tobytes()), (len(data), data))
                wanted = _types.parse(f"tensor<{dtype}>")
                written = _npy.write_tensor(read, wanted, "x", folder + "/y.npy")
                if 0 not in shape:  # a memoryview with nothing in it has lost its shape
                    self.assertEqual(Path(written).read_bytes(), file)


class Messagepack(unittest.TestCase):
    def test_encoding_refuses_what_has_no_form(self) -> None:
        for value in (1 << 63, -(1 << 63) - 1, {1: 2}, {"a": object()}, "\ud800", {1, 2}):
            with self.subTest(repr(value)), self.assertRaises(_msgpack.MsgpackError):
                _msgpack.encode(value)

    def test_depth_is_the_same_both_ways(self) -> None:
        value: Any = None
        for _ in range(32):
            value = [value]
        self.assertEqual(_msgpack.decode(_msgpack.encode(value)), value)
        with self.assertRaises(_msgpack.MsgpackError):
            _msgpack.encode([value])
        with self.assertRaises(_msgpack.MsgpackError):
            _msgpack.decode(b"\x91" + _msgpack.encode(value))

    def test_subclasses_are_what_they_extend(self) -> None:
        from collections import OrderedDict
        from enum import Enum, IntEnum

        number = IntEnum("number", {"ONE": 1})
        text = Enum("text", {"RED": "red"}, type=str)
        value = OrderedDict([("b", number.ONE), ("a", text.RED)])
        self.assertEqual(_msgpack.decode(_msgpack.encode(value)), {"a": "red", "b": 1})


if __name__ == "__main__":
    unittest.main()
