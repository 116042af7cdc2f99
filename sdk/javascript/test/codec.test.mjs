//! Values, frames and tensors against the protocol's golden vectors, and round trips of our own.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import { encode, encodeAny } from "../encode.mjs";
import { FrameReader, PREAMBLE, encodeFrame } from "../frames.mjs";
import { Float, decode } from "../msgpack.mjs";
import { Tensor, decodeHeader, decodeNpy, empty, encodeHeader, encodeNpy } from "../npy.mjs";
import { toTensor } from "../tensor-output.mjs";
import { parseType } from "../types.mjs";

const VECTORS = new URL("../../../protocol/vectors/", import.meta.url);
const vectors = (name) => JSON.parse(fs.readFileSync(new URL(name, VECTORS), "utf8"));
const present = { skip: fs.existsSync(VECTORS) ? false : "no vectors beside this SDK" };
const hex = (text) => Buffer.from(text, "hex");

/** A vector's tagged value, as a JavaScript value and as the type that keeps its floats floats. */
function tagged({ ...tag }) {
  const [[kind, content]] = Object.entries(tag);
  const special = { nan: NaN, inf: Infinity, "-inf": -Infinity };
  switch (kind) {
    case "null": return null;
    case "int": return Number.isSafeInteger(Number(content)) ? Number(content) : BigInt(content);
    case "float": return new Float(special[content] ?? Number(content));
    case "bytes": return hex(content);
    case "list": return content.map(tagged);
    case "map": return new Map(content.map(([key, inner]) => [key, tagged(inner)]));
    default: return content;
  }
}

/** The same as reading gives it. */
function plain(value) {
  if (value instanceof Float) return value.value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, inner]) => [key, plain(inner)]));
  return value;
}

test("values read and write as the vectors say", present, () => {
  for (const vector of vectors("values.json").valid) {
    const value = tagged(vector.tagged);
    assert.equal(encodeAny(value).toString("hex"), vector.msgpack, vector.json);
    assert.deepEqual(decode(hex(vector.msgpack), { canonical: true }), plain(value), vector.json);
  }
});

test("values that are not sound are refused", present, () => {
  for (const { name, msgpack } of vectors("values.json").invalid) {
    assert.throws(() => decode(hex(msgpack)), { name: "MsgpackError" }, name);
  }
});

test("values that are not canonical are read only where that is allowed", present, () => {
  for (const { name, msgpack, canonical } of vectors("values.json").not_canonical) {
    assert.throws(() => decode(hex(msgpack), { canonical: true }), { name: "MsgpackError" }, name);
    const value = decode(hex(msgpack));
    const written = typeof value === "number" && canonical.startsWith("cb") ? new Float(value) : value;
    assert.equal(encodeAny(written).toString("hex"), canonical, name);
  }
});

test("frames of both sides read back as themselves", present, () => {
  const all = vectors("frames.json");
  assert.equal(PREAMBLE.toString("hex"), all.preamble);
  for (const from of ["worker", "host"]) {
    for (const vector of all[`from_${from}`]) {
      const [frame] = new FrameReader(from).push(Buffer.concat([PREAMBLE, hex(vector.hex)]));
      assert.deepEqual([frame.kind, Number(frame.exec)], [vector.kind, vector.exec], vector.message);
      const again = encodeFrame(frame.kind, frame.exec, frame.body);
      const [copy] = new FrameReader(from).push(Buffer.concat([PREAMBLE, again]));
      assert.deepEqual(copy.body, frame.body, vector.message);
    }
  }
});

test("streams are read however they are cut", present, () => {
  const all = vectors("frames.json").from_host;
  const stream = Buffer.concat([PREAMBLE, ...all.map((vector) => hex(vector.hex))]);
  for (const step of [1, 7, 16, 1000]) {
    const reader = new FrameReader("host");
    const frames = [];
    for (let at = 0; at < stream.length; at += step) frames.push(...reader.push(stream.subarray(at, at + step)));
    reader.end();
    assert.deepEqual(frames.map(({ kind }) => kind), all.map(({ kind }) => kind));
  }
});

test("broken streams are refused, odd ones are read", present, () => {
  const all = vectors("frames.json");
  for (const { name, stream, violation } of all.invalid) {
    // The keys of each message are the host's to check; a worker takes what it needs.
    if (violation === "bad_message") continue;
    const read = () => {
      const reader = new FrameReader("worker");
      reader.push(hex(stream));
      reader.end();
    };
    assert.throws(read, { name: "ProtocolError", code: violation }, name);
  }
  for (const { name, stream, message } of all.tolerated) {
    const frames = new FrameReader("worker").push(hex(stream));
    assert.equal(frames.length, message === "Unknown" ? 0 : 1, name);
  }
});

test("tensor headers read and write as the vectors say", present, () => {
  const all = vectors("npy.json");
  for (const { dtype, shape, header } of all.valid) assert.equal(encodeHeader(dtype, shape).toString("hex"), header);
  for (const { dtype, shape, header } of [...all.valid, ...all.tolerated]) {
    const read = decodeHeader(hex(header));
    assert.deepEqual([read.dtype, read.shape], [dtype, shape]);
  }
  for (const { name, header } of all.invalid) assert.throws(() => decodeHeader(hex(header)), { name: "NpyError" }, name);
});

test("tensor files read and write as the vectors say", present, () => {
  for (const { name, dtype, shape, values, file } of vectors("npy.json").files) {
    const tensor = decodeNpy(hex(file));
    assert.deepEqual([tensor.dtype, tensor.shape], [dtype, shape], name);
    const wide = dtype === "i64" || dtype === "u64";
    const elements = values.map(wide ? BigInt : (text) => Number(text.replace("inf", "Infinity")));
    assert.deepEqual([...tensor.data], dtype === "f32" ? [...Float32Array.from(elements)] : elements, name);
    assert.equal(Buffer.concat(encodeNpy(tensor)).toString("hex"), file, name);
    assert.equal(Buffer.concat(encodeNpy(toTensor(tensor, parseType(`tensor<${dtype}>`)))).toString("hex"), file, name);
  }
});

test("an empty tensor is zeros of the shape and type asked for", () => {
  assert.deepEqual([empty([2, 3]).data, empty([2, 3]).shape], [new Float64Array(6), [2, 3]]);
  assert.deepEqual([empty(2, "i64").data, empty([], "bool").size], [new BigInt64Array(2), 1]);
  for (const bad of [[[-1]], [[1.5]], [[2], "f16"], [["2"]]]) assert.throws(() => empty(...bad), { name: "NpyError" });
});

test("tensor data is a view of the file", () => {
  const file = Buffer.concat(encodeNpy(new Tensor(Float64Array.of(1, 2, 3, 4, 5, 6), [2, 3])));
  const own = Buffer.allocUnsafeSlow(file.length);
  file.copy(own);
  const tensor = decodeNpy(own);
  assert.equal(tensor.data.buffer, own.buffer);
  assert.deepEqual([tensor.get(1, 2), tensor.toArray()], [6, [[1, 2, 3], [4, 5, 6]]]);
  assert.throws(() => decodeNpy(own.subarray(0, own.length - 1)), { name: "NpyError" });
});

test("tensors take their declared element type only where nothing is lost", () => {
  const to = (value, type) => toTensor(value, parseType(type));
  assert.deepEqual(to([1, 2], "tensor<i64,[2]>").data, BigInt64Array.of(1n, 2n));
  assert.deepEqual(to(Uint8Array.of(0, 1), "tensor<bool,[n]>").dtype, "bool");
  assert.deepEqual(to(Int32Array.of(5), "tensor<f64>").data, Float64Array.of(5));
  assert.deepEqual(to(7, "tensor<u8,[]>").shape, []);
  for (const [value, type] of [
    [[300], "tensor<u8,[1]>"], [[-1], "tensor<u64,[1]>"], [[1.5], "tensor<i32,[1]>"], [Float64Array.of(1), "tensor<f32,[1]>"],
    [[1, 2], "tensor<f64,[3]>"], [[[1, 2]], "tensor<f64,[n,n]>"], [[[1], [2, 3]], "tensor<f64>"], ["x", "tensor<f64>"],
    [Uint8Array.of(2), "tensor<bool,[1]>"],
  ]) {
    assert.throws(() => to(value, type), { name: "ValueError" }, `${JSON.stringify(value)} as ${type}`);
  }
});

test("types are checked on the way out", () => {
  const write = (value, type) => encode(value, parseType(type));
  assert.equal(write(1, "float").toString("hex"), "cb3ff0000000000000");
  assert.equal(write({ b: 1, a: 2 }, "record{ b: int, a: float }").toString("hex"), "82a161cb4000000000000000a16201");
  assert.equal(write({ x: 1, y: 2 }, "vec2").length, 19);
  assert.equal(write("#AABBCC", "color").toString("latin1", 1), "#aabbcc");
  assert.deepEqual(decode(write({ __proto__x: 1, ["__proto__"]: 2 }, "map<int>")), JSON.parse('{"__proto__":2,"__proto__x":1}'));
  const self = [];
  self.push(self);
  let deep = 0;
  for (let i = 0; i < 65; i++) deep = [deep];
  for (const [value, type, message] of [
    [1.5, "int", "expected an int, found the number `1.5`"],
    [2 ** 60, "int", /beyond 2\^53-1 must be BigInt/],
    [2n ** 63n, "int", /64 bits/],
    ["c", "enum{a,b}", "expected one of `a`, `b`, found the text `c`"],
    [{ a: 1 }, "record{a:int,b:int}", /the field `b`/],
    [{ a: 1, c: 1 }, "record{a:int}", /unknown field `c`/],
    [["\ud800"], "list<str>", /^at `\[0\]`.*lone surrogate/],
    [self, "any", /contains itself/],
    [deep, "any", /at most 64 levels/],
    [() => 1, "any", /a function/],
    [new Date(0), "any", /class `Date`/],
  ]) {
    assert.throws(() => write(value, type), { name: "ValueError", message }, String(type));
  }
});

test("types that are not spelled right say where", () => {
  for (const text of ["list<int", "record{a}", "tensor<f16>", "", "int x", "enum{a,b"]) {
    assert.throws(() => parseType(text), TypeError, text);
  }
});
