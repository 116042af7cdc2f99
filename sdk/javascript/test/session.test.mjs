// Cells of one session share the variables of their top levels.

import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";

import { Kind } from "../frames.mjs";
import { Host } from "./host.mjs";

const FEATURES = ["cancel.soft", "complete", "display", "interactive", "progress", "session"];

/** A worker and what its cells, one after the other, come to. */
class Cells {
  host = new Host([], { features: FEATURES });
  #count = 0;

  async run(source, body = {}) {
    const id = BigInt(++this.#count);
    const code = this.host.path(`code/${id}.mjs`);
    const from = this.host.frames.length;
    fs.writeFileSync(code, source);
    this.host.send(Kind.Exec, id, { cell: "a", code, inputs: {}, outputs: {}, out: this.host.path("out"), argv: [], session: true, ...body });
    const done = await this.host.frame("Done", from);
    const of = (name) => this.host.frames.filter((frame) => frame.name === name && frame.exec === id).map(({ body }) => body);
    return { ok: done.body.ok, shown: of("Display").map(({ data }) => Buffer.from(data).toString()), told: of("Diagnostic") };
  }

  async value(source) {
    const { ok, shown, told } = await this.run(source, { interactive: true });
    assert.ok(ok, JSON.stringify(told));
    return shown[0];
  }
}

async function cells(run) {
  const all = new Cells();
  try {
    await run(all);
  } finally {
    await all.host.close();
  }
}

test("later cells find, and change, what earlier ones declared", () => cells(async (all) => {
  await all.run('import os from "node:os";\nlet x = 1; const {a, b: [c]} = {a: 2, b: [3]};\nfunction twice() { return 2 * x; }\nclass K {}\nexport const e = await 5;');
  assert.equal(await all.value("[x, a, c, e, twice(), typeof K, typeof os.cpus]"), "[ 1, 2, 3, 5, 2, 'function', 'function' ]");
  await all.run("x = 10;");
  assert.equal(await all.value("twice()"), "20");
  const { ok, told } = await all.run("a = 1");
  assert.equal(ok, false);
  assert.match(told[0].message, /constant/);
  assert.equal(await all.value("let x = 7\nx"), "7");
  assert.equal(await all.value("x"), "7");
}));

test("what a cell prints is in the pipe before its Done, however much it is", () => cells(async (all) => {
  const { ok } = await all.run("for (let i = 0; i < 300; i++) console.log('m'.repeat(9999));");
  assert.ok(ok);
  await all.run("console.log('next')");
  // Had node kept anything back, the event loop would have written it between the cells or after them.
  assert.equal(await all.value("[process.stdout.writableLength, process.stdout._handle.writeQueueSize]"), "[ 0, 0 ]");
  while (!all.host.stdout.includes("next")) await new Promise((resolve) => all.host.child.stdout.once("data", resolve));
  assert.equal(all.host.stdout.length, 3000000 + 5);
}));

test("a cell that fails leaves what it had", () => cells(async (all) => {
  await all.run("let y = 1, z = 1");
  const { ok } = await all.run("let y = 2;\nthrow new Error('no');\nlet z = 2;");
  assert.equal(ok, false);
  assert.equal(await all.value("[y, z]"), "[ 2, 1 ]");
  assert.equal((await all.run("Promise.reject(new Error('late'))")).ok, false);
  assert.equal(await all.value("1"), "1");
}));

test("a cell that ends the process of its session has failed", () => cells(async (all) => {
  await all.run("let x = 1");
  const { ok, told } = await all.run("process.exit(0)");
  assert.equal(ok, false);
  assert.match(told[0].message, /exit code 0, and its session with it/);
}));

test("an interrupt ends what keeps the process busy, and nothing else", () => cells(async (all) => {
  await all.run("let x = 1");
  const busy = all.run("x = 2; console.log('on'); while (true) {}");
  while (!all.host.stdout.includes("on")) await new Promise((resolve) => all.host.child.stdout.once("data", resolve));
  all.host.child.kill("SIGINT");
  const { ok, told } = await busy;
  assert.deepEqual([ok, told], [false, []]);
  // One that comes late.
  all.host.child.kill("SIGINT");
  assert.equal(await all.value("x"), "2");
}));

test("an error in what an earlier cell declared leads there, and to where it was called", () => cells(async (all) => {
  await all.run("let limit = 1;\nexport function check(n) {\n  if (n > limit) throw new RangeError(`${n} is too much`);\n}");
  const { ok, told } = await all.run("const twice = (n) => check(2 * n);\n\ntwice(3);");
  assert.equal(ok, false);
  const places = told.map(({ severity, message, file, line, col }) => [severity, message, file.slice(file.lastIndexOf("/") + 1), line, col]);
  assert.deepEqual(places, [
    ["error", "RangeError: 6 is too much", "1.mjs", 3, 24],
    ["info", "it was called here", "2.mjs", 1, 22],
  ]);
  // What this one does wrong is told with its own place alone.
  assert.deepEqual((await all.run("\nnull.x")).told.map(({ file, line }) => [file.slice(-5), line]), [["3.mjs", 2]]);
  // After a reset nothing of it is known.
  all.host.send(Kind.Reset, 0n, {});
  assert.match((await all.run("check(9)")).told[0].message, /check is not defined/);
}));

test("values are shown of last expressions only", () => cells(async (all) => {
  assert.equal(await all.value("({a: 1})"), "{ a: 1 }");
  assert.equal(await all.value("{ let q = 1; }"), undefined);
  assert.equal(await all.value("function f() { return 3 }\nf(); // three"), "3");
  assert.equal(await all.value("await Promise.resolve(4)"), "4");
  assert.equal(await all.value("const v =\n 5"), undefined);
  assert.equal(await all.value("[1, 2]\n  .map((n) => n + v)"), "[ 6, 7 ]");
}));

test("a reset forgets, and what was typed is completed", () => cells(async (all) => {
  const ask = async (code, cursor) => {
    const from = all.host.frames.length;
    all.host.send(Kind.Complete, 0n, { code, cursor });
    return (await all.host.frame("Completions", from)).body;
  };
  await all.run("const apples = {green: 1}, here = 1; globalThis.other = 2;");
  assert.deepEqual((await ask("x + appl")).matches, ["apples"]);
  assert.deepEqual(await ask("apples.gr", 9), { start: 7, end: 9, matches: ["green"], open: false });
  for (const [code, open] of [["f(", true], ["if (1) {", true], ["`a", true], ["1 +", true], ["x = )", false], ["f()", false]]) {
    assert.equal((await ask(code)).open, open, code);
  }
  all.host.send(Kind.Reset, 0n, {});
  assert.equal(await all.value("[typeof apples, typeof other, typeof console]"), "[ 'undefined', 'undefined', 'object' ]");
}));

test("columns of what is typed are its author's", () => cells(async (all) => {
  for (const [source, col] of [["nope.x", 1], ["  1; nope.x", 6], ["1\n nope.x", 2]]) {
    const { told } = await all.run(source, { interactive: true });
    assert.deepEqual([told[0].message, told[0].col], ["ReferenceError: nope is not defined", col], source);
  }
}));

test("what comes late names the cell that it is of", () => cells(async (all) => {
  await all.run("let go; new Promise((resolve) => { go = resolve; }).then(() => { throw new Error('late'); });", { cell: "before" });
  const { ok, told } = await all.run("go(); await new Promise((resolve) => setTimeout(resolve, 1000));", { cell: "after" });
  assert.equal(ok, false);
  assert.match(told.map(({ message }) => message).join("\n"), /late\nthat is of cell `before`, and came while `after` ran/);
  await all.run("setTimeout(() => { throw new Error('later'); }, 1);", { cell: "last" });
  await all.host.exited;
  assert.match(all.host.stderr, /that is of cell `last`, which was over: its session ends/);
}));

test("what fails after its input was over takes no state at a prompt", () => cells(async (all) => {
  await all.value("let kept = 7; setTimeout(() => { throw new Error('late'); }, 10); 0");
  while (!all.host.stderr.includes("late")) await new Promise((resolve) => all.host.child.stderr.once("data", resolve));
  assert.equal(await all.value("kept"), "7");
}));
