//! Conversations with a worker process, as the host has them.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import { readArrow } from "../arrow.mjs";
import { encodeAny } from "../encode.mjs";
import { Kind, encodePong } from "../frames.mjs";
import { decode } from "../msgpack.mjs";
import { Tensor, decodeNpy, encodeNpy } from "../npy.mjs";
import { withHost } from "./host.mjs";

const value = (host, port) => decode(host.output(`${port}.msgpack`), { canonical: true });
const put = (host, name, input) => fs.writeFileSync(host.path(`in/${name}.msgpack`), encodeAny(input));

test("worker introduces itself", withHost(async (host) => {
  const hello = await host.frame("Hello");
  assert.equal(hello.body.executor, "javascript");
  assert.deepEqual(hello.body.protocol, [{ major: 1, minor: 0 }]);
  assert.equal(hello.body.runtime, `node ${process.version}`);
}));

test("inputs are variables, outputs are variables", withHost(async (host) => {
  put(host, "n", 20);
  put(host, "row", { name: "é", tags: ["a"] });
  const result = await host.run(
    "const twice = n * 2;\nlet text = row.name + row.tags[0];\nvar both = { twice, text };\nconsole.log('hi');",
    {
      inputs: { n: ["int", "n.msgpack", "msgpack"], row: ["any", "row.msgpack", "msgpack"] },
      outputs: { twice: "int", text: "str", both: "record{twice:float,text:str}" },
    },
  );
  assert.deepEqual([result.ok, result.status, result.stdout, result.stderr], [true, 0, "hi\n", ""]);
  assert.deepEqual([value(host, "twice"), value(host, "text")], [40, "éa"]);
  assert.deepEqual(value(host, "both"), { twice: 40, text: "éa" });
  assert.deepEqual(result.frames.map(({ name }) => name), ["Hello", "Started", "Done"]);
}));

test("what is printed before process.exit is whole", withHost(async (host) => {
  const result = await host.run("for (let i = 0; i < 300; i++) console.log('m'.repeat(9999));\nprocess.exit(0);");
  assert.deepEqual([result.ok, result.stdout.length], [true, 3000000]);
}));

test("outputs may be exported, assigned bare, or set on polyloom.outputs", withHost(async (host) => {
  const result = await host.run(
    "export const a = 1;\nb = 2;\npolyloom.outputs.class = 3;\nfunction d() {}\nexport default 9",
    { outputs: { a: "int", b: "int", class: "int" } },
  );
  assert.equal(result.ok, true, result.stderr);
  assert.deepEqual(["a", "b", "class"].map((port) => value(host, port)), [1, 2, 3]);
}));

test("imports, require and top-level await work", withHost(async (host) => {
  fs.writeFileSync(host.path("code/lib.mjs"), "export const three = 3;");
  const result = await host.run(
    `import path, { join } from "node:path";
     import { three } from "./lib.mjs";
     import { Tensor } from "polyloom";
     const os = await import("node:os");
     const fs = require("fs");
     await new Promise((resolve) => setTimeout(resolve, 1));
     const out = [join("a", "b"), three, typeof os.cpus, typeof fs.readFileSync, Tensor === polyloom.Tensor,
       typeof path.join, (await import("polyloom")).cell];`,
    { outputs: { out: "any" } },
  );
  assert.equal(result.ok, true, result.stderr);
  assert.deepEqual(value(host, "out"), ["a/b", 3, "function", "function", true, "function", "cell"]);
}));

test("what a cell imports outlives a garbage collection before it runs", withHost(async (host) => {
  // Collects whenever the worker writes: so before the cell's first line, when it says that it has started.
  fs.writeFileSync(host.path("code/lib.mjs"), `
    import fs from "node:fs";
    const { writeSync } = fs;
    fs.writeSync = (...words) => {
      gc();
      return writeSync(...words);
    };
    export const three = 3;`);
  const code = 'import { join } from "node:path";\nimport { three } from "./lib.mjs";\nconst out = join("a", `${three}`);';
  const result = await host.run(code, { outputs: { out: "any" } });
  assert.equal(result.ok, true, result.stderr);
  assert.equal(value(host, "out"), "a/3");
}, ["--expose-gc"]));

test("callbacks that are still to come belong to the cell", withHost(async (host) => {
  const result = await host.run("let late;\nsetTimeout(() => { late = 5; }, 10);", { outputs: { late: "int" } });
  assert.equal(result.ok, true, result.stderr);
  assert.equal(value(host, "late"), 5);
}));

test("exception has the line and column in the cell's file", withHost(async (host) => {
  const result = await host.run("const a = 1;\nfunction f() {\n  /* 😀 */ null.x;\n}\nf();\n");
  assert.deepEqual([result.ok, result.status], [false, 1]);
  const [found] = result.diagnostics;
  assert.equal(found.severity, "error");
  assert.match(found.message, /^TypeError: Cannot read properties of null/);
  assert.deepEqual([found.line, found.col, found.file], [3, 16, host.path("code/cell.js")]);
  assert.match(result.stderr, /^.*cell\.js:3\nTypeError.*\n\s+at f .*cell\.js:3:17\)\n\s+at .*cell\.js:5:1\n$/);
}));

test("syntax error has its place", withHost(async (host) => {
  const result = await host.run("const a = 1;\nconst b = ;\n", { outputs: { a: "int" } });
  const [found] = result.diagnostics;
  assert.equal(result.ok, false);
  assert.deepEqual([found.message, found.line, found.col], ["SyntaxError: Unexpected token ';'", 2, 11]);
}));

test("open comment at the end is the author's error, at the author's line", withHost(async (host) => {
  const result = await host.run("const a = 1; /*", { outputs: { a: "int" } });
  assert.equal(result.ok, false);
  assert.match(result.diagnostics[0].message, /^SyntaxError/);
  assert.equal(result.diagnostics[0].line, 1);
}));

test("rejection that nobody handles fails the cell", withHost(async (host) => {
  const result = await host.run("const a = 1;\nPromise.reject(new RangeError('late'));", { outputs: { a: "int" } });
  assert.equal(result.ok, false);
  assert.deepEqual([result.diagnostics[0].message, result.diagnostics[0].line], ["RangeError: late", 2]);
}));

test("await that never ends is noticed", withHost(async (host) => {
  const result = await host.run("await new Promise(() => {});");
  assert.equal(result.ok, false);
  assert.match(result.diagnostics[0].message, /^the cell waits/);
}));

test("anything may be thrown", withHost(async (host) => {
  const result = await host.run("throw { get stack() { throw 1 }, why: 'no' };");
  assert.equal(result.ok, false);
  assert.match(result.diagnostics[0].message, /^uncaught/);
}));

test("missing output is named", withHost(async (host) => {
  const result = await host.run("const other = 1;", { outputs: { mean: "float" } });
  assert.equal(result.ok, false);
  assert.match(result.diagnostics[0].message, /^output `mean`: expected float, but the cell sets no variable/);
}));

test("file that the cell wrote itself counts as the output", withHost(async (host) => {
  const result = await host.run(
    `require("fs").writeFileSync(${JSON.stringify(host.path("out/note.txt"))}, "x");`,
    { outputs: { note: "file" } },
  );
  assert.equal(result.ok, true, result.stderr);
}));

test("wrong type names port, path, expected and found", withHost(async (host) => {
  const result = await host.run("const fine = 1;\nconst rows = [{ n: 1 }, { n: 'x' }];", {
    outputs: { rows: "list<record{n:int}>" },
  });
  assert.equal(result.ok, false);
  assert.equal(result.diagnostics[0].message, "output `rows`: at `[1].n`: expected an int, found the text `x`");
  assert.deepEqual([result.diagnostics[0].line, result.diagnostics[0].col], [2, 7]);
}));

test("big integers keep every digit", withHost(async (host) => {
  put(host, "n", 2n ** 62n + 1n);
  put(host, "m", 2 ** 53 - 1);
  const result = await host.run("const up = n + 1n;\nconst same = n;\nconst kind = typeof m;", {
    inputs: { n: ["int", "n.msgpack", "msgpack"], m: ["int", "m.msgpack", "msgpack"] },
    outputs: { up: "int", same: "int", kind: "str" },
  });
  assert.equal(result.ok, true, result.stderr);
  assert.deepEqual([value(host, "up"), value(host, "same"), value(host, "kind")], [2n ** 62n + 2n, 2n ** 62n + 1n, "number"]);
}));

test("tensors and tables travel as typed arrays", withHost(async (host) => {
  fs.writeFileSync(host.path("in/t.npy"), Buffer.concat(encodeNpy(new Tensor(Float64Array.of(1, 2, 3, 4), [2, 2]))));
  const result = await host.run(
    `const sum = t.data.reduce((a, b) => a + b, 0);
     const wide = { data: Float32Array.of(1, 2), shape: [2] };
     const grid = [[1, 2, 3], [4, 5, 6]];
     const rows = polyloom.Table.fromColumns({ a: [1, 2], b: ["x", null] });
     const plain = [{ k: 1.5 }, { k: null }];`,
    {
      inputs: { t: ["tensor<f64,[n,n]>", "t.npy", "npy"] },
      outputs: { sum: "float", wide: "tensor<f64,[n]>", grid: "tensor<i32,[2,3]>", rows: "table", plain: "table" },
    },
  );
  assert.equal(result.ok, true, result.stderr);
  assert.equal(value(host, "sum"), 10);
  assert.deepEqual(decodeNpy(host.output("wide.npy")).data, Float64Array.of(1, 2));
  assert.deepEqual(decodeNpy(host.output("grid.npy")).toArray(), [[1, 2, 3], [4, 5, 6]]);
  assert.deepEqual(readArrow(host.output("rows.arrow")).toArray(), [{ a: 1, b: "x" }, { a: 2, b: null }]);
  assert.deepEqual(readArrow(host.output("plain.arrow")).toArray(), [{ k: 1.5 }, { k: null }]);
}));

test("tensor of another shape or type is refused", withHost(async (host) => {
  const result = await host.run("const t = new Float64Array(3);", { outputs: { t: "tensor<i32,[3]>" } });
  assert.equal(result.diagnostics[0].message, "output `t`: expected tensor<i32,[3]>, found elements of type f64");
}));

test("a mebibyte goes in and out", withHost(async (host) => {
  const blob = Buffer.alloc(1 << 20, 7);
  put(host, "blob", blob);
  const result = await host.run("const back = blob; const text = 'x'.repeat(1 << 20);", {
    inputs: { blob: ["bytes", "blob.msgpack", "msgpack"] },
    outputs: { back: "bytes", text: "str" },
  });
  assert.equal(result.ok, true, result.stderr);
  assert.ok(value(host, "back").equals(blob));
  assert.equal(value(host, "text").length, 1 << 20);
}));

test("logs stay within the credit, and the failure is still told", withHost(async (host) => {
  const result = await host.run("for (let i = 0; i < 500; i++) polyloom.log('info', 'x'.repeat(4000));\nthrow new Error('end');");
  const shown = result.frames.filter(({ name }) => name === "Log" || name === "Diagnostic");
  const bytes = shown.reduce((sum, { body }) => sum + encodeAny(body).length, 0);
  assert.ok(bytes <= (256 << 10) + (64 << 10), `${bytes} bytes`);
  assert.equal(result.diagnostics[0].message, "Error: end");
  assert.ok(result.frames.at(-1).body.extras.messages_dropped > 0);
}));

test("log, progress, display and artifact reach the host", withHost(async (host) => {
  fs.writeFileSync(host.path("out/extra.txt"), "x");
  const result = await host.run(
    "polyloom.log('warn', 'careful');\npolyloom.progress(1, 'all');\npolyloom.display('<svg></svg>');\npolyloom.artifact('extra', 'extra.txt');",
  );
  assert.equal(result.ok, true, result.stderr);
  const bodies = result.frames.slice(2, -1).map(({ name, body }) => [name, body]);
  assert.deepEqual(bodies, [
    ["Log", { level: "warn", text: "careful" }],
    ["Progress", { fraction: 1, text: "all" }],
    ["Display", { data: Buffer.from("<svg></svg>"), media: "image/svg+xml" }],
    ["Artifact", { media: null, name: "extra", path: "extra.txt" }],
  ]);
}));

test("process.exit decides the outcome", withHost(async (host) => {
  const result = await host.run("const a = 1;\nprocess.exit(3);", { outputs: { a: "int" } });
  assert.deepEqual([result.ok, result.status], [false, 3]);
  assert.match(result.diagnostics[0].message, /exit code 3/);
}));

test("process.exit(0) keeps what is there", withHost(async (host) => {
  const result = await host.run("const a = 1;\nprocess.exit(0);\n", { outputs: { a: "int" } });
  assert.deepEqual([result.ok, result.status, value(host, "a")], [true, 0, 1]);
}));

test("seed decides Math.random, argv reaches the cell", withHost(async (host) => {
  const code = "const r = Math.random(); const args = process.argv.slice(2); const hidden = 'POLYLOOM_W' in process.env;";
  const result = await host.run(code, {
    seed: 7, argv: ["a", "-b"], outputs: { r: "float", args: "list<str>", hidden: "bool" },
  });
  assert.equal(result.ok, true, result.stderr);
  assert.deepEqual([value(host, "args"), value(host, "hidden")], [["a", "-b"], false]);
  const { seededRandom } = await import("../api.mjs");
  assert.equal(value(host, "r"), seededRandom(7)());
}));

test("cancel ends a waiting cell with one Done", withHost(async (host) => {
  host.exec("polyloom.log('info', 'up');\nsetInterval(() => {}, 1000);\nawait new Promise(() => {});");
  await host.frame("Log");
  const asked = Date.now();
  host.send(Kind.Cancel, 1n, { grace_ms: 60_000 });
  assert.equal(await host.exited, 0);
  assert.ok(Date.now() - asked < 10_000, "the cell never asked for the signal");
  assert.deepEqual(host.frames.filter(({ name }) => name === "Done").map(({ body }) => body.ok), [false]);
}));

test("cell that watches the signal may tidy up", withHost(async (host) => {
  host.exec(
    "let done;\nsetInterval(() => {}, 1000);\nawait new Promise((resolve) => {\n  polyloom.signal.addEventListener('abort', resolve);\n  polyloom.log('info', 'up');\n});\nconsole.log('tidy');\nprocess.exit(0);",
  );
  await host.frame("Log");
  host.send(Kind.Cancel, 1n, { grace_ms: 5000 });
  assert.equal(await host.exited, 0);
  await host.closed;
  assert.equal(host.stdout, "tidy\n");
}));

test("shutdown and the end of the connection end an idle worker", withHost(async (host) => {
  await host.frame("Hello");
  host.socket.destroy();
  assert.equal(await host.exited, 0);
}));

test("one worker runs several cells", withHost(async (host) => {
  host.exec("const a = 1;", { outputs: { a: "int" } });
  await host.frame("Done");
  const from = host.frames.length;
  host.exec("const b = 2;", { outputs: { b: "int" }, id: 2n });
  const done = await host.frame("Done", from);
  assert.deepEqual([done.exec, done.body.ok, value(host, "b")], [2n, true, 2]);
}));

test("programs that a cell starts do not inherit the connection", withHost(async (host) => {
  const result = await host.run(
    `const { spawnSync } = require("child_process");
     const open = spawnSync("ls", ["-l", "/proc/self/fd"], { encoding: "utf8" }).stdout.split("\\n").filter((l) => / 3 -> socket/.test(l));`,
    { outputs: { open: "list<str>" } },
  );
  assert.equal(result.ok, true, result.stderr);
  assert.deepEqual(value(host, "open"), []);
}));

test("cancel that comes too late is ignored", withHost(async (host) => {
  host.exec("const a = 1;");
  await host.frame("Done");
  host.send(Kind.Cancel, 1n, { grace_ms: 0 });
  host.send(Kind.Ping, 0n, { n: 1 });
  await host.frame("Pong");
}));

test("ping is answered, whatever its number", withHost(async (host) => {
  host.send(Kind.Ping, 0n, { n: 42 });
  assert.deepEqual((await host.frame("Pong")).body, { n: 42 });
  const from = host.frames.length;
  const wide = encodePong(2n ** 64n - 1n);
  wide[4] = Kind.Ping;
  host.socket.write(wide);
  assert.deepEqual((await host.frame("Pong", from)).body, { n: 2n ** 64n - 1n });
}));

test("worker exits with the status of the last cell", withHost(async (host) => {
  host.exec("process.exitCode = 7;");
  assert.equal((await host.frame("Done")).body.ok, false);
  const from = host.frames.length;
  host.exec("const a = 1;", { id: 2n });
  assert.equal((await host.frame("Done", from)).body.ok, true);
  const again = host.frames.length;
  host.exec("process.exitCode = 8;", { id: 3n });
  await host.frame("Done", again);
  host.send(Kind.Shutdown, 0n, { grace_ms: 2000 });
  assert.equal(await host.exited, 8);
}));

test("host that breaks the protocol is left", withHost(async (host) => {
  await host.frame("Hello");
  host.socket.write(Buffer.from("ffffffff450000000000000000000000", "hex"));
  assert.equal(await host.exited, 1);
  await host.closed;
  assert.match(host.stderr, /too large/);
  assert.equal(host.frames.at(-1).body.code, "frame_too_large");
}));
