//! One exported function as an entry of the catalog: its ports by the types in its comment, and what is wrong with them.
//! Does not know files but by the project that it asks.

import path from "node:path";

import { Untypable, parseAnnotation, schemaOf, spelled } from "./annotations.mjs";
import { SourceError, placeIn } from "./catalog-modules.mjs";
import { portName } from "./tokens.mjs";

/**
 * @typedef {import("./annotations.mjs").Shape} Shape
 * @typedef {import("./catalog-modules.mjs").Found} Found
 * @typedef {import("./catalog-modules.mjs").Module} Module
 * @typedef {import("./jsdoc.mjs").Tag} Tag
 * @typedef {import("./tokens.mjs").Parameter} Parameter
 * @typedef {{shape: Shape, optional: boolean, fallback: string | null, doc: string}} Said
 * @typedef {{code: string, message: string, place: {line: number, col: number, end_col: number}, help: string | null}} Wrong
 */

/** Words of these tags stand for `@param`. */
const PARAM = new Set(["param", "arg", "argument"]);

export class Reader {
  /** @type {Record<string, object>} the types that the functions use, by `MODULE.NAME` */
  types = {};
  /** @type {Map<string, Shape | null>} null while it is read */
  #shapes = new Map();

  /** @param {import("./catalog-modules.mjs").Project} project */
  constructor(project) {
    this.project = project;
  }

  /**
   * @param {Module} module
   * @param {Found} found
   * @param {boolean} allowUntyped
   * @returns {{entry: Record<string, any>, wrong: Wrong[]}}
   */
  read(module, found, allowUntyped) {
    return new Function(this, module, found, allowUntyped).read();
  }

  /**
   * The type that a text in a module spells.
   * @param {Module} module
   * @param {string} text
   * @param {number} start of the text in the source
   */
  annotation(module, text, start) {
    try {
      return parseAnnotation(text, (name, from) => this.#named(module, name, from));
    } catch (error) {
      if (!(error instanceof Untypable)) throw error;
      const at = start + error.at;
      throw new SourceError("JS002", error.message, placeIn(module.source, at, Math.max(at + 1, start + text.length)));
    }
  }

  /**
   * A type that a comment of the project defines.
   * @param {Module} from
   * @param {string} name
   * @param {string | null} specifier
   * @returns {Shape | null}
   */
  #named(from, name, specifier) {
    if (specifier !== null && !/^\.\.?\//.test(specifier)) return null;
    const file = specifier === null ? from.file : path.join(path.dirname(from.file), specifier);
    if (file.startsWith("../")) return null;
    const module = this.project.module(file);
    const typedef = module.typedefs.get(name);
    if (!typedef) return null;
    const id = `${moduleName(file)}.${name}`;
    const known = this.#shapes.get(id);
    if (known === null) throw new Untypable(`\`${name}\` holds itself: no port is as deep as that`, 0);
    if (known) return known;
    this.#shapes.set(id, null);
    try {
      const shape = this.#defined(module, typedef);
      this.#shapes.set(id, shape);
      this.types[id] = {
        name, module: moduleName(file), kind: shape.fields ? "typedef" : "newtype", type: spelled(shape), schema: schemaOf(shape),
        fields: [...(shape.fields ?? [])].map(([field, { shape: of, doc }]) => ({ name: field, type: spelled(of), doc })),
        doc: typedef.doc, file, line: placeIn(module.source, typedef.tag.start).line,
      };
      return shape;
    } catch (error) {
      this.#shapes.delete(id);
      throw error;
    }
  }

  /**
   * @param {Module} module
   * @param {import("./catalog-modules.mjs").Typedef} typedef
   * @returns {Shape}
   */
  #defined(module, { tag, properties }) {
    if (properties.length === 0) {
      return tag.type === null ? { kind: "any" } : this.annotation(module, tag.type, tag.typeStart).shape;
    }
    const own = properties.filter(({ name }) => !name.includes("."));
    const fields = new Map(own.map((property) => {
      const { shape, optional } = this.annotation(module, property.type ?? "any", property.typeStart);
      return [property.name, { shape, optional: optional || property.optional, doc: property.doc }];
    }));
    const parts = [...fields.values()].some(({ optional }) => optional);
    return { kind: parts ? "parts" : "record", fields };
  }
}

/** @param {string} file */
const moduleName = (file) => file.replace(/\.m?js$/, "");

class Function {
  /** @type {Wrong[]} */
  wrong = [];
  context = false;

  /**
   * @param {Reader} reader
   * @param {Module} module
   * @param {Found} found
   * @param {boolean} allowUntyped
   */
  constructor(reader, module, found, allowUntyped) {
    this.reader = reader;
    this.module = module;
    this.found = found;
    this.allowUntyped = allowUntyped;
    this.tags = found.comment.tags.filter(({ tag }) => PARAM.has(tag));
  }

  read() {
    const { found, module } = this;
    /** @type {object[]} */
    const inputs = [], params = [];
    // A comment names what is taken apart as it likes; those are the names that no parameter has.
    const names = new Set(found.parameters.filter(({ kind }) => kind !== "members").map(({ name }) => name));
    const groups = this.tags.filter(({ name }) => !name.includes(".") && !names.has(name));
    for (const [at, parameter] of found.parameters.entries()) {
      if (parameter.kind === "name" && parameter.name === "polyloom") this.context = true;
      else if (parameter.kind === "members") (at === 0 ? inputs : params).push(...this.members(parameter, groups.shift()));
      else if (parameter.kind === "list") this.tell("JS003", "an array that is taken apart has no name", parameter, "give the parameter a name");
      else inputs.push(...this.port(parameter, this.tagged(parameter.name)));
    }
    const outputs = this.outputs();
    const taken = new Set([...inputs, ...params].map(({ name }) => name));
    for (const { name } of outputs.filter((port) => port !== null && taken.has(port.name))) {
      const at = { start: found.start, name: found.name };
      this.tell("JS006", `\`${name}\` is a parameter and a result of \`${found.name}\``, at, "give one of them another name");
    }
    const { line, col } = placeIn(module.source, found.start);
    const text = found.comment.text.replace(/^Tags:.*$/m, "").trim();
    const tags = /^Tags:(.*)$/m.exec(found.comment.text)?.[1].split(",").map((tag) => tag.trim()).filter(Boolean) ?? [];
    const name = found.object === "default" ? found.name : found.object;
    const words = portName(name).replaceAll("_", " ");
    const entry = {
      module: moduleName(module.file), title: words.charAt(0).toUpperCase() + words.slice(1), category: moduleName(module.file),
      doc: text, file: module.file, line, col, tags, async: found.async, generator: found.generator, context: this.context,
      inputs, params, outputs,
    };
    return { entry, wrong: this.wrong };
  }

  /**
   * @param {string} code
   * @param {string} message
   * @param {{start: number, name: string}} at
   * @param {string | null} [help]
   */
  tell(code, message, at, help = null) {
    const place = placeIn(this.module.source, at.start, at.start + Math.max(1, at.name.length));
    this.wrong.push({ code, message, place, help });
  }

  /**
   * What a tag says; nothing where it can't be understood, which is told.
   * @param {Tag | undefined} tag
   * @returns {Said | null}
   */
  said(tag) {
    if (!tag || tag.type === null) return null;
    try {
      const { shape, optional } = this.reader.annotation(this.module, tag.type, tag.typeStart);
      return { shape, optional: optional || tag.optional, fallback: tag.fallback, doc: tag.doc };
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      this.wrong.push({ code: error.code, message: error.message, place: error.place, help: error.help });
      return { shape: { kind: "any" }, optional: true, fallback: null, doc: tag.doc };
    }
  }

  /** @param {string} name */
  tagged(name) {
    return this.said(this.tags.find((tag) => tag.name === name));
  }

  /**
   * @param {Parameter} parameter
   * @param {Tag | undefined} group
   */
  members(parameter, group) {
    const fields = group && !/^\s*[oO]bject\s*$/.test(group.type ?? "object") ? this.said(group)?.shape.fields : undefined;
    return parameter.members.flatMap((member) => {
      if (member.kind !== "name") {
        this.tell("JS003", `a member of what \`${this.found.name}\` takes apart has no name`, member, "name each member");
        return [];
      }
      const own = { ...member, name: member.key };
      const field = fields?.get(member.key);
      const said = field ? { ...field, fallback: null } : group ? this.tagged(`${group.name}.${member.key}`) : null;
      return this.port(own, said);
    });
  }

  /**
   * @param {Parameter} parameter
   * @param {Said | null} said
   */
  port(parameter, said) {
    const isRest = parameter.kind === "rest";
    const value = literal(parameter.fallback ?? said?.fallback ?? null);
    const shape = said?.shape ?? inferred(value);
    if (shape === null && !this.allowUntyped) {
      const help = `say \`@param {number} ${parameter.name}\` in a comment \`/** … */\` before the function`;
      this.tell("JS001", `parameter \`${parameter.name}\` of \`${this.found.name}\` has no type`, parameter, help);
    }
    const of = shape ?? { kind: "any" };
    const type = isRest && of.kind !== "list" ? { kind: "list", of } : of;
    const required = !isRest && !(said?.optional ?? false) && parameter.fallback === null;
    const made = this.made(parameter.name, type, parameter, said?.doc ?? "");
    const known = value === undefined || isRest ? {} : { default: value };
    return made ? [{ ...made, required, ...known, variadic: isRest ? "list" : null }] : [];
  }

  /**
   * @param {string} own its name in the source
   * @param {Shape} shape
   * @param {{start: number, name: string}} at
   * @param {string} doc
   */
  made(own, shape, at, doc) {
    const name = portName(own);
    if (!/^[a-z][a-z0-9_]{0,63}$/.test(name)) {
      this.tell("JS003", `\`${own}\` is no name of a port`, at, "valid: letters, digits and `_`, a letter first");
      return null;
    }
    if (shape.kind === "parts" || shape.kind === "void") {
      const message = `\`${own}\` of \`${this.found.name}\` is of the type of no port`;
      this.tell("JS002", message, at, "members that may be missing are `T | null`");
      return null;
    }
    const { line, col } = placeIn(this.module.source, at.start);
    return {
      name, type: spelled(shape), required: true, variadic: null, schema: schemaOf(shape), widget: null, doc, unit: null, line, col,
    };
  }

  outputs() {
    const { found } = this;
    const at = { start: found.start, name: found.name };
    const tag = found.comment.tags.find(({ tag: it }) => it === "returns" || it === "return");
    const yields = found.comment.tags.find(({ tag: it }) => it === "yields" || it === "yield");
    const said = this.said(tag ?? yields);
    if (said === null) {
      if (this.allowUntyped) return [this.made("result", { kind: "any" }, at, "")];
      const help = "say `@returns {number}` in its comment, or `@returns {void}`";
      this.tell("JS001", `the result of \`${found.name}\` has no type`, at, help);
      return [];
    }
    const shape = !tag && yields ? { kind: "list", of: said.shape } : said.shape;
    if (shape.kind === "void") return [];
    const fields = [...(shape.fields ?? [])];
    const isOne = fields.length === 0 || (fields.length === 1 && fields[0][0] === "result");
    if (isOne) return [this.made("result", shape, at, said.doc)].filter(Boolean);
    return fields.flatMap(([name, field]) => {
      if (field.optional) this.tell("JS002", `the result \`${name}\` of \`${found.name}\` may be missing`, at, "a result is always there: `T | null`");
      return this.made(name, field.shape, at, field.doc) ?? [];
    });
  }
}

/**
 * The value that a default spells, where it is plain data.
 * @param {string | null} text
 * @returns {any} undefined for anything else
 */
function literal(text) {
  if (text === null) return undefined;
  const plain = /^'[^'"\\\n]*'$/.test(text) ? `"${text.slice(1, -1)}"` : text.replace(/^([+-]?)\./, "$10.").replace(/(?<=\d)_(?=\d)/g, "");
  try {
    return JSON.parse(plain);
  } catch {
    return undefined;
  }
}

/**
 * The type of a parameter that says only its default, as a type checker takes it.
 * @param {unknown} value
 * @returns {Shape | null}
 */
function inferred(value) {
  const kinds = { number: "float", string: "str", boolean: "bool" };
  const kind = kinds[/** @type {keyof typeof kinds} */ (typeof value)];
  return kind ? { kind } : null;
}
