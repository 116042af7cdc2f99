//! What cells of one session share: the names that each declares at its top level, as names that the later ones find. Does not know the protocol.
//!
//! A cell is a module of its own, and stays one. A function that is appended to it reads and sets its variables, so that later cells share these and not copies; as global
//! names they give way to what a cell declares itself.

import process from "node:process";
import vm from "node:vm";

import { placeOf } from "./errors.mjs";
import { tokensOf } from "./tokens.mjs";

/** The name under which a module hands out its variables. */
export const DOOR = "__polyloom_names";
/** Words after which names are declared. */
const DECLARES = new Set(["let", "const", "var", "function", "class", "import"]);
const PLAIN = /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u;
/** Candidates that are asked about, and names that are offered. */
const MOST = 500;

/**
 * Names that a module's source may declare at its top level; which it does, the engine says.
 * @param {string} source
 * @returns {string[]}
 */
export function candidates(source) {
  const { tokens } = tokensOf(source);
  const found = new Set();
  /** @type {"none" | "one" | "pattern" | "value"} what comes: one name, a pattern, or what is put into it */
  let comes = "none";
  for (const [index, { kind, text, depth, start }] of tokens.entries()) {
    const last = tokens[index - 1];
    const ended = depth === 0 && last !== undefined && last.text !== "," && source.slice(last.start, start).includes("\n");
    if (comes === "value" && ended) comes = "none";
    if (kind === "name" && depth === 0 && DECLARES.has(text)) comes = text === "function" || text === "class" ? "one" : "pattern";
    else if (depth === 0 && (text === ";" || kind === "text")) comes = "none";
    else if (depth === 0 && text === "=" && comes === "pattern") comes = "value";
    else if (depth === 0 && text === "," && comes === "value") comes = "pattern";
    else if (kind === "name" && PLAIN.test(text) && (comes === "one" || comes === "pattern")) {
      found.add(text);
      if (comes === "one") comes = "none";
    }
  }
  return [...found].slice(0, MOST);
}

/**
 * What is appended to a module so that its variables can be reached.
 * @param {string[]} names that it declares
 */
export function door(names) {
  const members = names.map((name) => `get ${name}() { return ${name}; }, set ${name}(value) { ${name} = value; }`);
  return `\n;export function ${DOOR}() { return { ${members.join(", ")} }; }`;
}

/** The state that cells of a session leave to each other. */
export class Session {
  /** @type {Set<string>} names that are there because a cell had them */
  names = new Set();
  /** @type {import("./errors.mjs").Codes} what ran in it, the latest of each file: later cells may fail in there */
  codes = new Map();

  /**
   * What is said of something that was thrown between cells: whose it is.
   * @param {unknown} thrown
   */
  late(thrown) {
    const cell = this.codes.get(placeOf(thrown, this.codes)?.file ?? "")?.cell;
    return cell === undefined ? "" : `that is of cell \`${cell}\`, which was over: its session ends`;
  }
  #globals = Object.getOwnPropertyDescriptors(globalThis);
  #folder = process.cwd();
  #env = { ...process.env };

  /** Forgets what cells have left, as far as a process can: modules that were loaded, and what was changed inside of objects of the engine's, stay. */
  reset() {
    for (const key of Reflect.ownKeys(globalThis)) {
      if (!Object.hasOwn(this.#globals, key)) Reflect.deleteProperty(globalThis, key);
    }
    for (const key of Reflect.ownKeys(this.#globals)) Reflect.defineProperty(globalThis, key, this.#globals[/** @type {any} */ (key)]);
    for (const name of Object.keys(process.env)) if (!Object.hasOwn(this.#env, name)) delete process.env[name];
    Object.assign(process.env, this.#env);
    process.chdir(this.#folder);
    this.names.clear();
    this.codes.clear();
  }

  /**
   * Has later cells find what a module declares.
   * @param {any} module that was linked
   */
  adopt(module) {
    const variables = module?.namespace?.[DOOR]?.();
    if (variables === undefined) return;
    for (const name of Object.keys(variables)) {
      const { get, set } = /** @type {PropertyDescriptor} */ (Object.getOwnPropertyDescriptor(variables, name));
      try {
        get?.call(variables);
      } catch {
        // The cell ended before it: what was there before stays.
        continue;
      }
      if (Reflect.defineProperty(globalThis, name, { get, set, enumerable: true, configurable: true })) this.names.add(name);
    }
  }

  /**
   * What may follow in `code` at a character, and whether the code is still open. Nothing of a cell is run.
   * @param {string} code
   * @param {number | null} [at]
   */
  complete(code, at) {
    const characters = [...code];
    const cursor = Math.min(at ?? characters.length, characters.length);
    const before = characters.slice(0, cursor).join("");
    const [path = ""] = /[\p{ID_Continue}$.]*$/u.exec(before) ?? [];
    const parts = path.split(".");
    const begun = /** @type {string} */ (parts.pop());
    const start = cursor - [...begun].length;
    const matches = parts.length === 0 ? namesOf(globalThis) : namesOf(reach(parts));
    const fits = [...matches].filter((name) => name.startsWith(begun) && name !== DOOR && PLAIN.test(name)).sort();
    return { start, end: cursor, matches: path === "" ? [] : fits.slice(0, MOST), open: isOpen(code) };
  }
}

/**
 * The value that a path of names leads to, as far as that asks nobody's code.
 * @param {string[]} parts
 */
function reach(parts) {
  let value = /** @type {any} */ (globalThis);
  for (const [depth, part] of parts.entries()) {
    if (value === null || value === undefined) return undefined;
    const descriptor = descriptorOf(value, part);
    // Those of the first name are a session's variables, or node's own.
    if (descriptor?.get !== undefined && depth > 0) return undefined;
    try {
      value = descriptor === undefined ? undefined : Reflect.get(Object(value), part);
    } catch {
      return undefined;
    }
  }
  return value;
}

/**
 * @param {any} value
 * @param {string} name
 */
function descriptorOf(value, name) {
  for (let at = Object(value); at !== null; at = Object.getPrototypeOf(at)) {
    const found = Object.getOwnPropertyDescriptor(at, name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** @param {any} value */
function namesOf(value) {
  const names = new Set();
  if (value === null || value === undefined) return names;
  for (let at = Object(value); at !== null; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  return names;
}

/**
 * Whether a module's source breaks off before its end.
 * @param {string} code
 */
function isOpen(code) {
  const error = wrong(code);
  if (error === null) return false;
  if (/^(Unexpected end of input|Unterminated template literal)/.test(error)) return true;
  const brackets = tokensOf(code).tokens.filter(({ kind }) => kind === "mark");
  const count = (/** @type {string} */ marks) => brackets.filter(({ text }) => marks.includes(text)).length;
  return /^missing \) after argument list/.test(error) && count("([{") > count(")]}");
}

/**
 * Why a source is no module; null where it is one.
 * @param {string} source
 */
function wrong(source) {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    // @ts-ignore: present under --experimental-vm-modules
    new vm.SourceTextModule(source);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** Before expressions of these no value is shown: they declare something. */
const STATEMENT = /^\s*(?:async\s+function|function|class|let|const|var|import\s*[\w{*"'])/;
/** Places that are tried for the beginning of the last expression. */
const TRIES = 100;

/**
 * The source so that the value of its last statement is given to `show`, where that is an expression, and the line from 1 that this moves to the right; else as it is.
 * @param {string} source
 * @param {string} show the name of a function
 * @returns {{source: string, moved: import("./errors.mjs").Moved | null}}
 */
export function showing(source, show) {
  const { tokens } = tokensOf(source);
  const tops = tokens.filter(({ depth }) => depth === 0);
  const starts = tops.filter((token, index) => {
    const last = tops[index - 1];
    return last === undefined || last.text === ";" || last.text === "}" || source.slice(last.start, token.start).includes("\n");
  });
  const last = tokens.findLast(({ text }) => text !== ";");
  const end = last === undefined ? 0 : last.start + last.text.length;
  for (const { start } of starts.slice(-TRIES)) {
    const tail = source.slice(start, end);
    if (tail === "" || STATEMENT.test(tail) || wrong(`(${tail}\n)`) !== null) continue;
    const call = `;${show}((`;
    const shown = `${source.slice(0, start)}${call}${tail}\n))`;
    if (wrong(shown) !== null) continue;
    const lines = source.slice(0, start).split("\n");
    return { source: shown, moved: { line: lines.length, from: lines[lines.length - 1].length, by: call.length } };
  }
  return { source, moved: null };
}
