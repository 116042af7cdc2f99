//! From what a cell threw to what its author reads: message, line and column in the cell's file,
//! and a stack without our own frames. Does not send anything.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";

const OWN = fileURLToPath(new URL(".", import.meta.url));

/**
 * @typedef {{severity: "error" | "info", message: string, code: string | null, file: string | null,
 *   line: number | null, col: number | null, end_line: null, end_col: null}} Diagnostic
 */

/**
 * @param {string} message
 * @param {{file: string, line: number, col: number | null} | null} place
 * @param {Diagnostic["severity"]} [severity]
 * @param {string | null} [code]
 * @returns {Diagnostic}
 */
export function diagnostic(message, place = null, severity = "error", code = null) {
  return {
    severity, message: message.slice(0, 8192), code, file: place?.file ?? null,
    line: place?.line ?? null, col: place?.col ?? null, end_line: null, end_col: null,
  };
}

/**
 * What was thrown, in one line as JavaScript prints it: `TypeError: x is not a function`.
 * @param {unknown} thrown
 */
export function headline(thrown) {
  try {
    if (thrown instanceof Error) return String(thrown);
    return `uncaught ${inspect(thrown, { depth: 2, breakLength: Infinity })}`;
  } catch {
    // A cell may throw anything, also an object whose every property throws.
    return "uncaught value that cannot be shown";
  }
}

/** @param {unknown} thrown */
function stackOf(thrown) {
  try {
    const stack = thrown instanceof Error ? thrown.stack : null;
    return typeof stack === "string" ? stack : "";
  } catch {
    return "";
  }
}

/**
 * Where the source itself is not valid. The engine knows when it compiles a module in `vm`, but node
 * keeps it to itself; so node is asked again, as the program that checks syntax. Only for errors.
 * @param {string} file
 * @param {string} source
 * @returns {{file: string, line: number, col: number | null} | null} null if it is valid
 */
export function placeOfSyntaxError(file, source) {
  const check = spawnSync(process.execPath, ["--input-type=module", "--check"], {
    input: source, encoding: "utf8", timeout: 5000,
  });
  const lines = (check.stderr ?? "").split("\n");
  const line = /^\[stdin\]:(\d+)$/.exec(lines[0])?.[1];
  if (line === undefined) return null;
  const caret = /^\s*\^+\s*$/.test(lines[2] ?? "") ? lines[2].indexOf("^") : null;
  return placed(file, source, Number(line), caret);
}

/**
 * What of a line stands further right than its author wrote it, from which column (from 0) on, and by how much.
 * @typedef {{line: number, from: number, by: number}} Moved
 */

/**
 * Code by its file, as its author wrote it, and what was moved in it.
 * @typedef {Map<string, {source: string, moved: Moved | null, cell?: string}>} Codes
 */

/**
 * The first place that the stack names in a file of `codes`: the cell's own and, in a session, those of the cells before it.
 * @param {unknown} thrown
 * @param {Codes} codes
 * @returns {{file: string, line: number, col: number | null} | null}
 */
export function placeOf(thrown, codes) {
  for (const text of stackOf(thrown).split("\n")) {
    if (!/^\s*at /.test(text)) continue;
    for (const [file, { source, moved }] of codes) {
      const at = text.indexOf(`${file}:`);
      const [, line, col] = (at < 0 ? null : /^(\d+):(\d+)/.exec(text.slice(at + file.length + 1))) ?? [];
      if (line === undefined) continue;
      const column = Number(col) - 1;
      const isMoved = moved !== null && Number(line) === moved.line && column >= moved.from;
      return placed(file, source, Number(line), isMoved ? Math.max(moved.from, column - moved.by) : column);
    }
  }
  return null;
}

/**
 * The first place that the stack names in a file that lies with `code`: a module that it imports, or itself where it can't be linked.
 * @param {unknown} thrown
 * @param {string} code
 * @returns {{file: string, line: number, col: number | null} | null}
 */
export function placeBeside(thrown, code) {
  const folder = code.slice(0, code.lastIndexOf("/") + 1);
  for (const text of stackOf(thrown).split("\n")) {
    const at = /^(?:\s*at |file:\/\/)/.test(text) ? text.indexOf(folder) : -1;
    const [, file, line, , col] = (at < 0 ? null : /^([^:()]+):(\d+)(:(\d+))?/.exec(text.slice(at))) ?? [];
    if (file === undefined) continue;
    try {
      return placed(file, readFileSync(file, "utf8"), Number(line), col === undefined ? null : Number(col) - 1);
    } catch {
      return null; // it is not there any more
    }
  }
  return null;
}

/**
 * The place in a stack, `up.mjs, line 3`, that is neither node's nor ours.
 * @param {unknown} thrown
 * @returns {string | null} null if there is none; empty where it is in text that was evaluated
 */
export function placeOutside(thrown) {
  const frame = stackOf(thrown).split("\n").find((line) => /^\s*at /.test(line) && !/\bnode:/.test(line) && !isForeign(line));
  if (frame === undefined) return null;
  const [, file, line] = /((?:file:\/\/|\/)[^()]*):(\d+):\d+\)?$/.exec(frame) ?? [];
  return file === undefined ? "" : `${file.slice(file.lastIndexOf("/") + 1)}, line ${line}`;
}

/**
 * Whether a frame is of node or of this folder.
 * @param {string} line
 */
function isForeign(line) {
  return line.includes("node:internal/") || line.includes(OWN) || line.includes("node:vm");
}

/**
 * A place in the source; the column counted from 1 in characters, not UTF-16 units.
 * @param {string} file
 * @param {string} source
 * @param {number} line
 * @param {number | null} unit from 0
 */
function placed(file, source, line, unit) {
  const lines = source.split("\n");
  const col = unit === null ? null : [...(lines[line - 1] ?? "").slice(0, unit)].length + 1;
  return { file, line, col };
}

/**
 * The line that gives a name its value, as a hint where a wrong output comes from.
 * @param {string} name an identifier
 * @param {string} file
 * @param {string} source
 */
export function placeOfName(name, file, source) {
  const pattern = new RegExp(`(?:^|[\\s;{(,])(${name})\\s*(?:=(?!=)|,|\\})`);
  const declared = new RegExp(`\\b(?:const|let|var|function|class)\\s+(?:[{[][^=]*\\b)?(${name})\\b`);
  const lines = source.split("\n");
  for (const wanted of [declared, pattern]) {
    const index = lines.findIndex((line) => wanted.test(line));
    if (index >= 0) {
      const found = /** @type {RegExpExecArray} */ (wanted.exec(lines[index]));
      const unit = found.index + found[0].lastIndexOf(name);
      return { file, line: index + 1, col: [...lines[index].slice(0, unit)].length + 1 };
    }
  }
  return null;
}

/**
 * The whole error with its causes, without the frames of node's loader and of this worker.
 * @param {unknown} thrown
 */
export function report(thrown) {
  let text;
  try {
    text = thrown instanceof Error ? inspect(thrown) : headline(thrown);
  } catch {
    text = headline(thrown);
  }
  const kept = text.split("\n").filter((line) => {
    return !/^\s*at /.test(line) || !isForeign(line);
  });
  return kept.join("\n");
}
