//! The golden conversations of the protocol with an executor in JavaScript, byte for byte.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";

import { FLAGS } from "./host.mjs";

const CONVERSATIONS = fileURLToPath(new URL("../../../protocol/vectors/conversations", import.meta.url));
const [EXECUTOR, MODULE] = ["../executor.mjs", "golden.mjs"].map((file) => fileURLToPath(new URL(file, import.meta.url)));
const [PREAMBLE, HEADER] = [8, 16];

/** What came on a socket, cut into the preamble and frames. */
class Heard {
  #bytes = Buffer.alloc(0);
  #ended = false;
  #wake = () => {};

  constructor(socket) {
    socket.on("data", (data) => {
      this.#bytes = Buffer.concat([this.#bytes, data]);
      this.#wake();
    });
    // A worker that ends with something unread leaves an error instead of an end.
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** So many bytes, or what there is before the end; they stay. */
  async #peek(count) {
    while (this.#bytes.length < count && !this.#ended) await new Promise((resolve) => { this.#wake = resolve; });
    return this.#bytes.subarray(0, count);
  }

  /** The preamble or the next frame; nothing at the end. */
  async next(first) {
    const head = await this.#peek(first ? PREAMBLE : HEADER);
    const size = first || head.length < HEADER ? head.length : HEADER + head.readUInt32LE(0);
    const unit = await this.#peek(size);
    this.#bytes = this.#bytes.subarray(size);
    return unit.toString("hex");
  }
}

/** What is written down as an expression: `?` is any digit, `*` any rest. */
const pattern = (written) => new RegExp(`^${written.replaceAll("?", "[0-9a-f]").replaceAll("*", ".*")}$`);

/** Says what the host says, and hears what the worker is to say. */
async function replay(text, cell, socket) {
  const heard = new Heard(socket);
  let first = true;
  for (const [at, line] of text.trimEnd().split("\n").entries()) {
    const mark = line.split(" ", 1)[0];
    const rest = line.slice(mark.length + 1);
    switch (mark) {
      case ">":
        // One that was refused may be gone already.
        if (!socket.destroyed) socket.write(Buffer.from(rest, "hex"));
        break;
      case "<":
        assert.match(await heard.next(first), pattern(rest), `line ${at + 1}`);
        first = false;
        break;
      case "close": socket.end(); break;
      case "end": assert.equal(await heard.next(false), "", `line ${at + 1}`); break;
      case "file": {
        const name = rest.split(" ", 1)[0];
        fs.writeFileSync(path.join(cell, name), JSON.parse(rest.slice(name.length + 1)));
        break;
      }
      default: assert.match(mark, /^#/, `line ${at + 1}`);
    }
  }
}

const names = fs.existsSync(CONVERSATIONS) ? fs.readdirSync(CONVERSATIONS) : [];
test("there are golden conversations", { skip: names.length === 0 && "not in the repository" }, () => assert.ok(names.length >= 20));
for (const name of names) {
  test(`golden: ${name}`, { timeout: 60_000 }, async () => {
    const cell = fs.mkdtempSync(path.join(os.tmpdir(), "polyloom-js-"));
    for (const folder of ["code", "in", "out"]) fs.mkdirSync(path.join(cell, folder));
    const env = { PATH: process.env.PATH, POLYLOOM_W: "3" };
    const worker = spawn(process.execPath, [...FLAGS, EXECUTOR, MODULE], { cwd: cell, env, stdio: ["ignore", "ignore", "ignore", "pipe"] });
    const ended = once(worker, "exit");
    try {
      await replay(fs.readFileSync(path.join(CONVERSATIONS, name), "utf8"), cell, worker.stdio[3]);
      await ended;
    } finally {
      worker.kill("SIGKILL");
      fs.rmSync(cell, { recursive: true, force: true });
    }
  });
}
