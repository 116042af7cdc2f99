//! Conversations with executors that are written in JavaScript, as the host has them.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import { encodeAny } from "../encode.mjs";
import { Kind } from "../frames.mjs";
import { decode } from "../msgpack.mjs";
import { withHost } from "./host.mjs";

/** An executor whose `exec` has this body, or with these members. */
const executor = (exec, members = "") => `export default { id: "up", version: "3", ${members} async exec(cx) { ${exec} } };`;
/** A test of it. */
const withExecutor = (module, body, features) => withHost(body, [], { module, features });
const value = (host, port) => decode(host.output(`${port}.msgpack`), { canonical: true });
const names = (frames) => frames.map(({ name }) => name);
const first = (frames, name) => frames.find((frame) => frame.name === name)?.body;

/** Whether a process is gone, now or soon. */
async function gone(pid) {
  for (let tries = 0; tries < 200; tries++) {
    const state = fs.existsSync(`/proc/${pid}/stat`) ? fs.readFileSync(`/proc/${pid}/stat`, "utf8") : ") X";
    if (/\) [XZ]/.test(state)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
}

const EVERYTHING = executor(`
  console.log("hello", cx.cell, cx.argv.join(), cx.seed);
  cx.log("warn", "noted");
  cx.progress(0.5, "half");
  cx.display("<b>shown</b>", "text/html");
  cx.output("text", cx.code.toUpperCase() + cx.input("n"));
  cx.write("raw.txt", "as it is");
  const { writeFileSync } = await import("node:fs");
  writeFileSync(cx.out + "/more.csv", "a,b");
  cx.artifact("more", cx.out + "/more.csv", "text/csv");
  cx.warn("rather not", 1, 2);
`);

async function everything(host) {
  fs.writeFileSync(host.path("in/n.msgpack"), encodeAny(7));
  const inputs = { n: ["int", "n.msgpack", "msgpack"] };
  const result = await host.run("abc", { inputs, outputs: { text: "str" }, argv: ["x", "y"], seed: 5, extension: "up" });
  assert.deepEqual([result.ok, result.status, result.stderr], [true, 0, ""]);
  assert.equal(result.stdout, "hello cell x,y 5\n");
  assert.equal(value(host, "text"), "ABC7");
  assert.equal(host.output("raw.txt").toString(), "as it is");
  return result.frames;
}

test("an executor introduces itself", withExecutor(EVERYTHING, async (host) => {
  const { body } = await host.frame("Hello");
  assert.deepEqual([body.executor, body.version, body.runtime], ["up", "3", `node ${process.version}`]);
  assert.deepEqual(body.features, ["cancel.soft", "display", "progress"]);
}));

test("features and runtime may be its own", withExecutor(executor("", 'features: ["catalog"], runtime: "up 9",'), async (host) => {
  const { body } = await host.frame("Hello");
  assert.deepEqual([body.features, body.runtime], [["catalog"], "up 9"]);
}));

test("it reads, prints, shows and writes", withExecutor(EVERYTHING, async (host) => {
  const frames = await everything(host);
  assert.deepEqual(names(frames), ["Hello", "Started", "Log", "Progress", "Display", "Artifact", "Diagnostic", "Done"]);
  assert.deepEqual([first(frames, "Log").level, first(frames, "Log").text], ["warn", "noted"]);
  assert.deepEqual([first(frames, "Progress").fraction, first(frames, "Progress").text], [0.5, "half"]);
  assert.deepEqual([first(frames, "Display").media, first(frames, "Display").data.toString()], ["text/html", "<b>shown</b>"]);
  assert.deepEqual([first(frames, "Artifact").name, first(frames, "Artifact").media], ["more", "text/csv"]);
  const { severity, message, file, line, col } = first(frames, "Diagnostic");
  assert.deepEqual([severity, message, file, line, col], ["warning", "rather not", host.path("code/cell.up"), 1, 2]);
}));

test("what was not agreed to is not sent", withExecutor(EVERYTHING, async (host) => {
  assert.deepEqual(names(await everything(host)), ["Hello", "Started", "Log", "Artifact", "Diagnostic", "Done"]);
}, []));

test("a fault is told with its place", withExecutor(executor('throw cx.fault("what is that?", 3, 5);'), async (host) => {
  const result = await host.run("x");
  assert.deepEqual([result.ok, result.status, result.stderr], [false, 1, "error: line 3: what is that?\n"]);
  const [{ severity, message, file, line, col }] = result.diagnostics;
  assert.deepEqual([severity, message, file, line, col], ["error", "what is that?", host.path("code/cell.js"), 3, 5]);
}));

test("an error that node throws for the executor is the executor's", withExecutor(
  executor('const fs = await import("node:fs"); fs.readFileSync("/no/such");'),
  async (host) => {
    const [{ message, file }] = (await host.run("x")).diagnostics;
    assert.match(message, /^the executor `up` failed: Error: ENOENT.* \(module\.mjs, line 1\)$/);
    assert.equal(file, null);
  },
));

test("an error of the executor itself is told whole", withExecutor(executor("null.up;"), async (host) => {
  const result = await host.run("x");
  assert.equal(result.ok, false);
  assert.match(result.stderr, /^TypeError: .*null[^]*at .*module\.mjs:1:/);
  const [{ message, file, line }] = result.diagnostics;
  assert.match(message, /^the executor `up` failed: TypeError: .*null.* \(module\.mjs, line 1\)$/);
  assert.deepEqual([result.diagnostics.length, file, line], [1, null, null]);
}));

for (const [named, line] of [["", null], [", cx.file", 2]]) {
  test(`an error of code that it evaluates is the cell's${named}`, withExecutor(
    executor(`const vm = await import("node:vm"); vm.runInThisContext(cx.code${named});`),
    async (host) => {
      const { message, file, line: told } = (await host.run("\nnull.up")).diagnostics[0];
      assert.match(message, /^TypeError: /);
      assert.deepEqual([file, told], [host.path("code/cell.js"), line]);
    },
  ));
}

for (const [what, exec, words] of [
  ["an input that is not there", 'cx.input("n");', "there is no input `n`"],
  ["a member of every object", 'cx.input("constructor");', "there is no input `constructor`"],
  ["an output that is not declared", 'cx.output("y", 1);', "no output `y` is declared"],
  ["a name that leads out", 'cx.write("../y", "");', "`../y` is no name of an output; valid: PORT or PORT.EXTENSION"],
  ["a name that begins with a dot", 'cx.write(".y", "");', "`.y` is no name of an output; valid: PORT or PORT.EXTENSION"],
  ["a wait without end", "await new Promise(() => {});", "the executor `up` waits for something that never happens"],
  ["an exit", "process.exit(4);", "the executor `up` ended itself with exit code 4 before it said that the cell is done"],
  ["a rejection that nobody handles", 'Promise.reject(cx.fault("late")); await new Promise((r) => setTimeout(r, 500));', "late"],
  ["a program that is not there", 'await cx.run(["/nowhere/up"]);', "can't start `/nowhere/up`: spawn /nowhere/up ENOENT"],
]) {
  test(`${what} fails the cell`, withExecutor(executor(exec), async (host) => {
    const result = await host.run("x");
    assert.equal(result.ok, false);
    assert.deepEqual(result.diagnostics.map(({ message }) => message), [words]);
    assert.equal(names(result.frames).filter((name) => name === "Done").length, 1);
  }));
}

const WAITS = executor(`
  if (cx.code !== "wait") return console.log("hello");
  cx.progress(0);
  await new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 60_000);
    cx.signal.addEventListener("abort", () => (clearTimeout(timer), reject(cx.signal.reason)));
  });
`);

test("asked to stop, it stops and runs the next cell", withExecutor(WAITS, async (host) => {
  host.exec("wait");
  await host.frame("Progress");
  host.send(Kind.Cancel, 1n, { grace_ms: 60_000 });
  assert.equal((await host.frame("Done")).body.ok, false);
  assert.deepEqual((await host.frame("Diagnostic")).body.message, "stopped");
  const from = host.frames.length;
  host.exec("go on", { id: 2n });
  const done = await host.frame("Done", from);
  assert.deepEqual([done.exec, done.body.ok], [2n, true]);
  // One that has crossed the Done on its way.
  host.send(Kind.Cancel, 2n, { grace_ms: 0 });
  host.send(Kind.Shutdown, 0n, { grace_ms: 1000 });
  assert.equal(await host.exited, 0);
  await host.closed;
  assert.equal(host.stdout, "hello\n");
}));

test("one that does not listen is ended within the grace", withExecutor(executor("cx.log('info', 'on'); await new Promise((r) => setTimeout(r, 60_000));"), async (host) => {
  host.exec("x");
  await host.frame("Log");
  const begun = process.hrtime.bigint();
  host.send(Kind.Cancel, 1n, { grace_ms: 500 });
  assert.equal((await host.frame("Done")).body.ok, false);
  assert.equal(await host.exited, 0);
  const took = Number(process.hrtime.bigint() - begun) / 1e6;
  assert.ok(took > 300 && took < 5000, `${took} ms`);
}));

test("without `cancel.soft` it ends at once", withExecutor(WAITS, async (host) => {
  host.exec("wait");
  await host.frame("Started");
  host.send(Kind.Cancel, 1n, { grace_ms: 60_000 });
  assert.equal((await host.frame("Done")).body.ok, false);
  assert.equal(await host.exited, 0);
}, ["progress"]));

test("a program's output is the cell's", withExecutor(executor(`
  const ran = await cx.run(["sh", "-c", "echo out; echo err >&2; exit 3"]);
  const killed = await cx.run(["sh", "-c", "kill -9 $$"]);
  const there = await cx.run(["sh", "-c", "test $X = 1 && test $(pwd) = / && test ! -e /proc/self/fd/3"], { cwd: "/", env: { ...process.env, X: "1" } });
  cx.output("y", [ran.code, ran.said, killed.code, there.code]);
`), async (host) => {
  const result = await host.run("x", { outputs: { y: "any" } });
  assert.deepEqual([result.ok, result.stdout, result.stderr], [true, "out\n", "err\n"]);
  assert.deepEqual(value(host, "y"), [3, "err\n", 137, 0]);
}));

test("what a program leaves behind goes with it", withExecutor(executor(`
  await cx.run(["sh", "-c", "sleep 300 & echo $!"]);
`), async (host) => {
  const result = await host.run("x");
  assert.equal(result.ok, true, result.stderr);
  assert.ok(await gone(Number(result.stdout)), result.stdout);
}));

test("a program is killed with all that it started when the cell is to stop", withExecutor(executor(`
  await cx.run(["sh", "-c", "sleep 300 & echo $! > started.tmp; mv started.tmp started; wait"]);
`), async (host) => {
  host.exec("x");
  const started = host.path("work/started");
  while (!fs.existsSync(started)) await new Promise((resolve) => setTimeout(resolve, 10));
  const pid = Number(fs.readFileSync(started, "utf8"));
  host.send(Kind.Cancel, 1n, { grace_ms: 60_000 });
  assert.equal((await host.frame("Done")).body.ok, false);
  assert.equal((await host.frame("Diagnostic")).body.message, "stopped");
  assert.ok(pid > 1 && await gone(pid), `${pid}`);
  host.send(Kind.Shutdown, 0n, { grace_ms: 1000 });
  assert.equal(await host.exited, 1);
}));

/** The first line of the code is a script that compiles, the second the program. */
const COMPILES = executor(`
  const [compiler, program] = cx.code.split("\\n");
  await cx.compileAndRun(["sh", "-c", compiler, "compiler", cx.file], ["sh", "-c", program]);
`);

for (const [what, code, ok, told, stdout] of [
  ["compiles and runs", "true\necho ran", true, [], "ran\n"],
  ["a warning fails nothing", 'echo "$1:2: warning: old style" >&2\necho ran', true, [["warning", "old style", 2, null]], "ran\n"],
  [
    "the first error is the reason",
    'echo "$1:1:4: note: here" >&2; echo "$1:2:7: error: what?" >&2; echo "$1:3: error: and that?" >&2; exit 1\necho ran',
    false, [["info", "here", 1, 4], ["error", "and that?", 3, null], ["error", "what?", 2, 7]], "",
  ],
  ["a compiler that says nothing", "exit 2\necho ran", false, [["error", "the compiler ended with exit code 2", null, null]], ""],
  ["a program that fails", "true\nexit 9", false, [["error", "the program ended with exit code 9", null, null]], ""],
]) {
  test(`compileAndRun: ${what}`, withExecutor(COMPILES, async (host) => {
    const result = await host.run(code, { extension: "up" });
    assert.deepEqual([result.ok, result.stdout], [ok, stdout], result.stderr);
    assert.deepEqual(result.diagnostics.map(({ severity, message, line, col }) => [severity, message, line, col]), told);
    assert.ok(result.diagnostics.every(({ file }) => file === host.path("code/cell.up")));
  }));
}

for (const [what, module, words] of [
  ["no default export", "export const id = 1;", "its default export is no object"],
  ["a function", "export default () => {};", "its default export is no object"],
  ["no id", "export default { version: '1', exec() {} };", "its `id` is no text"],
  ["a version that is a number", "export default { id: 'up', version: 1, exec() {} };", "its `version` is no text"],
  ["no exec", "export default { id: 'up', version: '1' };", "it has no function `exec`"],
  ["what can't be read", "export default {", "SyntaxError"],
]) {
  test(`a module with ${what} is told before anything is said`, withExecutor(module, async (host) => {
    assert.ok([1, 2].includes(await host.exited));
    await host.closed;
    assert.ok(host.stderr.includes(words) && host.stderr.includes("module.mjs"), host.stderr);
    assert.deepEqual(host.frames, []);
  }));
}

test("its module does not find the connection", withExecutor(
  `const seen = process.env.POLYLOOM_W ?? null; ${executor("cx.output('y', seen);")}`,
  async (host) => {
    assert.equal((await host.run("x", { outputs: { y: "any" } })).ok, true);
    assert.equal(value(host, "y"), null);
  },
));

test("it forgets when it is told to, and says what it knows", withExecutor(
  `let count = 0;\n${executor("console.log(++count);", 'reset() { count = 0; }, async catalog() { return [{ name: "up", count }]; },')}`,
  async (host) => {
    for (const id of [1n, 2n]) {
      const from = host.frames.length;
      host.exec("x", { id });
      await host.frame("Done", from);
    }
    host.send(Kind.Describe, 0n, {});
    assert.deepEqual((await host.frame("Catalog")).body.entries, [{ name: "up", count: 2 }]);
    host.send(Kind.Reset, 0n, {});
    const from = host.frames.length;
    host.exec("x", { id: 3n });
    await host.frame("Done", from);
    host.send(Kind.Shutdown, 0n, { grace_ms: 1000 });
    await host.closed;
    assert.equal(host.stdout, "1\n2\n1\n");
  },
));

test("one without a catalogue has an empty one", withExecutor(executor(""), async (host) => {
  host.send(Kind.Describe, 0n, {});
  assert.deepEqual((await host.frame("Catalog")).body.entries, []);
}));

for (const [kind, member] of [["Describe", "catalog"], ["Reset", "reset"]]) {
  for (const how of ["", "async "]) {
    test(`${how}${member} that throws ends the process, which says why`, withExecutor(
      executor("", `${how}${member}() { throw new Error("boom"); },`),
      async (host) => {
        host.send(Kind[kind], 0n, {});
        assert.equal(await host.exited, 1);
        await host.closed;
        assert.match(host.stderr, /^Error: boom[^]*module\.mjs/);
      },
    ));
  }
}

const STATE = `let state = { x: 1 }; const kept = new Map();
export default {
  id: "up", version: "3",
  features: ["display", "session", "snapshot", "kept", "complete", "durable", "interactive", "source", "call"],
  exec(cx) { state[cx.code] = cx.file; if (cx.interactive) cx.display(JSON.stringify(state)); },
  call(cx, { module, object }) { cx.output("y", module + "." + object + " " + cx.input("n")); },
  reset() { state = {}; },
  snapshot(name) { kept.set(name, { ...state }); },
  restore(name) { if (!kept.has(name)) throw new Error("no snapshot " + name); state = { ...kept.get(name) }; },
  forget(name) { kept.delete(name); },
  complete(code, cursor) { return { start: cursor - 1, matches: Object.keys(state).filter((name) => name.startsWith(code.at(-1))) }; },
  save(out) { fs.writeFileSync(out + "/state", JSON.stringify(state)); return { saved: Object.keys(state), unsaved: { f: "a function" } }; },
  load(path) { state = JSON.parse(fs.readFileSync(path + "/state")); return { saved: Object.keys(state) }; },
};
import fs from "node:fs";`;

test("state is kept, gone back to, saved and loaded by hooks", withExecutor(STATE, async (host) => {
  const ask = async (kind, body, name) => {
    const from = host.frames.length;
    host.send(Kind[kind], 0n, body);
    return (await host.frame(name, from)).body;
  };
  let count = 0n;
  const exec = async (more) => {
    const from = host.frames.length;
    host.send(Kind.Exec, ++count, { cell: "a", code: "/no/such/file", inputs: {}, outputs: {}, out: host.path("out"), argv: [], session: true, ...more });
    await host.frame("Done", from);
    return host.frames.slice(from);
  };
  const shown = async () => JSON.parse(Buffer.from(first(await exec({ source: "y", interactive: true }), "Display").data).toString());
  assert.deepEqual(await ask("Snapshot", { name: "a" }, "Kept"), { name: "a", ok: true, reason: "" });
  assert.deepEqual(await shown(), { x: 1, y: "/no/such/file" });
  assert.deepEqual(await ask("Complete", { code: "1+y", cursor: 3 }, "Completions"), { start: 2, end: 3, matches: ["y"], open: false });
  assert.deepEqual(await ask("Save", { out: host.path("out") }, "Saved"), { saved: ["x", "y"], unsaved: [{ name: "f", why: "a function" }] });
  assert.equal((await ask("Restore", { name: "a" }, "Kept")).ok, true);
  assert.equal((await ask("Forget", { name: "a" }, "Kept")).ok, true);
  assert.deepEqual(await ask("Restore", { name: "a" }, "Kept"), { name: "a", ok: false, reason: "no snapshot a" });
  host.send(Kind.Reset, 0n, {});
  assert.deepEqual(await ask("Load", { path: host.path("out") }, "Saved"), { saved: ["x", "y"], unsaved: [] });
  assert.equal((await shown()).x, 1);
  fs.writeFileSync(host.path("in/n.msgpack"), encodeAny(7));
  const input = { n: { type: "int", path: host.path("in/n.msgpack"), encoding: "msgpack" } };
  await exec({ code: "", call: { module: "m", object: "f" }, inputs: input, outputs: { y: { type: "str" } } });
  assert.equal(value(host, "y"), "m.f 7");
}, ["display", "session", "snapshot", "kept", "complete", "durable", "interactive", "source", "call"]));
