//! A small host for the tests: starts a worker on a socket and speaks protocol W with it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { FrameReader, Kind, PREAMBLE, encodeFrame } from "../frames.mjs";

const [WORKER, EXECUTOR] = ["../worker.mjs", "../executor.mjs"].map((file) => fileURLToPath(new URL(file, import.meta.url)));
const FEATURES = ["cancel.soft", "display", "progress"];
export const FLAGS = ["--experimental-vm-modules", "--no-deprecation"];
const NAMES = Object.fromEntries(Object.entries(Kind).map(([name, kind]) => [kind, name]));

/** A worker process with its cell's folders; `close` removes them. */
export class Host {
  frames = [];
  stdout = "";
  stderr = "";
  #waiting = [];

  /**
   * @param {string[]} flags for node, besides its usual ones
   * @param {{module?: string, features?: string[]}} options the text of an executor's module, instead of the worker; what is agreed to
   */
  constructor(flags = [], { module, features = FEATURES } = {}) {
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), "polyloom-js-"));
    for (const name of ["code", "in", "out", "work"]) fs.mkdirSync(path.join(this.root, name));
    this.started = process.hrtime.bigint();
    const program = module === undefined ? [WORKER] : [EXECUTOR, this.path("module.mjs")];
    if (module !== undefined) fs.writeFileSync(this.path("module.mjs"), module);
    // Node makes every "pipe" a UNIX stream socket, which is what the host gives a worker.
    this.child = spawn(process.execPath, [...FLAGS, ...flags, ...program], {
      cwd: path.join(this.root, "work"),
      env: { PATH: process.env.PATH, POLYLOOM_W: "3" },
      stdio: ["ignore", "pipe", "pipe", "pipe"],
    });
    this.exited = once(this.child, "exit").then(([code, signal]) => signal ?? code);
    this.closed = once(this.child, "close");
    this.child.stdout.on("data", (data) => { this.stdout += data; });
    this.child.stderr.on("data", (data) => { this.stderr += data; });
    this.socket = this.child.stdio[3];
    this.socket.on("error", () => {});
    const reader = new FrameReader("worker");
    this.socket.on("data", (data) => {
      for (const frame of reader.push(data)) {
        this.frames.push({ ...frame, name: NAMES[frame.kind] });
        this.#waiting = this.#waiting.filter((look) => !look());
      }
    });
    this.socket.write(PREAMBLE);
    this.send(Kind.HelloOk, 0n, { major: 1, minor: 0, features });
  }

  path(name) {
    return path.join(this.root, name);
  }

  send(kind, exec, body) {
    this.socket.write(encodeFrame(kind, exec, body));
  }

  /** The first frame of that name, from the `from`th frame on. */
  frame(name, from = 0) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.frames.slice(from).find((frame) => frame.name === name);
        if (found) resolve(found);
        return found !== undefined;
      };
      if (look()) return;
      this.#waiting.push(look);
      this.exited.then((code) => look() || reject(new Error(`the worker ended (${code}) before ${name}\n${this.stderr}`)));
    });
  }

  /** Sends an Exec; `inputs` maps ports to `[type, file name in /in, encoding]`. */
  exec(code, { inputs = {}, outputs = {}, argv = [], seed = null, id = 1n, extension = "js" } = {}) {
    const file = this.path(`code/cell.${extension}`);
    fs.writeFileSync(file, code);
    this.send(Kind.Exec, id, {
      cell: "cell", code: file, out: this.path("out"), argv, seed, deadline_ms: null,
      inputs: Object.fromEntries(Object.entries(inputs).map(([port, [type, name, encoding]]) =>
        [port, { type, path: this.path(`in/${name}`), encoding, media: null }])),
      outputs: Object.fromEntries(Object.entries(outputs).map(([port, type]) => [port, { type }])),
    });
  }

  /** Runs one cell to its Done and the process to its end. */
  async run(code, options) {
    this.exec(code, options);
    let done = null;
    try {
      done = await this.frame("Done");
      this.send(Kind.Shutdown, 0n, { grace_ms: 1000 });
    } catch {
      // Died before Done; the caller looks at `status`.
    }
    const status = await this.exited;
    await this.closed;
    const diagnostics = this.frames.filter(({ name }) => name === "Diagnostic").map(({ body }) => body);
    return { ok: done?.body.ok, status, diagnostics, stdout: this.stdout, stderr: this.stderr, frames: this.frames };
  }

  output(name) {
    return fs.readFileSync(this.path(`out/${name}`));
  }

  close() {
    this.child.kill("SIGKILL");
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}

/** Runs `body` with a host that is closed afterwards. */
export function withHost(body, flags = [], options = {}) {
  return async () => {
    const host = new Host(flags, options);
    try {
      await body(host);
    } finally {
      host.close();
    }
  };
}
