//! The JavaScript worker: talks protocol W on the socket that the host hands it, and runs cells.
//! Does not know graphs, caches or sandboxes.

import fs from "node:fs";
import process from "node:process";

import { makeApi, seededRandom } from "./api.mjs";
import { Cell } from "./cell.mjs";
import { Channel } from "./channel.mjs";
import { diagnostic, headline, placeOf, placeOfName, placeOfSyntaxError, report } from "./errors.mjs";
import { Kind, ProtocolError } from "./frames.mjs";
import { PortError, readInput, writeOutput } from "./values.mjs";

const VERSION = "1";
const FEATURES = ["cancel.soft", "display", "progress"];
/** What a cell may use of the time that a Cancel leaves, before it is ended. */
const GRACE_SHARE = 0.8;

/** One Exec, from its frame to its one Done. */
class Exec {
  #done = false;
  #evaluated = false;
  /** @type {AbortController | null} */
  #abort = null;
  #cell = /** @type {Cell | null} */ (null);
  #source = "";

  /**
   * @param {Channel} channel
   * @param {bigint} id
   * @param {any} body
   * @param {Set<string>} features agreed on
   */
  constructor(channel, id, body, features) {
    this.channel = channel;
    this.id = id;
    this.body = body;
    this.features = features;
  }

  get done() {
    return this.#done;
  }

  async run() {
    const { channel, body, id } = this;
    try {
      this.#source = fs.readFileSync(body.code, "utf8");
      /** @type {Record<string, unknown>} */
      const inputs = {};
      for (const [name, input] of Object.entries(body.inputs ?? {})) inputs[name] = readInput(name, input);
      process.argv = [process.argv[0], body.code, ...(body.argv ?? [])];
      if (body.seed != null) Math.random = seededRandom(body.seed);
      this.#cell = new Cell({
        file: body.code, source: this.#source, inputs, outputs: Object.keys(body.outputs ?? {}),
        api: this.#api(inputs),
      });
      await this.#cell.prepare();
      channel.send(Kind.Started, id, {});
      await this.#cell.evaluate();
      this.#evaluated = true;
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {Record<string, unknown>} inputs */
  #api(inputs) {
    const { channel, body, id } = this;
    return makeApi({
      cell: body.cell, seed: body.seed ?? null, inputs, outputs: {}, out: body.out,
      signal: () => (this.#abort ??= new AbortController()).signal,
      show: (kind, content) => {
        // What was not agreed is not said: the cell need not know who watches.
        const agreed = kind === "Log" || this.features.has(kind.toLowerCase());
        if (agreed && !this.#done) channel.show(Kind[kind], id, content);
      },
      artifact: (content) => {
        if (!this.#done) channel.send(Kind.Artifact, id, content);
      },
    });
  }

  /** Nothing is left to happen in this process: the cell is over, or waits for ever. */
  settle() {
    if (this.#done) return;
    if (!this.#evaluated) {
      return this.fail(new Error("the cell waits at top level for something that never happens"));
    }
    if (process.exitCode) return this.fail(new Error(`the cell set exit code ${process.exitCode}`));
    this.#collect();
  }

  /**
   * The process ends now, because the cell called `process.exit`.
   * @param {number} code
   */
  exiting(code) {
    if (this.#done) return;
    if (code === 0) this.#collect();
    else this.fail(new Error(`the cell ended itself with exit code ${code}`));
  }

  #collect() {
    for (const [name, { type }] of Object.entries(this.body.outputs ?? {})) {
      try {
        writeOutput(name, type, this.#cell?.output(name), this.body.out);
      } catch (error) {
        return this.fail(error, placeOfName(name, this.body.code, this.#source));
      }
    }
    this.#finish(true);
  }

  /**
   * @param {unknown} thrown
   * @param {{file: string, line: number, col: number | null} | null} [place]
   */
  fail(thrown, place = placeOf(thrown, this.body.code, this.#source)) {
    if (this.#done) return;
    if (place === null && thrown instanceof SyntaxError) {
      place = placeOfSyntaxError(this.body.code, this.#source);
    }
    const isOurs = thrown instanceof PortError;
    const message = isOurs ? thrown.message : headline(thrown).replace(/^Error: (the cell )/, "$1");
    this.channel.show(Kind.Diagnostic, this.id, diagnostic(message, place));
    const at = place === null || isOurs ? "" : `${place.file}:${place.line}\n`;
    process.stderr.write(`${isOurs ? message : at + report(thrown)}\n`);
    this.#finish(false);
  }

  /** @param {number} grace_ms */
  cancel(grace_ms) {
    const end = () => {
      if (!this.#done) this.#finish(false);
      process.exit(0);
    };
    if (this.#abort === null) return end();
    this.#abort.abort(new Error("the run was cancelled"));
    setTimeout(end, grace_ms * GRACE_SHARE).unref();
  }

  /** @param {boolean} ok */
  #finish(ok) {
    this.#done = true;
    const lost = this.channel.dropped;
    const extras = lost > 0 ? { messages_dropped: lost } : {};
    this.channel.send(Kind.Done, this.id, { ok, session_changed: false, extras });
    this.channel.wait();
  }
}

/** The conversation over one socket. */
class Worker {
  /** @type {Exec | null} */
  #exec = null;
  /** @type {Set<string>} */
  #features = new Set();

  /** @param {number} fd */
  constructor(fd) {
    this.channel = new Channel(fd, (frame) => this.#frame(frame), (error) => this.#end(error));
  }

  start() {
    process.on("beforeExit", () => this.#exec?.settle());
    process.on("exit", (code) => this.#exec?.exiting(code));
    const failed = (/** @type {unknown} */ error) => this.#uncaught(error);
    process.on("uncaughtException", failed);
    process.on("unhandledRejection", failed);
    this.channel.preamble();
    this.channel.send(Kind.Hello, 0n, {
      executor: "javascript", version: VERSION, protocol: [{ major: 1, minor: 0 }], features: FEATURES,
      runtime: `node ${process.version}`,
    });
  }

  /** @param {unknown} error */
  #uncaught(error) {
    if (this.#exec !== null && !this.#exec.done) return this.#exec.fail(error);
    // After Done nobody listens; what a cell left behind must not look like the next one's.
    process.stderr.write(`${report(error)}\n`);
    process.exit(1);
  }

  /** @param {import("./frames.mjs").Frame} frame */
  #frame({ kind, exec, body }) {
    switch (kind) {
      case Kind.HelloOk:
        this.#features = new Set(body.features ?? []);
        return undefined;
      case Kind.Exec: return this.#begin(exec, body);
      case Kind.Cancel:
        // One for an exec that is done has crossed its Done on the way.
        if (this.#exec?.id === exec && !this.#exec.done) this.#exec.cancel(Number(body.grace_ms ?? 0));
        return undefined;
      case Kind.Credit:
        if (this.#exec?.id === exec && !this.#exec.done) this.channel.grant(Number(body.bytes ?? 0));
        return undefined;
      case Kind.Ping: return this.channel.send(Kind.Pong, exec, { n: body.n });
      case Kind.HelloNo:
        process.stderr.write(`the host refuses this worker: ${body.reason}\n`);
        return process.exit(1);
      case Kind.Shutdown: return this.#leave(0);
      default: return undefined;
    }
  }

  /**
   * @param {bigint} id
   * @param {any} body
   */
  #begin(id, body) {
    if (this.#exec !== null && !this.#exec.done) throw new ProtocolError("unexpected_message", "a second Exec before Done");
    this.channel.renew();
    this.#exec = new Exec(this.channel, id, body, this.#features);
    // From here the event loop belongs to the cell: when it runs empty, the cell is over.
    this.channel.rest();
    void this.#exec.run();
  }

  /** @param {Error | null} error */
  #end(error) {
    if (error !== null) process.stderr.write(`connection to the host: ${error.message}\n`);
    if (error instanceof ProtocolError) {
      try {
        this.channel.send(Kind.Error, 0n, { code: error.code, text: error.message });
      } catch {
        // It is gone already, and then needs no reason.
      }
    }
    this.#leave(error === null ? 0 : 1);
  }

  /**
   * Ends the process without a word about a cell that still runs: nobody waits for its Done.
   * @param {number} code
   */
  #leave(code) {
    this.#exec = null;
    process.exit(code);
  }
}

const fd = Number(process.env.POLYLOOM_W);
delete process.env.POLYLOOM_W;
if (!Number.isInteger(fd) || fd < 3) {
  process.stderr.write("error: this program is started by `polyloom`, which sets POLYLOOM_W\n");
  process.exit(2);
}
new Worker(fd).start();
