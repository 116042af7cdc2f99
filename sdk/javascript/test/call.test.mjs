//! Cells that are one call of an exported function.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import { encodeAny } from "../encode.mjs";
import { Kind } from "../frames.mjs";
import { decode } from "../msgpack.mjs";
import { withHost } from "./host.mjs";

const value = (host, port) => decode(host.output(`${port}.msgpack`), { canonical: true });

/** Calls `f` of a module with this source; the frames and whether it went well. */
async function called(host, source, inputs = {}, outputs = { result: "any" }, call = { module: "m", object: "f" }) {
  const code = source === null ? "" : host.path("code/m.mjs");
  if (source !== null) fs.writeFileSync(code, source);
  const slots = {};
  for (const [name, input] of Object.entries(inputs)) {
    const path = host.path(`in/${name}.msgpack`);
    fs.writeFileSync(path, encodeAny(input));
    slots[name] = { type: "any", path, encoding: "msgpack" };
  }
  const types = Object.fromEntries(Object.entries(outputs).map(([name, type]) => [name, { type }]));
  host.send(Kind.Exec, 1n, { cell: "c", code, inputs: slots, outputs: types, out: host.path("out"), call });
  const done = await host.frame("Done");
  return { ok: done.body.ok, frames: host.frames };
}

const message = ({ frames }) => frames.find(({ name }) => name === "Diagnostic")?.body;

test("an object that is taken apart holds the inputs, the result is the output", withHost(async (host) => {
  const source = "export async function f({ a, b = 2 }, polyloom) { polyloom.log('info', 'x'); return a + b; }";
  const result = await called(host, source, { a: 1 }, { result: "int" });
  assert.equal(result.ok, true, message(result)?.message);
  assert.equal(value(host, "result"), 3);
}));

test("several outputs are the members of an object, exactly", withHost(async (host) => {
  const source = "export const f = () => ({ a: 1, b: 'x' });";
  assert.equal((await called(host, source, {}, { a: "int", b: "str" })).ok, true, host.stderr);
  assert.deepEqual([value(host, "a"), value(host, "b")], [1, "x"]);
}));

for (const [what, source, inputs, outputs, words] of [
  ["an undeclared output", "export const f = () => ({ a: 1, b: 2, c: 3 })", {}, { a: "int", b: "int" }, "output `c` of `f` is not declared"],
  ["a missing output", "export const f = () => ({ a: 1 })", {}, { a: "int", b: "int" }, "output `b` is missing in what `f` returned"],
  ["a result of another type", "export const f = () => 'x'", {}, { result: "int" }, "output `result`"],
  ["no such function", "export const g = () => 1, h = 2", {}, { result: "int" }, "`m` exports no function `f`; there are `g`"],
  ["a changed input", "\nexport const f = (a) => a.push(1)", { a: [1] }, { result: "int" }, "not extensible"],
  ["an exception", "export function f() {\n  throw new Error('boom');\n}", {}, { result: "int" }, "boom"],
]) {
  test(`a call fails for ${what}`, withHost(async (host) => {
    const result = await called(host, source, inputs, outputs);
    assert.equal(result.ok, false);
    assert.match(message(result).message, new RegExp(words.replace(/[`;.]/g, ".")));
    if (what === "an exception" || what === "a changed input") assert.equal(message(result).line, 2);
  }));
}

test("a generator is a list, and each item is told", withHost(async (host) => {
  const result = await called(host, "export function* f({ n }) { for (let i = 0; i < n; i++) yield i; }", { n: 3 });
  assert.equal(result.ok, true, host.stderr);
  assert.deepEqual(value(host, "result"), [0, 1, 2]);
  const told = result.frames.filter(({ name }) => name === "Progress").map(({ body }) => body.text);
  assert.deepEqual(told, ["item 1", "item 2", "item 3"]);
}));

test("what is installed needs no file", withHost(async (host) => {
  const result = await called(host, null, {}, { result: "str" }, { module: "node:os", object: "platform" });
  assert.equal(result.ok, true, host.stderr);
  assert.equal(value(host, "result"), process.platform);
}));

test("parameters are found by their names, members of an object too", withHost(async (host) => {
  const source = "export const f = (a, { bigB = 2, ...c } = {}, ...rest) => [a, bigB, rest];";
  const result = await called(host, source, { rest: [5, 6], a: 1, big_b: 3 }, { result: "list<any>" });
  assert.equal(result.ok, true, message(result)?.message);
  assert.deepEqual(value(host, "result"), [1, 3, [5, 6]]);
}));

test("outputs of several words are the members of that name", withHost(async (host) => {
  const result = await called(host, "export const f = () => ({ meanValue: 1 });", {}, { mean_value: "float" });
  assert.equal(result.ok, true, message(result)?.message);
  assert.equal(value(host, "mean_value"), 1);
}));
