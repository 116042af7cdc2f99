//! Reads typed functions of JavaScript: a question of one JSON line on stdin, the catalog as JSON on stdout.
//!
//!     {"version": 1, "root": "/flow", "targets": [{"location": "./filters.mjs", "object": null}], "allow_untyped": false}
//!
//! Nothing of what it reads is run. What is wrong with the source is in the catalog; the status is 2 only for a question that is none.

import fs from "node:fs";
import path from "node:path";
import process from "node:process";

import { Reader } from "./catalog-entry.mjs";
import { Project, SourceError } from "./catalog-modules.mjs";

const LEFT_OUT = new Set(["node_modules"]);
/** So many files of a folder are read. */
const MOST = 20_000;

/**
 * @typedef {{location: string, object: string | null}} Target
 * @typedef {{version: number, root: string, targets: Target[], allow_untyped?: boolean}} Question
 */

/** @param {Question} question */
export function catalog({ root, targets, allow_untyped = false }) {
  const project = new Project(root);
  const reader = new Reader(project);
  /** @type {Map<string, object>} */
  const entries = new Map();
  /** @type {Map<string, object>} */
  const problems = new Map();
  const tell = (/** @type {object} */ problem) => problems.set(JSON.stringify(problem), problem);
  for (const { location, object } of targets) {
    for (const file of files(root, location, tell)) {
      try {
        const module = project.module(file);
        const wanted = module.functions.filter((it) => (object === null ? !it.object.startsWith("_") : it.object === object));
        const reach = wanted.length > 0 ? project.reach(file) : { files: [file], digest: "" };
        if (wanted.length > 0) isModule(project, file, reach.files);
        for (const found of wanted) {
          const { entry, wrong } = reader.read(module, found, allow_untyped);
          for (const { code, message, place, help } of wrong) {
            tell({ code, severity: "error", message, file, ...place, object: found.object, help });
          }
          if (wrong.length > 0) continue;
          const place = `./${file}`;
          const id = `javascript:${place}:${found.object}`;
          entries.set(id, { id, executor: "javascript", location: place, object: found.object, ...entry, ...reach });
        }
      } catch (error) {
        const { code, message, place, help } = error instanceof SourceError
          ? error
          : { code: "JS005", message: `\`${file}\` can't be read: ${error}`, place: { line: 1, col: 1, end_col: 1 }, help: null };
        tell({ code, severity: "error", message, file, ...place, object: null, help });
      }
    }
  }
  return { version: 1, entries: [...entries.values()], types: reader.types, problems: [...problems.values()] };
}

/**
 * Before node 22 a `.js` file is a module only where its package says so.
 * @param {Project} project
 * @param {string} file
 * @param {string[]} reached
 */
function isModule(project, file, reached) {
  if (!file.endsWith(".js")) return;
  const described = reached.filter((name) => path.basename(name) === "package.json");
  const says = described.some((name) => /"type"\s*:\s*"module"/.test(project.read(name).toString("utf8")));
  if (says) return;
  const place = { line: 1, col: 1, end_col: 1 };
  throw new SourceError("JS005", `\`${file}\` is no module to node`, place, 'call it `.mjs`, or say `"type": "module"` in a `package.json` beside it');
}

const FILES = "valid: `./FILE.mjs`, a module below the flow's folder; of a package, write a function around it there, with its types in JSDoc";

/**
 * The modules that a location means, relative to the root.
 * @param {string} root
 * @param {string} location
 * @param {(problem: object) => void} tell
 * @returns {string[]}
 */
function files(root, location, tell) {
  const parts = location.split("/");
  if (parts[0] !== "." || parts.includes("..")) {
    const message = `\`${location}\` is no file of the project`;
    tell({ code: "JS004", severity: "error", message, file: "", line: 0, col: 0, end_col: 0, object: null, help: FILES });
    return [];
  }
  const start = path.join(...parts);
  const whole = path.join(root, start);
  if (!fs.statSync(whole, { throwIfNoEntry: false })?.isDirectory()) return [start];
  const found = [];
  const open = [start];
  for (let folder = open.pop(); folder !== undefined && found.length < MOST; folder = open.pop()) {
    for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
      if (entry.name.startsWith(".") || LEFT_OUT.has(entry.name)) continue;
      const name = path.join(folder, entry.name);
      if (entry.isDirectory()) open.push(name);
      else if (entry.isFile() && /\.m?js$/.test(entry.name)) found.push(name);
    }
  }
  return found.sort();
}

/** @returns {number} the status */
function main() {
  let question;
  try {
    question = JSON.parse(fs.readFileSync(0, "utf8"));
  } catch {
    question = null;
  }
  const isOne = question?.version === 1 && typeof question.root === "string" && Array.isArray(question.targets);
  if (!isOne) {
    process.stderr.write("error: the question is none of version 1: one line of JSON with `root` and `targets`\n");
    return 2;
  }
  writeAll(JSON.stringify(catalog(question)));
  return 0;
}

/** @param {string} text */
function writeAll(text) {
  const bytes = Buffer.from(text, "utf8");
  for (let at = 0; at < bytes.length; ) {
    try {
      at += fs.writeSync(1, bytes, at);
    } catch (error) {
      if (/** @type {any} */ (error).code !== "EAGAIN") throw error;
    }
  }
}

if (process.argv[1]?.endsWith("/catalog.mjs")) process.exitCode = main();
