//! Programs that an executor starts for a cell, and what they say about its code.
//! Does not know the conversation with the host.

import { spawn } from "node:child_process";
import os from "node:os";
import process from "node:process";

/** So much of what a program says on standard error is kept: the beginning, where compilers say what is wrong. */
const KEPT = 256 << 10;
/** More diagnostics are of no use to a reader. */
const MOST = 200;
/** How long standard error is read after a program's end, in milliseconds. */
const LAST_WORDS = 200;

/**
 * A message of a tool.
 * @typedef {{severity: "error" | "warning" | "info", message: string, file: string, line: number, col: number | null}} Told
 */

/**
 * What a program said in the form that most tools write: `FILE:LINE: MESSAGE` or `FILE:LINE:COLUMN: error|warning|note: MESSAGE`.
 * @param {string} text
 * @returns {Told[]} at most 200
 */
export function diagnosticsOf(text) {
  const found = [];
  const pattern = /^([^\s:]+):(\d{1,9})(?::(\d{1,9}))?: +(?:(fatal error|error|warning|note): +)?(.*\S)/gm;
  for (const [, file, line, col, word, message] of text.matchAll(pattern)) {
    const severity = word === "warning" ? "warning" : word === "note" ? "info" : "error";
    found.push({ severity: /** @type {Told["severity"]} */ (severity), message, file, line: Number(line), col: col === undefined ? null : Number(col) });
    if (found.length === MOST) break;
  }
  return found;
}

/**
 * Runs a program; what it prints is the cell's output as it comes. Aborted, it is killed with all that it started.
 * @param {string[]} argv
 * @param {AbortSignal} signal
 * @param {{cwd?: string, env?: Record<string, string>}} [options]
 * @returns {Promise<{code: number, said: string}>} the exit code, or 128 and the signal's number; the first 256 KiB on standard error
 */
export function runProgram(argv, signal, options = {}) {
  return new Promise((resolve, reject) => {
    const [program, ...args] = argv;
    const child = spawn(program, args, { ...options, stdio: ["inherit", "inherit", "pipe"], detached: true });
    /** @type {Buffer[]} */
    const kept = [];
    let room = KEPT;
    child.stderr?.on("data", (/** @type {Buffer} */ chunk) => {
      process.stderr.write(chunk);
      kept.push(chunk.subarray(0, room));
      room -= Math.min(room, chunk.length);
    });
    const end = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // Nobody is left, which is well.
      }
    };
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    let failed = /** @type {Error | null} */ (null);
    child.on("error", (error) => {
      failed = new Error(`can't start \`${program}\`: ${error.message}`);
    });
    child.on("exit", () => {
      // What it left behind goes with it. A group's number stays taken for as long as somebody is in it.
      end();
      // One that left the group may hold standard error open for as long as the cell lives.
      setTimeout(() => child.stderr?.destroy(), LAST_WORDS).unref();
    });
    child.on("close", (code, name) => {
      signal.removeEventListener("abort", end);
      if (failed !== null) return reject(failed);
      if (signal.aborted) return reject(new Error("stopped"));
      const number = name === null ? 0 : os.constants.signals[name];
      return resolve({ code: code ?? 128 + number, said: Buffer.concat(kept).toString("utf8") });
    });
  });
}
