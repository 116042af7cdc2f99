//! The spelling of types, parsed: `list<record{a:int,b:str}>` and the like, and `int|null`.
//! Does not know about values; `encode.mjs` and `values.mjs` check those against a parsed type.

const VALUES = new Set(["any", "null", "bool", "int", "float", "str", "bytes", "seed", "vec2", "color"]);
const OTHERS = new Set(["table", "image", "file", "dir"]);
const DTYPES = new Set(["bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64"]);

/**
 * @typedef {{kind: string, text: string}} SimpleType
 * @typedef {{kind: "list" | "map", of: Type, text: string}} HolderType
 * @typedef {{kind: "record", fields: {name: string, type: Type}[], text: string}} RecordType
 * @typedef {{kind: "enum", names: string[], text: string}} EnumType
 * @typedef {{kind: "tensor", dtype: string | null, shape: string[] | null, text: string}} TensorType
 * @typedef {{kind: "union", members: Type[], text: string}} UnionType
 * @typedef {SimpleType | HolderType | RecordType | EnumType | TensorType | UnionType} Type
 */

class Parser {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.at = 0;
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
    if (!this.has(mark)) this.fail(`expected \`${mark}\``);
  }

  blank() {
    while (/\s/.test(this.text.charAt(this.at))) this.at++;
  }

  /** @param {RegExp} pattern sticky */
  match(pattern) {
    this.blank();
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) this.fail("unexpected text");
    this.at = pattern.lastIndex;
    return found[0];
  }

  /**
   * @param {string} why
   * @returns {never}
   */
  fail(why) {
    throw new TypeError(`type \`${this.text}\`: ${why} at ${this.at + 1}`);
  }

  /** @returns {Type} */
  type() {
    this.blank();
    const start = this.at;
    const members = [this.one()];
    while (this.has("|")) members.push(this.one());
    return members.length === 1 ? members[0] : { kind: "union", members, text: this.text.slice(start, this.at).trim() };
  }

  /** @returns {Type} */
  one() {
    this.blank();
    const start = this.at;
    const parsed = this.body(this.match(/[A-Za-z][A-Za-z0-9_.:/-]*/y));
    return { ...parsed, text: this.text.slice(start, this.at).trim() };
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  body(name) {
    if (name === "list" || name === "map") {
      if (!this.has("<")) return { kind: name, of: { kind: "any", text: "any" } };
      const of = this.type();
      this.need(">");
      return { kind: name, of };
    }
    if (name === "record") return { kind: name, fields: this.fields() };
    if (name === "enum") return { kind: name, names: this.names() };
    if (name === "tensor") return { kind: name, ...this.tensor() };
    if (VALUES.has(name) || OTHERS.has(name)) return { kind: name };
    // A type that some executor declared: its values are ordinary ones that the host checks.
    return { kind: "any", named: name };
  }

  fields() {
    /** @type {{name: string, type: Type}[]} */
    const fields = [];
    this.need("{");
    while (!this.has("}")) {
      const name = this.match(/[A-Za-z_][A-Za-z0-9_]*/y);
      this.need(":");
      fields.push({ name, type: this.type() });
      if (!this.has(",")) {
        this.need("}");
        break;
      }
    }
    return fields;
  }

  names() {
    /** @type {string[]} */
    const names = [];
    this.need("{");
    while (!this.has("}")) {
      names.push(this.match(/"[^"]*"|[^,{}\s"]+/y).replace(/^"|"$/g, ""));
      if (!this.has(",")) {
        this.need("}");
        break;
      }
    }
    return names;
  }

  tensor() {
    if (!this.has("<")) return { dtype: null, shape: null };
    const dtype = this.match(/[A-Za-z0-9_]+/y);
    if (dtype !== "any" && !DTYPES.has(dtype)) this.fail(`unknown element type \`${dtype}\``);
    /** @type {string[] | null} */
    let shape = null;
    if (this.has(",")) {
      shape = [];
      this.need("[");
      while (!this.has("]")) {
        shape.push(this.match(/[A-Za-z0-9_?*.]+/y));
        if (!this.has(",")) {
          this.need("]");
          break;
        }
      }
    }
    this.need(">");
    return { dtype: dtype === "any" ? null : dtype, shape };
  }
}

/**
 * Parses a type as the flow spells it.
 * @param {string} text
 * @returns {any} a {@link Type}
 * @throws {TypeError} that says where
 */
export function parseType(text) {
  const parser = new Parser(text);
  const type = parser.type();
  parser.blank();
  if (parser.at !== text.length) parser.fail("unexpected text");
  return type;
}

/**
 * Whether values of this type are stored as MessagePack.
 * @param {{kind: string}} type
 */
export function isValueType(type) {
  return VALUES.has(type.kind) || ["list", "map", "record", "enum", "union"].includes(type.kind);
}
