//! One Exec, from its frame to its Done: inputs, the cell's code, outputs, failures, cancelling.
//! Does not know the conversation around it.

import fs from "node:fs";
import process from "node:process";
import { inspect } from "node:util";

import { makeApi, seededRandom } from "./api.mjs";
import { Cell, outliveInterrupts } from "./cell.mjs";
import { diagnostic, headline, placeBeside, placeOf, placeOfName, placeOfSyntaxError, report } from "./errors.mjs";
import { Kind } from "./frames.mjs";
import { PortError, readInput, writeOutput } from "./values.mjs";

/** What a cell may use of the time that a Cancel leaves, before it is ended. */
const GRACE_SHARE = 0.8;

/** One run of a cell. It sends exactly one Done. */
export class Exec {
  #done = false;
  #failed = false;
  #evaluated = false;
  /** @type {AbortController | null} */
  #abort = null;
  #cell = /** @type {Cell | null} */ (null);
  #source = "";
  /** @type {Record<string, unknown> | null} what a function returned, by port */
  #returned = null;

  /**
   * @param {import("./channel.mjs").Channel} channel
   * @param {bigint} id
   * @param {any} body
   * @param {Set<string>} features agreed on
   * @param {import("./session.mjs").Session | null} [session]
   */
  constructor(channel, id, body, features, session = null) {
    this.session = body.session === true ? session : null;
    this.channel = channel;
    this.id = id;
    this.body = body;
    this.features = features;
  }

  get done() {
    return this.#done;
  }

  /** Whether it was typed at a prompt. */
  get interactive() {
    return this.body.interactive === true;
  }

  /** What the process exits with after it: 1 for a cell that failed, or what the cell chose. */
  get status() {
    return this.#failed ? Number(process.exitCode) || 1 : 0;
  }

  async run() {
    const { channel, body, id } = this;
    try {
      // A worker that was started ahead of its cell has heard of it only now.
      process.env.POLYLOOM_CELL = body.cell;
      if (body.seed != null) process.env.POLYLOOM_SEED = String(body.seed);
      if (body.code !== "") this.#source = fs.readFileSync(body.code, "utf8");
      /** @type {Record<string, unknown>} */
      const inputs = {};
      for (const [name, input] of Object.entries(body.inputs ?? {})) inputs[name] = readInput(name, input);
      process.argv = [process.argv[0], body.code, ...(body.argv ?? [])];
      if (body.seed != null) Math.random = seededRandom(body.seed);
      if (this.session !== null) outliveInterrupts();
      if (body.call) return await this.#call(inputs);
      this.#cell = new Cell({
        file: body.code, source: this.#source, inputs, outputs: Object.keys(body.outputs ?? {}),
        api: this.#api(inputs), session: this.session, show: this.interactive ? (value) => this.#shown(value) : null,
      });
      await this.#cell.prepare();
      this.session?.codes.set(body.code, { source: this.#source, moved: this.#cell.moved, cell: body.cell });
      channel.send(Kind.Started, id, {});
      await this.#cell.evaluate();
      this.#evaluated = true;
      if (this.session !== null) await this.#over();
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * The cell is one call of a function.
   * @param {Record<string, unknown>} inputs
   */
  async #call(inputs) {
    const { channel, body, id } = this;
    const { call } = await import("./call.mjs");
    channel.send(Kind.Started, id, {});
    const declared = { inputs: body.inputs ?? {}, outputs: Object.keys(body.outputs ?? {}) };
    this.#returned = await call(body.call, body.code, inputs, declared, this.#api(inputs));
    this.#evaluated = true;
  }

  /** In a session a cell is over with its top level: what it has left to happen goes on between cells. */
  async #over() {
    // Rejections that nobody handles are the cell's own.
    await new Promise((resolve) => setImmediate(resolve));
    this.settle();
  }

  /** @param {unknown} value of a last expression, at a prompt */
  #shown(value) {
    if (value === undefined || !this.features.has("display")) return;
    const text = Buffer.from(inspect(value), "utf8").subarray(0, 48 << 10);
    this.channel.show(Kind.Display, this.id, { media: "text/plain", data: text });
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
    const { call } = this.body;
    // In a session the next cell would find nobody.
    if (this.session !== null) this.fail(new Error(`the cell ended itself with exit code ${code}, and its session with it`));
    else if (code === 0 && call && !this.#evaluated) {
      this.fail(new Error(`the cell ended itself before \`${call.object}\` returned`));
    } else if (code === 0) this.#collect();
    else this.fail(new Error(`the cell ended itself with exit code ${code}`));
  }

  #collect() {
    for (const [name, { type }] of Object.entries(this.body.outputs ?? {})) {
      try {
        writeOutput(name, type, this.#returned ? this.#returned[name] : this.#cell?.output(name), this.body.out);
      } catch (error) {
        return this.fail(error, placeOfName(this.body.call?.object ?? name, this.body.code, this.#source));
      }
    }
    this.#finish(true);
  }

  /**
   * @param {unknown} thrown
   * @param {{file: string, line: number, col: number | null} | null} [place]
   */
  fail(thrown, place = null) {
    if (this.#done) return;
    // Whoever did that knows.
    if (/** @type {any} */ (thrown)?.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED") return this.#finish(false);
    const { body } = this;
    const { code } = body;
    const own = { source: this.#source, moved: this.#cell?.moved ?? null };
    place ??= placeOf(thrown, new Map([...(this.session?.codes ?? []), [code, own]]));
    if (place === null && this.body.call && code !== "") place = placeBeside(thrown, code);
    if (place === null && thrown instanceof SyntaxError) place = placeOfSyntaxError(code, this.#source);
    const isOurs = thrown instanceof PortError;
    const message = isOurs ? thrown.message : headline(thrown).replace(/^Error: (the cell )/, "$1");
    this.channel.show(Kind.Diagnostic, this.id, diagnostic(message, place));
    // In a function of an earlier cell: and where this one called it.
    const called = place === null || place.file === code ? null : placeOf(thrown, new Map([[code, own]]));
    if (called !== null) {
      const there = this.session?.codes.get(place?.file ?? "")?.cell ?? this.body.cell;
      const text = there === this.body.cell ? "it was called here" : `cell \`${this.body.cell}\` called it here; it is of cell \`${there}\``;
      this.channel.show(Kind.Diagnostic, this.id, diagnostic(text, called, "info", "caller"));
    } else if (place !== null && place.file !== code) {
      const there = this.session?.codes.get(place.file)?.cell ?? body.cell;
      if (there !== body.cell) this.channel.show(Kind.Diagnostic, this.id, diagnostic(`that is of cell \`${there}\`, and came while \`${body.cell}\` ran`, null, "info"));
    }
    const at = place === null || isOurs ? "" : `${place.file}:${place.line}\n`;
    // At a prompt the host shows the place.
    const isShown = this.body.interactive === true && (place !== null || isOurs);
    if (!isShown) process.stderr.write(`${isOurs ? message : at + report(thrown)}\n`);
    this.#finish(false);
  }

  /** @param {number} grace_ms */
  cancel(grace_ms) {
    const end = () => {
      if (!this.#done) this.#finish(false);
      process.exit(0);
    };
    if (this.session !== null) {
      // What it waits for may come still; nobody listens then.
      this.#abort?.abort(new Error("the run was cancelled"));
      if (!this.#done) this.#finish(false);
      return;
    }
    if (this.#abort === null) return end();
    this.#abort.abort(new Error("the run was cancelled"));
    setTimeout(end, grace_ms * GRACE_SHARE).unref();
  }

  /** @param {boolean} ok */
  #finish(ok) {
    this.#done = true;
    this.#failed = !ok;
    const lost = this.channel.dropped;
    const extras = lost > 0 ? { messages_dropped: lost } : {};
    this.channel.send(Kind.Done, this.id, { ok, session_changed: this.session !== null, extras });
    this.channel.wait();
  }
}

export { report };
