//! Runs an executor that is written in JavaScript: `node executor.mjs MODULE`, whose default export is the executor.
//! Does not know any language.
//!
//!     export default {
//!       id: "upper", version: "1",                             // as in its manifest
//!       async exec(cx) {
//!         cx.output("text", cx.code.toUpperCase());
//!       },
//!     };

import fs from "node:fs";
import process from "node:process";
import { pathToFileURL } from "node:url";

import { makeApi } from "./api.mjs";
import { Conversation, inherited } from "./conversation.mjs";
import { headline, placeOf, placeOutside, report } from "./errors.mjs";
import { writeWhole } from "./files.mjs";
import { Kind } from "./frames.mjs";
import { diagnosticsOf, runProgram } from "./program.mjs";
import { PortError, readInput, writeOutput } from "./values.mjs";

/** What a host may agree to. */
const FEATURES = ["cancel.soft", "display", "progress"];
/** What an executor may use of the time that a Cancel leaves, before it is ended. */
const GRACE_SHARE = 0.8;
/** Longest message of a diagnostic, in characters. */
const LONGEST = 8 << 10;

/**
 * What a module exports.
 * @typedef {{
 *   id: string, version: string, features?: string[], runtime?: string,
 *   exec(cx: Context): unknown, prepare?(code: string): unknown, catalog?(): unknown,
 *   reset?(): unknown, snapshot?(name: string): unknown, restore?(name: string): unknown, forget?(name: string): unknown,
 *   complete?(code: string, cursor: number): Record<string, unknown>,
 *   save?(out: string): unknown, load?(path: string): unknown,
 *   call?(cx: Context, call: {module: string, object: string}): unknown,
 * }} Executor
 */

/** Why a cell failed, as its author is to read it. */
export class Failure extends Error {
  /**
   * @param {string} message
   * @param {number | null} [line] of the cell's code, from 1
   * @param {number | null} [col] from 1
   * @param {string | null} [file] another file than the cell's code
   */
  constructor(message, line = null, col = null, file = null) {
    super(message);
    this.name = "Failure";
    /** @type {number | null} */
    this.line = line;
    /** @type {number | null} */
    this.col = col;
    /** @type {string | null} */
    this.file = file;
  }
}

/** The run of one cell, for its executor. */
export class Context {
  #run;
  #api;

  /**
   * @param {Run} run
   * @param {any} body of the Exec
   */
  constructor(run, body) {
    this.#run = run;
    /** The cell's id. */
    this.cell = String(body.cell);
    /** Path of its code, and the code; both are empty where the cell is a call of what is no file's. With the feature `source` there need be no file. */
    this.file = String(body.code);
    /** @type {string} */
    this.code = body.source ?? (this.file === "" ? "" : fs.readFileSync(this.file, "utf8"));
    /** Whether somebody waits at a prompt: the value of a last expression is to be displayed (`interactive`). */
    this.interactive = body.interactive === true;
    /** @type {string[]} its arguments */
    this.argv = body.argv ?? [];
    /** The folder for outputs. */
    this.out = String(body.out);
    /** @type {Record<string, import("./values.mjs").Input>} */
    this.inputs = body.inputs ?? {};
    /** @type {Record<string, {type: string}>} */
    this.outputs = body.outputs ?? {};
    /** @type {number | bigint | null} for random numbers */
    this.seed = body.seed ?? null;
    this.#api = makeApi({
      cell: this.cell, seed: this.seed, inputs: {}, outputs: {}, out: this.out,
      signal: () => run.signal, show: (kind, content) => run.show(kind, content),
      artifact: (content) => run.artifact(content),
    });
  }

  /** Aborted when the cell is to stop. Whoever offers `cancel.soft` looks at it. */
  get signal() {
    return this.#run.signal;
  }

  /**
   * The value of an input: plain data, Tensor, Table, Buffer for images, path for files and folders.
   * @param {string} port
   * @returns {any}
   */
  input(port) {
    const input = Object.hasOwn(this.inputs, port) ? this.inputs[port] : null;
    if (input === null) throw new Failure(`there is no input \`${port}\``);
    return readInput(port, input);
  }

  /**
   * Writes an output in the form of its declared type, or as it is where none is declared.
   * @param {string} port
   * @param {unknown} value
   */
  output(port, value) {
    if (!Object.hasOwn(this.outputs, port)) throw new Failure(`no output \`${port}\` is declared`);
    writeOutput(port, this.outputs[port].type, value, this.out);
  }

  /**
   * Writes an output's file as it is: text by its declared type, a picture, any file.
   * @param {string} name PORT or PORT.EXTENSION
   * @param {string | Uint8Array} content
   */
  write(name, content) {
    if (!/^[^./][^/]*$/.test(name)) throw new Failure(`\`${name}\` is no name of an output; valid: PORT or PORT.EXTENSION`);
    writeWhole(this.out, name, [typeof content === "string" ? Buffer.from(content, "utf8") : content]);
  }

  /**
   * A line in the run's log.
   * @param {string} level debug, info, warn or error
   * @param {unknown} text
   */
  log(level, text) {
    this.#api.log(level, text);
  }

  /**
   * How far the cell is.
   * @param {number | null} fraction from 0 to 1, null when it cannot be said
   * @param {unknown} [text]
   */
  progress(fraction, text = "") {
    this.#api.progress(fraction, text);
  }

  /**
   * Something to look at: text, or bytes of an image, or bytes or text with their media type; at most 48 KiB.
   * @param {unknown} value
   * @param {string} [media]
   */
  display(value, media) {
    this.#api.display(value, media);
  }

  /**
   * Names a file below `out` as a result besides the declared ones.
   * @param {string} name
   * @param {string} file
   * @param {string | null} [media]
   */
  artifact(name, file, media = null) {
    this.#api.artifact(name, file, media);
  }

  /**
   * Why the cell fails, to be thrown: `throw cx.fault("what is that?", 3)`.
   * @param {string} message
   * @param {number | null} [line] of the cell's code, from 1
   * @param {number | null} [col] from 1
   */
  fault(message, line = null, col = null) {
    return new Failure(message, line, col);
  }

  /**
   * Says what is probably wrong at a place of the code.
   * @param {string} message
   * @param {number | null} [line]
   * @param {number | null} [col]
   */
  warn(message, line = null, col = null) {
    this.#run.diagnose({ severity: "warning", message, file: this.file, line, col });
  }

  /** Says that the cell changed what later cells of its session find. */
  sessionChanged() {
    this.#run.changed = true;
  }

  /**
   * Runs a program as a part of the cell: what it prints is the cell's output. It is killed, with all that it started, when the cell is to stop.
   * @param {string[]} argv
   * @param {{cwd?: string, env?: Record<string, string>}} [options]
   * @returns {Promise<{code: number, said: string}>} the exit code, or 128 and the signal's number; the first 256 KiB on standard error
   */
  async run(argv, options) {
    try {
      return await runProgram(argv, this.signal, options);
    } catch (error) {
      throw new Failure(error instanceof Error ? error.message : String(error));
    }
  }

  /**
   * Compiles and runs: what the compiler says about places is reported as diagnostics, and what it made is run if it ended well.
   * @param {string[]} compiler
   * @param {string[]} program
   */
  async compileAndRun(compiler, program) {
    const compiled = await this.run(compiler);
    const told = diagnosticsOf(compiled.said);
    const first = compiled.code === 0 ? -1 : told.findIndex((one) => one.severity === "error");
    told.forEach((one, at) => at === first || this.#run.diagnose(one));
    if (first >= 0) throw new Failure(told[first].message, told[first].line, told[first].col, told[first].file);
    if (compiled.code !== 0) throw new Failure(`the compiler ended with exit code ${compiled.code}`);
    const { code } = await this.run(program);
    if (code !== 0) throw new Failure(`the program ended with exit code ${code}`);
  }
}

/** One Exec, from its frame to its Done. */
class Run {
  #done = false;
  #failed = false;
  #abort = new AbortController();
  /** Whether the session's state is another one now. */
  changed = false;

  /**
   * @param {Executor} executor
   * @param {import("./channel.mjs").Channel} channel
   * @param {bigint} id
   * @param {any} body
   * @param {Set<string>} features agreed on
   */
  constructor(executor, channel, id, body, features) {
    this.executor = executor;
    this.channel = channel;
    this.id = id;
    this.body = body;
    this.features = features;
  }

  get done() {
    return this.#done;
  }

  /** What the process exits with after it. */
  get status() {
    return this.#failed ? 1 : 0;
  }

  get signal() {
    return this.#abort.signal;
  }

  async run() {
    try {
      this.channel.send(Kind.Started, this.id, {});
      const cx = new Context(this, this.body);
      const { call } = this.body;
      if (call == null) await this.executor.exec(cx);
      else if (typeof this.executor.call === "function") await this.executor.call(cx, call);
      else throw new Failure(`there is no function \`${call.object}\` in \`${call.module}\``);
      this.#finish(true);
    } catch (error) {
      this.fail(error);
    }
  }

  /**
   * @param {"Log" | "Progress" | "Display"} kind
   * @param {Record<string, unknown>} content
   */
  show(kind, content) {
    const agreed = kind === "Log" || this.features.has(kind.toLowerCase());
    if (agreed && !this.#done) this.channel.show(Kind[kind], this.id, content);
  }

  /** @param {Record<string, unknown>} content */
  artifact(content) {
    if (!this.#done) this.channel.send(Kind.Artifact, this.id, content);
  }

  /** @param {{severity: string, message: string, file: string | null, line: number | null, col: number | null}} told */
  diagnose({ severity, message, file, line, col }) {
    if (this.#done) return;
    const place = { file, line, col, end_line: null, end_col: null };
    this.channel.show(Kind.Diagnostic, this.id, { severity, message: message.slice(0, LONGEST), code: null, ...place });
  }

  /** The event loop is empty while the executor waits. */
  settle() {
    this.#own("waits for something that never happens");
  }

  /** @param {number} code */
  exiting(code) {
    this.#own(`ended itself with exit code ${code} before it said that the cell is done`);
  }

  /** @param {unknown} thrown */
  fail(thrown) {
    if (this.#done) return;
    const code = String(this.body.code);
    if (thrown instanceof Failure) {
      const { message, line, col, file } = thrown;
      const place = line === null ? "" : `line ${line}: `;
      return this.#fail({ message, file: file ?? code, line, col }, `error: ${place}${message}`);
    }
    const told = { message: headline(thrown), file: code, line: null, col: null };
    if (thrown instanceof PortError) return this.#fail({ ...told, message: thrown.message }, `error: ${thrown.message}`);
    // What is wrong with the executor itself, its author wants to see whole.
    const whole = report(thrown);
    const ofCell = placeOf(thrown, new Map([[code, { source: "", moved: null }]]));
    const own = placeOutside(thrown);
    if (ofCell !== null) return this.#fail({ ...told, line: ofCell.line }, whole);
    if (own === "") return this.#fail(told, whole);
    this.#own(`failed: ${told.message}${own === null ? "" : ` (${own})`}`, whole);
  }

  /**
   * A fault of the executor itself, which has no place in the cell's code.
   * @param {string} what
   * @param {string} [whole] for standard error
   */
  #own(what, whole) {
    const message = `the executor \`${this.executor.id}\` ${what}`;
    this.#fail({ message, file: null, line: null, col: null }, whole ?? `error: ${message}`);
  }

  /**
   * @param {{message: string, file: string | null, line: number | null, col: number | null}} told
   * @param {string} printed
   */
  #fail(told, printed) {
    if (this.#done) return;
    this.diagnose({ severity: "error", ...told });
    process.stderr.write(`${printed}\n`);
    this.#finish(false);
  }

  /** @param {number} grace_ms */
  cancel(grace_ms) {
    const end = () => {
      if (!this.#done) this.#finish(false);
      process.exit(0);
    };
    if (!this.features.has("cancel.soft")) return end();
    this.#abort.abort(new Failure("stopped"));
    const late = setTimeout(() => this.#done || end(), grace_ms * GRACE_SHARE);
    late.unref();
  }

  /** @param {boolean} ok */
  #finish(ok) {
    this.#done = true;
    this.#failed = !ok;
    const lost = this.channel.dropped;
    this.channel.send(Kind.Done, this.id, { ok, session_changed: this.changed, extras: lost > 0 ? { messages_dropped: lost } : {} });
    this.channel.wait();
  }
}

/**
 * What is wrong with what a module exports, in words.
 * @param {any} executor
 */
function wrong(executor) {
  if (typeof executor !== "object" || executor === null) return "its default export is no object";
  for (const name of ["id", "version"]) {
    if (typeof executor[name] !== "string") return `its \`${name}\` is no text`;
  }
  return typeof executor.exec === "function" ? null : "it has no function `exec`";
}

/**
 * Serves the host with an executor. To be called once.
 * @param {Executor} executor
 * @param {number} [fd] the socket, where it is not the one that the host handed over
 */
export function serve(executor, fd = inherited()) {
  new Conversation(fd).start(
    {
      executor: executor.id, version: executor.version, features: executor.features ?? FEATURES,
      runtime: executor.runtime ?? `node ${process.version}`,
    },
    Promise.resolve({
      begin: (channel, id, body, features) => new Run(executor, channel, id, body, features),
      prepare: (code) => executor.prepare?.(code),
      reset: () => executor.reset?.(),
      snapshot: (name) => executor.snapshot?.(name),
      restore: (name) => executor.restore?.(name),
      forget: (name) => executor.forget?.(name),
      complete: (code, cursor) => completions(executor, code, cursor),
      save: (out) => executor.save?.(out),
      load: (path) => executor.load?.(path),
      catalog: () => executor.catalog?.(),
      report,
    }),
  );
}

/**
 * What an executor says an input may go on with.
 * @param {Executor} executor
 * @param {string} code
 * @param {number | null} at
 */
function completions(executor, code, at) {
  const length = [...code].length;
  const cursor = Math.min(at ?? length, length);
  return { start: cursor, end: cursor, matches: [], open: false, ...executor.complete?.(code, cursor) };
}

const [, here, module] = process.argv;
if (import.meta.url === pathToFileURL(fs.realpathSync(here)).href) {
  if (module === undefined) {
    process.stderr.write("usage: node executor.mjs MODULE\n");
    process.exit(2);
  }
  // What the executor's module does when it is loaded does not find the connection.
  const fd = inherited();
  const executor = (await import(pathToFileURL(module).href)).default;
  const found = wrong(executor);
  if (found !== null) {
    process.stderr.write(`error: ${module}: ${found}\n`);
    process.exit(2);
  }
  serve(executor, fd);
}
