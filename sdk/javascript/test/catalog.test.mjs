//! The reader of typed functions: what types in comments become, what is told of those that become nothing.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { parseAnnotation, spelled } from "../annotations.mjs";
import { parametersOf, portName, tokensOf } from "../tokens.mjs";

const PROGRAM = fileURLToPath(new URL("../catalog.mjs", import.meta.url));

/** What the reader says of `./m.mjs` in a folder of these files. */
function read(files, question = {}) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "catalog-"));
  try {
    for (const [name, content] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
      fs.writeFileSync(path.join(root, name), content);
    }
    const asked = { version: 1, root, targets: [{ location: "./m.mjs", object: null }], ...question };
    const argv = ["--no-warnings", "--experimental-vm-modules", PROGRAM];
    const ended = spawnSync(process.execPath, argv, { input: `${JSON.stringify(asked)}\n`, encoding: "utf8", maxBuffer: 1 << 30 });
    assert.equal(ended.status, 0, ended.stderr);
    return JSON.parse(ended.stdout);
  } finally {
    fs.rmSync(root, { recursive: true });
  }
}

const ports = (list) => list.map(({ name, type, required }) => `${name}${required ? "" : "?"}: ${type}`);
const told = ({ problems }) => problems.map(({ code, line, col, message }) => `${code} ${line}:${col} ${message}`);

test("types of comments are types of ports", () => {
  const of = (text) => spelled(parseAnnotation(text, () => null).shape);
  for (const [text, type] of [
    ["number", "float"], ["integer", "int"], ["string[]", "list<str>"], ["Array.<number>", "list<float>"],
    ["Record<string, number[]>", "map<list<float>>"], ["Object.<string, boolean>", "map<bool>"], ["?number", "float|null"],
    ["string | number | undefined", "float|str|null"], ["'a' | \"b\"", "enum{a,b}"], ["'a-b'", "str"],
    ["{b: number, a: string}", "record{a:str,b:float}"], ["Float64Array", "tensor<f64,[n]>"], ["Uint8Array", "bytes"],
    ["Promise<Array<{x: number}>>", "list<record{x:float}>"], ["[number, string]", "list<float|str>"], ["*", "any"],
    ["AsyncGenerator<number, void, void>", "list<float>"], ["{[name: string]: number}", "map<float>"], ["(number|string)[]", "list<float|str>"],
    ["import('polyloom').Table", "table"], ["Image", "image"], ["readonly number[]", "list<float>"],
  ]) assert.equal(of(text), type, text);
  for (const bad of ["Map<string, number>", "() => void", "Table[]", "Table | null", "bigint", "number[", "", "{a?: number}[]", "Foo", "(".repeat(99), "function(number)"]) {
    assert.throws(() => of(bad), { name: "Error" }, bad);
  }
});

test("parameters are found among all that looks like them", () => {
  const of = (source) => parametersOf(source, tokensOf(source).tokens).map(({ kind, name, fallback }) => `${kind} ${name} ${fallback}`);
  assert.deepEqual(of("async function* f(a, b = (1, 2), ...c) {}"), ["name a null", "name b (1, 2)", "rest c null"]);
  assert.deepEqual(of("x => x / 2 / 1"), ["name x null"]);
  assert.deepEqual(of("({ a, b: c = ')' } = {}, d = /[)/]\\//) => `${`)`}`"), ["members { {}", "name d /[)/]\\//"]);
  assert.deepEqual(["maxSize", "toHTMLText", "a_b", "x2Y"].map(portName), ["max_size", "to_html_text", "a_b", "x2_y"]);
});

test("functions have ports by their comments", () => {
  const source = `
    import { half } from "./lib/half.mjs";
    /** @typedef {import("./lib/types.mjs").Point} Point */
    /**
     * A part of it.
     *
     * Tags: pure
     * @param {Point} point where
     * @param {object} options
     * @param {integer} [options.maxSize=3] how many
     * @returns {{low: number, highEnd: number}}
     */
    export async function part(point, { maxSize = 3 } = {}) { throw new Error("never run"); }
    /** @param {...number} all @returns {void} */
    export const rest = (...all) => {};
    const own = function (scale = 2, polyloom) {};
    export { own as other };
    throw new Error("never run");
  `;
  const catalog = read({
    "m.mjs": source, "lib/half.mjs": 'import "../deep.mjs"; export const half = 1;', "deep.mjs": "",
    "lib/types.mjs": "/** @typedef {object} Point\n * @property {number} x left\n * @property {number} y */",
  });
  const [part, rest] = catalog.entries;
  assert.deepEqual([ports(part.inputs), ports(part.params)], [["point: record{x:float,y:float}"], ["max_size?: int"]]);
  assert.deepEqual([ports(part.outputs), part.tags, part.doc, part.params[0].default], [["low: float", "high_end: float"], ["pure"], "A part of it.", 3]);
  assert.deepEqual(part.files, ["m.mjs", "lib/half.mjs", "deep.mjs"]);
  assert.deepEqual([ports(rest.inputs), rest.outputs], [["all?: list<float>"], []]);
  assert.equal(catalog.types["lib/types.Point"].fields[0].doc, "left");
  assert.deepEqual(told(catalog), ["JS001 16:11 the result of `own` has no type"]);
});

test("what is wrong is told where it is, and the others stand", () => {
  const good = "/** @returns {number} */\nexport const good = () => 1;\n";
  const cases = [
    ["/** @returns {number} */\nexport function f(a) {}", "JS001 4:19 parameter `a` of `f` has no type"],
    ["/** @param {Map} a @returns {number} */\nexport function f(a) {}", "JS002 3:13 `Map` is the type of no port"],
    ["/** @returns {number} */\nexport function f([a]) {}", "JS003 4:19 an array that is taken apart has no name"],
    ["/** @typedef {{a: T}} T */\n/** @returns {T} */\nexport function f() {}", "JS002 3:15 `T` holds itself: no port is as deep as that"],
    ["/** @param {number} x\n * @returns {{x: number, y: number}} */\nexport function f(x) {}", "JS006 5:17 `x` is a parameter and a result of `f`"],
  ];
  for (const [source, words] of cases) {
    const catalog = read({ "m.mjs": good + source });
    assert.deepEqual([catalog.entries.map(({ object }) => object), told(catalog)], [["good"], [words]], source);
  }
  for (const [files, words] of [
    [{ "m.mjs": "export const a = ;" }, "JS005 1:18 `m.mjs` is no module: Unexpected token ';'"],
    [{ "m.mjs": `import "./no.mjs";\n${good}` }, "JS004 1:8 `m.mjs` imports `no.mjs`, and there is no such file"],
    [{ "m.mjs": `import "../no.mjs";\n${good}` }, "JS004 1:8 `m.mjs` imports `../no.mjs`, outside of the flow's folder"],
    [{ "m.mjs": Buffer.from("\n// \xe9\n", "latin1") }, "JS005 2:1 `m.mjs` is not UTF-8"],
    [{}, "JS004 1:1 `m.mjs` can't be read: there is no such file"],
    [{ "m.mjs": `${"`${".repeat(30000)}` }, null],
  ]) {
    const catalog = read(files);
    assert.equal(catalog.entries.length, 0);
    if (words) assert.deepEqual(told(catalog), [words]);
  }
  const untyped = read({ "m.mjs": "export function f(a) {}" }, { allow_untyped: true });
  assert.deepEqual(ports([...untyped.entries[0].inputs, ...untyped.entries[0].outputs]), ["a: any", "result: any"]);
});

test("a folder is all of its modules", () => {
  const source = "/** @returns {number} */\nexport const f = () => 1;";
  const files = { "a/m.mjs": source, "a/b/n.js": source, "a/node_modules/x.mjs": source, "package.json": '{"type": "module"}', "a/bad.mjs": "(" };
  const catalog = read(files, { targets: [{ location: "./a", object: null }] });
  assert.deepEqual(catalog.entries.map(({ id }) => id), ["javascript:./a/b/n.js:f", "javascript:./a/m.mjs:f"]);
  assert.deepEqual(catalog.entries[0].files, ["a/b/n.js", "package.json"]);
  assert.equal(catalog.problems.length, 1);
});

// By the square of their number it would take minutes.
test("many functions of one file take time by their number", () => {
  const one = (at) => `/** @param {number} x\n * @returns {number} */\nexport const f${at} = (x) => x + ${at};\n`;
  const begun = performance.now();
  const { entries } = read({ "m.mjs": Array.from({ length: 15_000 }, (_, at) => one(at)).join("") });
  assert.equal(entries.length, 15_000);
  assert.deepEqual([entries[14_999].line, entries[14_999].col], [45_000, 14]);
  assert.ok(performance.now() - begun < 60_000);
});
