//! A cell's code as an ES module: compiled under its own name, inputs as global names, outputs read
//! from what it declares. Does not know the protocol or how values are stored.

import { createRequire, isBuiltin } from "node:module";
import path from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

import { DOOR, candidates, door, showing } from "./session.mjs";

/** Words that cannot be the name of a variable in a module, but may be the name of a port. */
const RESERVED = new Set((
  "await break case catch class const continue debugger default delete do else enum eval export extends false " +
  "finally for function if implements import in instanceof interface let new null package private protected public " +
  "return static super switch this throw true try typeof var void while with yield arguments"
).split(" "));

/**
 * Compiles `source` so that the variables among `outputs` that it declares can be read afterwards.
 *
 * A module's variables are visible only if they are exported. So the list of outputs is appended as
 * an export list; names that the engine says are not declared, or exported already, are taken
 * out of it again. Nothing is run, the source itself is not changed, lines stay where they are, and
 * names of ports are plain identifiers.
 * @param {string} source
 * @param {string} file
 * @param {string[]} outputs
 * @param {(specifier: string) => Promise<any>} load
 * @param {boolean} [shared] all that it declares, and what sets it, too
 * @returns {any} a vm.SourceTextModule
 * @throws {SyntaxError}
 */
function compile(source, file, outputs, load, shared = false) {
  const declared = shared ? candidates(source) : [];
  const names = [...outputs, ...declared];
  const wanted = new Set(names.filter((name) => !RESERVED.has(name)));
  /** @type {Set<string>} */
  const exportedAlready = new Set();
  const options = {
    identifier: file,
    initializeImportMeta(/** @type {any} */ meta) {
      meta.url = pathToFileURL(file).href;
      meta.filename = file;
      meta.dirname = path.dirname(file);
    },
    importModuleDynamically: load,
  };
  // @ts-ignore: present under --experimental-vm-modules, which the manifest passes
  const { SourceTextModule } = vm;
  for (;;) {
    const exported = wanted.size === 0 ? "" : `\n;export { ${[...wanted].join(", ")} };`;
    try {
      const made = new SourceTextModule(source + exported, options);
      // Exported or not, a module's variables are its own: what it declares is known only now.
      return shared ? new SourceTextModule(source + door([...wanted, ...exportedAlready]), options) : made;
    } catch (error) {
      const message = error instanceof SyntaxError ? error.message : "";
      const name =
        /^Export '(\w+)' is not defined in module$/.exec(message)?.[1] ?? /^Duplicate export of '(\w+)'$/.exec(message)?.[1];
      if (name !== undefined && message.startsWith("Duplicate") && declared.includes(name)) exportedAlready.add(name);
      if (name === undefined || !wanted.delete(name)) {
        // The error of the source alone, which may be closed differently by our list.
        new SourceTextModule(source, options);
        throw error;
      }
    }
  }
}

/**
 * Runs `make` without node's notice that modules in `vm` are experimental.
 * @template T
 * @param {() => T} make
 * @returns {T}
 */
function quietly(make) {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return make();
  } finally {
    process.emitWarning = emitWarning;
  }
}

/**
 * A module that exports the members of `namespace`: what a cell's `import` is linked to.
 * @param {string} identifier
 * @param {any} namespace
 * @returns {any} a vm.SyntheticModule
 */
function synthetic(identifier, namespace) {
  const names = Object.keys(namespace);
  // @ts-ignore: present under --experimental-vm-modules
  return new vm.SyntheticModule(names, function set() {
    // @ts-ignore: `this` is the module
    for (const name of names) this.setExport(name, namespace[name]);
  }, { identifier });
}

/**
 * Makes `value` readable and assignable under a global name; names that the engine guards stay.
 * @param {string} name
 * @param {unknown} value
 */
function setGlobal(name, value) {
  return Reflect.defineProperty(globalThis, name, { value, writable: true, enumerable: true, configurable: true });
}

const ignore = () => {};

/** Has SIGINT be no end of the process. */
export function outliveInterrupts() {
  process.off("SIGINT", ignore);
  process.on("SIGINT", ignore);
}

/** The global function that takes the value of a last expression. */
const SHOW = "__polyloom_show";

/** One cell, from its code to the values of its outputs. */
export class Cell {
  /** @type {any} */
  #module = null;
  /**
   * What the module imports. Node 20 does not keep it itself: a garbage collection before the
   * evaluation takes the wrappers away, which is a crash.
   * @type {any[]}
   */
  #imports = [];
  /** @type {Set<string>} outputs that exist as globals only because we made them */
  #globals = new Set();
  /** @type {import("./errors.mjs").Moved | null} where columns are not the author's */
  moved = null;

  /**
   * `session` is what earlier cells have left, `show` takes the value of the last expression.
   * @param {{file: string, source: string, inputs: Record<string, unknown>, outputs: string[], api: any,
   *   session?: import("./session.mjs").Session | null, show?: ((value: unknown) => void) | null}} exec
   */
  constructor(exec) {
    this.exec = exec;
  }

  /** Compiles the code and its imports; runs nothing of the cell itself. */
  async prepare() {
    const { file, inputs, outputs, api, session = null, show = null } = this.exec;
    const { source, moved } = show === null ? { source: this.exec.source, moved: null } : showing(this.exec.source, SHOW);
    this.moved = moved;
    if (show !== null) setGlobal(SHOW, show);
    const require = createRequire(file);
    setGlobal("require", require);
    setGlobal("polyloom", api);
    for (const name of outputs) {
      // So that `chart = 1` works without a declaration, which a module otherwise forbids.
      if (!(name in globalThis) && setGlobal(name, undefined)) this.#globals.add(name);
      else if (session?.names.has(name)) this.#globals.add(name);
    }
    for (const name of [...Object.keys(inputs), ...this.#globals]) session?.names.add(name);
    for (const [name, value] of Object.entries(inputs)) {
      setGlobal(name, value);
      if (outputs.includes(name)) this.#globals.add(name);
    }
    // Made when it is asked for: to read all members is to ask for `signal`, and then the cell is waited for when it is cancelled.
    /** @type {Promise<any> | null} */
    let own = null;
    const make = async () => {
      const made = quietly(() => synthetic("polyloom", { ...api, default: api }));
      await made.link(() => {});
      await made.evaluate();
      return made;
    };
    const load = async (/** @type {string} */ specifier) =>
      specifier === "polyloom" ? (own ??= make()) : this.#load(specifier, require);
    this.#module = quietly(() => compile(source, file, outputs, load, session !== null));
    await this.#module.link(async (/** @type {string} */ specifier) => {
      const loaded = await load(specifier);
      const linked = specifier === "polyloom" ? loaded : synthetic(specifier, loaded);
      this.#imports.push(linked);
      return linked;
    });
  }

  /** Runs the top level of the code to its end. In a session SIGINT ends what keeps the process busy there. */
  async evaluate() {
    const breakOnSigint = Boolean(this.exec.session);
    try {
      const evaluated = this.#module.evaluate({ breakOnSigint });
      // The engine has put its own handler in the place of ours, and takes it away with the default for it.
      if (breakOnSigint) outliveInterrupts();
      await evaluated;
    } finally {
      this.exec.session?.adopt(this.#module);
    }
  }

  /**
   * The value of an output as it is now: exported or declared at top level, else set on
   * `polyloom.outputs`, else assigned without declaration; `undefined` where none of these.
   * @param {string} name
   */
  output(name) {
    const declared = this.#declared(name);
    if (declared !== undefined) return declared;
    const { outputs } = this.exec.api;
    if (Object.hasOwn(outputs, name)) return outputs[name];
    return this.#globals.has(name) ? Reflect.get(globalThis, name) : undefined;
  }

  /** @param {string} name */
  #declared(name) {
    try {
      const { namespace } = this.#module;
      return (this.exec.session ? namespace[DOOR]()[name] : undefined) ?? namespace[name];
    } catch {
      // Not linked, or declared below the place where the cell ended itself.
      return undefined;
    }
  }

  /**
   * What `import` gives for a specifier in the cell's code.
   * @param {string} specifier
   * @param {NodeRequire} require
   */
  async #load(specifier, require) {
    if (isBuiltin(specifier)) return import(specifier);
    if (/^\.{0,2}\//.test(specifier)) {
      return import(pathToFileURL(path.resolve(path.dirname(this.exec.file), specifier)).href);
    }
    if (/^[a-z]+:/.test(specifier)) return import(specifier);
    return import(pathToFileURL(require.resolve(specifier)).href);
  }
}
