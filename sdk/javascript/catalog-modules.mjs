//! The modules of a project, read and never run: their exported functions, the types their comments define, the files that they reach.
//! Does not know what types mean.

import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import vm from "node:vm";

import { placeOfSyntaxError } from "./errors.mjs";
import { parseDoc } from "./jsdoc.mjs";
import { parametersOf, tokensOf } from "./tokens.mjs";

/** A larger file is not read. */
const LARGEST = 8 << 20;
/** More files that one module reaches are an error. */
const MOST_FILES = 10_000;

/**
 * @typedef {import("./tokens.mjs").Token} Token
 * @typedef {import("./jsdoc.mjs").Comment} Comment
 * @typedef {import("./jsdoc.mjs").Tag} Tag
 * @typedef {{object: string, name: string, start: number, comment: Comment, generator: boolean, async: boolean,
 *   parameters: import("./tokens.mjs").Parameter[]}} Found an exported function
 * @typedef {{name: string, tag: Tag, properties: Tag[], doc: string}} Typedef
 * @typedef {{file: string, source: string, functions: Found[], typedefs: Map<string, Typedef>,
 *   imports: {file: string, start: number, end: number}[]}} Module
 */

/** Something wrong at a place of a file. */
export class SourceError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{line: number, col: number, end_col: number}} place
   * @param {string | null} [help]
   */
  constructor(code, message, place, help = null) {
    super(message);
    this.code = code;
    this.place = place;
    this.help = help;
  }
}

const TOP = Object.freeze({ line: 1, col: 1, end_col: 1 });

/**
 * Line and columns, from 1, of what lies between two places of a source.
 * @param {string} source
 * @param {number} start
 * @param {number} [end]
 */
export function placeIn(source, start, end = start + 1) {
  const starts = linesOf(source);
  let line = 0;
  for (let past = starts.length; past - line > 1; ) {
    const middle = (line + past) >> 1;
    if (starts[middle] <= start) line = middle;
    else past = middle;
  }
  const col = [...source.slice(starts[line], start)].length + 1;
  const text = source.slice(start, end).split("\n")[0];
  return { line: line + 1, col, end_col: col + [...text].length };
}

/** Where the lines of one source begin: that which was asked for last, since its places are asked for one after the other. */
let counted = { source: "", starts: [0] };

/** @param {string} source */
function linesOf(source) {
  if (counted.source !== source) {
    const starts = [0];
    for (let at = source.indexOf("\n"); at >= 0; at = source.indexOf("\n", at + 1)) starts.push(at + 1);
    counted = { source, starts };
  }
  return counted.starts;
}

export class Project {
  /** @type {Map<string, Module>} */
  #modules = new Map();

  /** @param {string} root */
  constructor(root) {
    this.root = root;
  }

  /**
   * @param {string} file relative to the root
   * @returns {Buffer}
   */
  read(file) {
    try {
      const whole = fs.realpathSync(path.join(this.root, file));
      if (path.relative(fs.realpathSync(this.root), whole).split(path.sep)[0] === "..") throw new Error("it is a link out of the folder");
      const status = fs.statSync(whole);
      // To open a pipe waits for who writes to it.
      if (!status.isFile() && !status.isDirectory()) throw new Error("it is no file");
      const { size } = status;
      if (size > LARGEST) throw new Error(`it is larger than ${LARGEST >> 20} MiB`);
      return fs.readFileSync(whole);
    } catch (error) {
      const why = /** @type {any} */ (error);
      const words = why.code === "ENOENT" ? "there is no such file" : why.code === "EISDIR" ? "it is a folder" : why.message;
      throw new SourceError("JS004", `\`${file}\` can't be read: ${words}`, TOP);
    }
  }

  /**
   * @param {string} file relative to the root
   * @returns {Module}
   * @throws {SourceError}
   */
  module(file) {
    const known = this.#modules.get(file);
    if (known) return known;
    const module = parse(file, this.#text(file));
    this.#modules.set(file, module);
    return module;
  }

  /** @param {string} file */
  #text(file) {
    const bytes = this.read(file);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      const good = Buffer.from(bytes.toString("utf8")).findIndex((byte, at) => byte !== bytes[at]);
      const line = bytes.subarray(0, Math.max(0, good)).toString("latin1").split("\n").length;
      throw new SourceError("JS005", `\`${file}\` is not UTF-8`, { ...TOP, line }, "save it as UTF-8");
    }
  }

  /**
   * All files that a module reaches, itself first, and their digest.
   * @param {string} file
   * @returns {{files: string[], digest: string}}
   * @throws {SourceError}
   */
  reach(file) {
    const files = new Set([file]);
    for (const next of files) {
      const described = this.#package(next);
      if (described !== null) files.add(described);
      if (!/\.m?js$/.test(next)) continue;
      const module = this.module(next);
      for (const { file: wanted, start, end } of module.imports) {
        if (wanted.startsWith("../") || wanted === "..") {
          const place = next === file ? placeIn(module.source, start, end) : TOP;
          throw new SourceError("JS004", `\`${next}\` imports \`${wanted}\`, outside of the flow's folder`, place);
        }
        if (!fs.existsSync(path.join(this.root, wanted))) {
          const place = next === file ? placeIn(module.source, start, end) : TOP;
          throw new SourceError("JS004", `\`${next}\` imports \`${wanted}\`, and there is no such file`, place);
        }
        files.add(wanted);
      }
      if (files.size > MOST_FILES) throw new SourceError("JS004", `\`${file}\` reaches more than ${MOST_FILES} files`, TOP);
    }
    const hash = createHash("sha256");
    for (const name of [...files].sort()) {
      const bytes = this.read(name);
      hash.update(`${name}\0${bytes.length}\0`).update(bytes);
    }
    return { files: [...files], digest: hash.digest("hex") };
  }

  /**
   * The `package.json` by which node decides what a `.js` file is.
   * @param {string} file
   */
  #package(file) {
    if (!file.endsWith(".js")) return null;
    for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
      const described = path.join(folder, "package.json");
      if (fs.existsSync(path.join(this.root, described))) return described;
      if (folder === ".") return null;
    }
  }
}

/**
 * @param {string} file
 * @param {string} source
 * @returns {Module}
 */
function parse(file, source) {
  let specifiers;
  try {
    // Compiled, never linked or evaluated.
    const compiled = new /** @type {any} */ (vm).SourceTextModule(source, { identifier: file });
    specifiers = compiled.dependencySpecifiers ?? compiled.moduleRequests.map((/** @type {any} */ it) => it.specifier);
  } catch (error) {
    const place = placeOfSyntaxError(file, source);
    const col = place?.col ?? 1;
    const at = { line: place?.line ?? 1, col, end_col: col + 1 };
    throw new SourceError("JS005", `\`${file}\` is no module: ${/** @type {Error} */ (error).message}`, at);
  }
  const { tokens, docs } = tokensOf(source);
  const imported = [...new Set(specifiers), ...dynamic(tokens)].filter((name) => /^\.\.?\//.test(name));
  const imports = imported.map((name) => {
    const at = tokens.find(({ kind, text }) => kind === "text" && text.slice(1, -1) === name);
    const start = at?.start ?? 0;
    return { file: path.join(path.dirname(file), name), start, end: start + (at?.text.length ?? 1) };
  });
  return { file, source, functions: functions(source, tokens), typedefs: typedefs(docs), imports };
}

/**
 * What `import("./x.mjs")` and `require("./x.js")` name.
 * @param {Token[]} tokens
 */
function dynamic(tokens) {
  return tokens.flatMap(({ text }, at) => {
    const called = (text === "import" || text === "require") && tokens[at + 1]?.text === "(";
    const named = tokens[at + 2]?.kind === "text" && tokens[at + 3]?.text === ")";
    return called && named ? [tokens[at + 2].text.slice(1, -1)] : [];
  });
}

/** @param {import("./tokens.mjs").Doc[]} docs */
function typedefs(docs) {
  /** @type {Map<string, Typedef>} */
  const found = new Map();
  for (const doc of docs) {
    if (!doc.text.includes("@typedef")) continue;
    const { tags, text } = parseDoc(doc);
    for (const [at, tag] of tags.entries()) {
      if (tag.tag !== "typedef" || tag.name === "") continue;
      const end = tags.findIndex((other, later) => later > at && other.tag === "typedef");
      const own = tags.slice(at + 1, end < 0 ? tags.length : end);
      const properties = own.filter((it) => it.tag === "property" || it.tag === "prop");
      found.set(tag.name, { name: tag.name, tag, properties, doc: tag.doc || text });
    }
  }
  return found;
}

/**
 * @param {string} source
 * @param {Token[]} tokens
 * @returns {Found[]} the exported functions
 */
function functions(source, tokens) {
  /** @type {Map<string, Omit<Found, "object">>} */
  const declared = new Map();
  /** @type {[string, string][]} object and the name it has here */
  const exported = [];
  let begins = true;
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at];
    if (token.depth > 0) continue;
    const first = begins || token.text === "export" || token.text === "function" || token.text === "const";
    begins = token.text === ";" || token.text === "}";
    if (!first) continue;
    const isExport = token.text === "export";
    let next = isExport ? at + 1 : at;
    const isDefault = isExport && tokens[next]?.text === "default";
    if (isDefault) next++;
    if (isExport && tokens[next]?.text === "{") {
      exported.push(...listed(tokens, next));
      continue;
    }
    const found = declaration(source, tokens, next, isDefault);
    if (!found) {
      if (isDefault && tokens[next]?.kind === "name") exported.push(["default", tokens[next].text]);
      continue;
    }
    const comment = token.doc ?? tokens[next].doc;
    const { name } = found;
    if (!declared.has(name)) declared.set(name, { ...found, comment: parseDoc(comment ?? { text: "/***/", start: 0 }) });
    if (isExport) exported.push([isDefault ? "default" : name, name]);
    at = Math.max(at, next);
  }
  return exported.flatMap(([object, name]) => {
    const found = declared.get(name);
    return found ? [{ ...found, object }] : [];
  });
}

/**
 * `export { a, b as c }`; what comes from another file is that one's.
 * @param {Token[]} tokens
 * @param {number} open
 * @returns {[string, string][]}
 */
function listed(tokens, open) {
  let close = open + 1;
  while (close < tokens.length && !(tokens[close].text === "}" && tokens[close].depth === 0)) close++;
  if (tokens[close + 1]?.text === "from") return [];
  const names = tokens.slice(open + 1, close).filter(({ kind }) => kind === "name").map(({ text }) => text);
  /** @type {[string, string][]} */
  const found = [];
  for (let at = 0; at < names.length; at++) {
    if (names[at + 1] === "as") {
      found.push([names[at + 2], names[at]]);
      at += 2;
    } else found.push([names[at], names[at]]);
  }
  return found;
}

/**
 * The function that is declared at a token: `async function* f(…)`, `const f = async (…) => …`, or one without a name.
 * @param {string} source
 * @param {Token[]} tokens
 * @param {number} from
 * @param {boolean} isDefault
 */
function declaration(source, tokens, from, isDefault) {
  const text = (/** @type {number} */ at) => tokens[at]?.text;
  let at = from;
  let name = isDefault ? "default" : "";
  let start = tokens[at]?.start ?? 0;
  if (text(at) === "const" || text(at) === "let" || text(at) === "var") {
    if (text(at + 2) !== "=") return null;
    name = text(at + 1);
    start = tokens[at + 1].start;
    at += 3;
  }
  const isAsync = text(at) === "async";
  if (isAsync) at++;
  const isFunction = text(at) === "function";
  if (isFunction) at++;
  const generator = isFunction && text(at) === "*";
  if (generator) at++;
  if (isFunction && tokens[at]?.kind === "name" && (name === "" || isDefault)) {
    name = text(at);
    start = tokens[at].start;
  }
  if (!isFunction && !arrow(tokens, at)) return null;
  if (name === "") return null;
  return { name, start, generator, async: isAsync, parameters: parametersOf(source, tokens, at) };
}

/**
 * Whether the tokens from here are the head of an arrow function.
 * @param {Token[]} tokens
 * @param {number} at
 */
function arrow(tokens, at) {
  if (tokens[at + 1]?.text === "=>") return true;
  if (tokens[at]?.text !== "(") return false;
  const { depth } = tokens[at];
  let close = at + 1;
  while (close < tokens.length && !(tokens[close].text === ")" && tokens[close].depth === depth)) close++;
  return tokens[close + 1]?.text === "=>";
}
