//! Types as JSDoc spells them, as types of ports: `number[]` is `list<float>`. Does not know functions or files: who asks resolves names.

/** A type that no port has, or no type at all. */
export class Untypable extends Error {
  /**
   * @param {string} message
   * @param {number} at where in the text
   */
  constructor(message, at) {
    super(message);
    this.at = at;
  }
}

/**
 * @typedef {{kind: string, of?: Shape, fields?: Map<string, Field>, names?: string[], members?: Shape[], text?: string}} Shape
 * `kind` is a word of the flow's types, or `union`, `literal` (one text), `void`, or `parts`: a record that no value is, for some of its
 * members may be missing or are no values.
 * @typedef {{shape: Shape, optional: boolean, doc: string}} Field
 * @typedef {(name: string, from: string | null, at: number) => Shape | null} Resolve
 */

const simple = (/** @type {string} */ kind) => () => ({ kind });
/** @type {Record<string, () => Shape>} */
const NAMES = {
  number: simple("float"), integer: simple("int"), int: simple("int"), float: simple("float"), string: simple("str"),
  boolean: simple("bool"), null: simple("null"), undefined: simple("void"), void: simple("void"), any: simple("any"),
  unknown: simple("any"), object: () => ({ kind: "map", of: { kind: "any" } }), Object: () => ({ kind: "map", of: { kind: "any" } }),
  true: simple("bool"), false: simple("bool"), Uint8Array: simple("bytes"), Buffer: simple("bytes"),
  Tensor: () => ({ kind: "tensor", text: "tensor<any>" }), Table: simple("table"), Image: simple("image"), File: simple("file"),
  Dir: simple("dir"), Color: simple("color"),
};
NAMES.String = NAMES.string;
NAMES.Number = NAMES.number;
NAMES.Boolean = NAMES.boolean;
const ARRAYS = {
  Int8Array: "i8", Int16Array: "i16", Int32Array: "i32", Uint16Array: "u16", Uint32Array: "u32", BigInt64Array: "i64",
  BigUint64Array: "u64", Float32Array: "f32", Float64Array: "f64",
};
for (const [name, dtype] of Object.entries(ARRAYS)) NAMES[name] = () => ({ kind: "tensor", text: `tensor<${dtype},[n]>` });
const LISTS = new Set(["Array", "ReadonlyArray", "Iterable"]);
const MAPS = new Set(["Object", "Record"]);
/** What only results are, and what is taken out of them. */
const RESULTS = new Set(["Promise", "Generator", "AsyncGenerator", "Iterator", "AsyncIterator", "AsyncIterable", "IterableIterator", "AsyncIterableIterator"]);
const NO_VALUES = new Set(["tensor", "table", "image", "file", "dir"]);
const DEEPEST = 24;

class Parser {
  at = 0;
  depth = 0;

  /**
   * @param {string} text
   * @param {Resolve} resolve
   */
  constructor(text, resolve) {
    this.text = text;
    this.resolve = resolve;
  }

  blank() {
    while (/\s/.test(this.text.charAt(this.at))) this.at++;
  }

  /** @param {string} mark */
  has(mark) {
    this.blank();
    if (!this.text.startsWith(mark, this.at)) return false;
    this.at += mark.length;
    return true;
  }

  /** @param {string} mark */
  need(mark) {
    if (!this.has(mark)) this.fail(`expected \`${mark}\` in the type \`${this.text.trim()}\``);
  }

  /** @param {RegExp} pattern sticky */
  match(pattern) {
    this.blank();
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  /**
   * @param {string} message
   * @returns {never}
   */
  fail(message, at = this.at) {
    throw new Untypable(message, at);
  }

  /** @returns {Shape} */
  type() {
    if (++this.depth > DEEPEST) this.fail("the type is nested too deep");
    const start = this.at;
    this.has("|");
    const members = [this.one()];
    while (this.has("|")) members.push(this.one());
    this.depth--;
    try {
      return union(members);
    } catch {
      return this.fail(`no port is \`${this.text.slice(start, this.at).trim()}\`: unions are of values`, start);
    }
  }

  /** @returns {Shape} */
  one() {
    if (this.has("?")) return union([this.one(), { kind: "null" }]);
    this.has("!");
    this.match(/readonly\b/y);
    let shape = this.primary();
    while (this.has("[")) {
      this.need("]");
      shape = this.holder("list", shape);
    }
    return shape;
  }

  /**
   * @param {"list" | "map"} kind
   * @param {Shape} of
   * @returns {Shape}
   */
  holder(kind, of) {
    if (NO_VALUES.has(of.kind)) this.fail(`a ${kind} holds values, not what \`${spelled(of)}\` is`);
    return { kind, of };
  }

  /** @returns {Shape} */
  primary() {
    const start = this.at;
    if (this.match(/(?=\((?:[^()]|\([^()]*\))*\)\s*=>)/y)) this.fail("a function is no value of a port", start);
    if (this.has("(")) {
      const shape = this.type();
      this.need(")");
      return shape;
    }
    if (this.has("{")) return this.members();
    if (this.has("*")) return { kind: "any" };
    if (this.has("[")) return this.tuple();
    const text = this.match(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'/y);
    if (text) return { kind: "literal", text: text[1] ?? text[2] };
    const number = this.match(/-?\d+(\.\d+)?/y);
    if (number) return { kind: number[1] ? "float" : "int" };
    return this.named();
  }

  /** @returns {Shape} */
  named() {
    this.blank();
    const start = this.at;
    const from = this.match(/import\(\s*(?:"([^"]*)"|'([^']*)')\s*\)\s*\./y);
    const name = this.match(/[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*/y)?.[0];
    if (name === undefined) this.fail(`\`${this.text.trim()}\` is no type`);
    if (this.has(".<")) this.at--;
    /** @type {Shape[]} */
    const of = [];
    if (this.has("<")) {
      do of.push(this.type()); while (this.has(","));
      this.need(">");
    }
    if (this.match(/(?=\()/y) || name === "Function") this.fail("a function is no value of a port", start);
    const module = from ? from[1] ?? from[2] : null;
    const own = this.resolve(name, module, start);
    if (own !== null) return own;
    if (of.length > 0 && LISTS.has(name)) return this.holder("list", of[0]);
    if (of.length > 0 && RESULTS.has(name)) return name === "Promise" ? of[0] : this.holder("list", of[0]);
    if (of.length === 2 && MAPS.has(name)) {
      const keys = of[0].kind === "str" || of[0].kind === "enum" || of[0].kind === "literal";
      return keys ? this.holder("map", of[1]) : this.fail(`the keys of \`${name}\` are texts`, start);
    }
    if (name === "Array") return { kind: "list", of: { kind: "any" } };
    if (Object.hasOwn(NAMES, name)) return NAMES[name]();
    const help = name === "bigint" || name === "BigInt" ? ": whole numbers are `integer`" : "";
    return this.fail(`\`${name}\` is the type of no port${help}`, start);
  }

  /** @returns {Shape} */
  members() {
    /** @type {Map<string, Field>} */
    const fields = new Map();
    while (!this.has("}")) {
      const index = this.match(/\[\s*\w+\s*:\s*string\s*\]\s*:/y);
      if (index) {
        const shape = this.holder("map", this.type());
        this.match(/[;,]/y);
        this.need("}");
        return shape;
      }
      this.match(/readonly\s+(?=[\w$"'])/y);
      const name = this.match(/[A-Za-z_$][\w$]*/y)?.[0];
      if (name === undefined) return this.fail("expected the name of a member");
      const optional = this.has("?");
      const shape = this.has(":") ? this.type() : { kind: "any" };
      fields.set(name, { shape, optional, doc: "" });
      if (!this.match(/[;,]/y)) {
        this.need("}");
        break;
      }
    }
    return { kind: "record", fields };
  }

  /** @returns {Shape} */
  tuple() {
    const members = [];
    while (!this.has("]")) {
      this.match(/[A-Za-z_$][\w$]*\??\s*:/y);
      members.push(this.type());
      if (!this.has(",")) {
        this.need("]");
        break;
      }
    }
    return this.holder("list", members.length === 0 ? { kind: "any" } : union(members));
  }
}

/**
 * One of these; texts among them are the names of an enum.
 * @param {Shape[]} all
 * @returns {Shape}
 */
export function union(all) {
  const flat = all.flatMap((shape) => (shape.kind === "union" ? shape.members ?? [] : [shape]));
  const texts = flat.filter(({ kind }) => kind === "literal" || kind === "enum");
  const names = [...new Set(texts.flatMap(({ names, text }) => names ?? [text ?? ""]))];
  /** @type {Map<string, Shape>} */
  const members = new Map();
  for (const shape of flat) {
    if (shape.kind === "literal" || shape.kind === "enum") continue;
    const is = shape.kind === "void" && flat.length > 1 ? { kind: "null" } : shape;
    members.set(spelled(is), is);
  }
  if (names.length > 0) {
    const shape = { kind: "enum", names };
    members.set(spelled(shape), shape);
  }
  const list = [...members.values()];
  if (list.length === 1) return list[0];
  if (list.some(({ kind }) => NO_VALUES.has(kind))) throw new TypeError("no union");
  return list.some(({ kind }) => kind === "any") ? { kind: "any" } : { kind: "union", members: list };
}

/**
 * The type of a port, as flows spell it.
 * @param {Shape} shape
 * @returns {string}
 */
export function spelled(shape) {
  const { kind, of, fields, names, members, text } = shape;
  if (kind === "list" || kind === "map") return `${kind}<${of ? spelled(of) : "any"}>`;
  if (kind === "record") {
    const inner = [...(fields ?? [])].map(([name, field]) => `${name}:${spelled(field.shape)}`);
    return `record{${inner.sort().join(",")}}`;
  }
  // Other texts can't be spelled as names.
  if (kind === "enum") return names?.every((name) => /^\w+$/.test(name)) ? `enum{${names.join(",")}}` : "str";
  if (kind === "union") {
    const parts = (members ?? []).map(spelled).filter((part) => part !== "null").sort();
    return [...new Set(parts), ...(parts.length < (members ?? []).length ? ["null"] : [])].join("|");
  }
  if (kind === "void") return "null";
  if (kind === "literal") return spelled({ kind: "enum", names: [text ?? ""] });
  return text ?? kind;
}

const SCHEMAS = {
  null: { type: "null" }, void: { type: "null" }, bool: { type: "boolean" }, int: { type: "integer" }, float: { type: "number" },
  str: { type: "string" }, color: { type: "string", format: "color" },
};

/**
 * Its JSON Schema.
 * @param {Shape} shape
 * @returns {Record<string, unknown>}
 */
export function schemaOf({ kind, of, fields, names, members, text }) {
  if (kind === "list") return { type: "array", items: of ? schemaOf(of) : {} };
  if (kind === "map") return { type: "object", additionalProperties: of ? schemaOf(of) : {} };
  if (kind === "record") {
    const list = [...(fields ?? [])];
    const properties = Object.fromEntries(list.map(([name, field]) => [name, schemaOf(field.shape)]));
    return { type: "object", properties, required: list.map(([name]) => name), additionalProperties: false };
  }
  if (kind === "enum" || kind === "literal") return { enum: names ?? [text] };
  if (kind === "union") return { anyOf: (members ?? []).map(schemaOf) };
  return Object.hasOwn(SCHEMAS, kind) ? SCHEMAS[/** @type {keyof typeof SCHEMAS} */ (kind)] : {};
}

/**
 * The type that a text of a comment spells.
 * @param {string} text
 * @param {Resolve} resolve names that the project defines
 * @returns {{shape: Shape, optional: boolean}}
 * @throws {Untypable}
 */
export function parseAnnotation(text, resolve) {
  const parser = new Parser(text, resolve);
  parser.has("...");
  const shape = parser.type();
  const optional = parser.has("=");
  parser.blank();
  if (parser.at !== text.length) parser.fail(`\`${text.trim()}\` is no type`);
  check(shape);
  return { shape, optional };
}

/** @param {Shape} shape */
function check(shape) {
  for (const [name, { shape: inner, optional }] of shape.fields ?? []) {
    if (optional || NO_VALUES.has(inner.kind)) shape.kind = "parts";
    check(inner);
    if (inner.kind === "parts") throw new Untypable(`the member \`${name}\` is of the type of no port`, 0);
  }
  for (const inner of [...(shape.members ?? []), ...(shape.of ? [shape.of] : [])]) {
    check(inner);
    if (inner.kind === "parts") {
      throw new Untypable("a record within another type has no members that may be missing, and holds values", 0);
    }
  }
}
