//! A worker's side of protocol W on the socket that the host hands it, from Hello to Shutdown.
//! Does not know how a cell is run.

import process from "node:process";

import { Channel } from "./channel.mjs";
import { Kind, ProtocolError } from "./frames.mjs";
import { printAtOnce } from "./prints.mjs";

/**
 * One run of a cell, as far as the conversation knows it: it sends exactly one Done.
 * @typedef {{
 *   id: bigint, done: boolean, status: number, run(): Promise<void>, cancel(grace_ms: number): void,
 *   fail(error: unknown): void, settle(): void, exiting(code: number): void,
 * }} Run
 */

/**
 * What runs cells.
 * @typedef {{
 *   begin(channel: Channel, id: bigint, body: any, features: Set<string>): Run,
 *   prepare?(code: string): unknown,
 *   reset?(): unknown,
 *   snapshot?(name: string): unknown,
 *   restore?(name: string): unknown,
 *   forget?(name: string): unknown,
 *   complete?(code: string, cursor: number | null): Record<string, unknown>,
 *   save?(out: string): unknown,
 *   load?(path: string): unknown,
 *   catalog?(): unknown,
 *   report?(error: unknown): string,
 *   late?(error: unknown): string,
 * }} Runner
 */

/**
 * Who the worker is: `executor` and `version` as in its manifest, `features` that it offers, `runtime` for people.
 * @typedef {{executor: string, version: string, features: string[], runtime: string}} About
 */

/** The conversation over one socket. */
export class Conversation {
  /** @type {Run | null} */
  #exec = null;
  /** What runs cells; it may be loaded while the host reads the Hello. */
  #runner = /** @type {Runner | null} */ (null);
  /** @type {import("./frames.mjs").Frame[]} came before that */
  #early = [];
  /** Whether the host said that it takes this worker. */
  #answered = false;
  /** @type {Set<string>} */
  #features = new Set();

  /** @param {number} fd */
  constructor(fd) {
    this.channel = new Channel(fd, (frame) => this.#frame(frame), (error) => this.#end(error));
  }

  /**
   * @param {About} about
   * @param {Promise<Runner>} runner
   */
  start(about, runner) {
    printAtOnce();
    process.on("beforeExit", () => this.#exec?.settle());
    process.on("exit", (code) => this.#exec?.exiting(code));
    const failed = (/** @type {unknown} */ error) => this.#uncaught(error);
    process.on("uncaughtException", failed);
    process.on("unhandledRejection", failed);
    this.channel.preamble();
    this.channel.send(Kind.Hello, 0n, { ...about, protocol: [{ major: 1, minor: 0 }] });
    void runner.then((runner) => {
      this.#runner = runner;
      try {
        for (const frame of this.#early.splice(0)) this.#frame(frame);
      } catch (error) {
        this.#end(/** @type {Error} */ (error));
      }
    });
  }

  /** @param {unknown} error */
  #uncaught(error) {
    if (this.#exec !== null && !this.#exec.done) return this.#exec.fail(error);
    process.stderr.write(`${this.#runner?.report?.(error) ?? error}\n`);
    // Who typed it sees it, with the next input, and types on, as at node's own prompt.
    if (this.#exec?.interactive) return undefined;
    const whose = this.#runner?.late?.(error) ?? "";
    if (whose !== "") process.stderr.write(`${whose}\n`);
    // After Done nobody listens; what a cell left behind must not look like the next one's.
    process.exit(1);
  }

  /** @param {import("./frames.mjs").Frame} frame */
  #frame(frame) {
    if (this.#runner === null) return void this.#early.push(frame);
    const { kind, exec, body } = frame;
    const answer = kind === Kind.HelloOk || kind === Kind.HelloNo;
    if (answer === this.#answered && kind !== Kind.Error) throw new ProtocolError("wrong_state", answer ? "a second answer to Hello" : "no answer to Hello");
    switch (kind) {
      case Kind.HelloOk:
        this.#answered = true;
        this.#features = new Set(body.features ?? []);
        return undefined;
      case Kind.Exec: return this.#begin(this.#runner, exec, body);
      case Kind.Cancel:
        // One for an exec that is done has crossed its Done on the way.
        if (this.#exec?.id === exec && !this.#exec.done) this.#exec.cancel(Number(body.grace_ms ?? 0));
        return undefined;
      case Kind.Credit:
        if (this.#exec?.id === exec && !this.#exec.done) this.channel.grant(Number(body.bytes ?? 0));
        return undefined;
      case Kind.Ping: return this.channel.pong(body.n);
      case Kind.Describe: return this.#describe(this.#runner);
      case Kind.Prepare: return this.#call((runner) => runner.prepare?.(body.code));
      case Kind.Reset: return this.#call((runner) => runner.reset?.());
      case Kind.Snapshot: return this.#keep(body.name, (runner) => runner.snapshot?.(body.name));
      case Kind.Complete:
        this.#call((runner) => {
          const empty = { start: 0, end: 0, matches: [], open: false };
          this.channel.send(Kind.Completions, 0n, runner.complete?.(String(body.code), body.cursor ?? null) ?? empty);
        });
        return undefined;
      case Kind.Restore: return this.#keep(body.name, (runner) => runner.restore?.(body.name));
      case Kind.Forget: return this.#keep(body.name, (runner) => runner.forget?.(body.name));
      case Kind.Save: return this.#call((runner) => this.#saved(runner.save?.(String(body.out))));
      case Kind.Load: return this.#call((runner) => this.#saved(runner.load?.(String(body.path))));
      case Kind.HelloNo:
        process.stderr.write(`the host refuses this worker: ${body.reason}\n`);
        return process.exit(1);
      case Kind.Error:
        process.stderr.write(`the host reports: ${body.text ?? body.code}\n`);
        return this.#leave(1);
      case Kind.Shutdown: return this.#leave(this.#exec?.status ?? 0);
      default: return undefined;
    }
  }

  /**
   * What a hook does about a snapshot; what it throws is the reason why it can't be done. Without `kept` nobody learns of it.
   * @param {string} name
   * @param {(runner: Runner) => unknown} hook
   */
  #keep(name, hook) {
    if (!this.#features.has("kept")) return this.#call(hook);
    let reason = "";
    try {
      if (this.#runner !== null) hook(this.#runner);
    } catch (error) {
      reason = (error instanceof Error ? error.message : String(error)) || "it can't be done";
    }
    this.channel.send(Kind.Kept, 0n, { name, ok: reason === "", reason });
  }

  /** @param {unknown} came what a hook says of what came through: `{saved: [names], unsaved: {name: why}}` */
  #saved(came) {
    const { saved = [], unsaved = {} } = /** @type {any} */ (came ?? {});
    const why = Object.entries(unsaved).map(([name, text]) => ({ name, why: String(text) }));
    this.channel.send(Kind.Saved, 0n, { saved, unsaved: why });
  }

  /** @param {(runner: Runner) => unknown} hook */
  #call(hook) {
    try {
      // What comes later is caught by the process.
      if (this.#runner !== null) hook(this.#runner);
    } catch (error) {
      this.#uncaught(error);
    }
  }

  /** @param {Runner} runner */
  #describe(runner) {
    const asked = new Promise((resolve) => resolve(runner.catalog?.() ?? []));
    void asked.then(
      (entries) => this.channel.send(Kind.Catalog, 0n, { entries }),
      (error) => this.#uncaught(error),
    );
  }

  /**
   * @param {Runner} runner
   * @param {bigint} id
   * @param {any} body
   */
  #begin(runner, id, body) {
    if (this.#exec !== null && !this.#exec.done) throw new ProtocolError("wrong_state", "a second Exec before Done");
    this.channel.renew();
    process.exitCode = undefined;
    this.#exec = runner.begin(this.channel, id, body, this.#features);
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

/** The socket that the host handed over, which no program that is started later hears of. Ends the process where there is none. */
export function inherited() {
  const fd = Number(process.env.POLYLOOM_W);
  delete process.env.POLYLOOM_W;
  if (!Number.isInteger(fd) || fd < 3) {
    process.stderr.write("error: this program is started by `polyloom`, which sets POLYLOOM_W\n");
    process.exit(2);
  }
  return fd;
}
