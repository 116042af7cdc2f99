//! Values to canonical MessagePack by their declared type, with errors that say where.
//! Does not know about files, tensors or tables.

import { Float, MAX_VALUE_DEPTH, Writer, isWellFormed, sortedKeys } from "./msgpack.mjs";

/** A value that does not have the type it was declared with. */
export class ValueError extends Error {
  /**
   * @param {string} path where inside the value, such as `.rows[3]`; empty for the whole
   * @param {string} expected
   * @param {string} found
   */
  constructor(path, expected, found) {
    super(`${path === "" ? "" : `at \`${path}\`: `}expected ${expected}, found ${found}`);
    this.name = "ValueError";
    this.path = path;
    this.expected = expected;
    this.found = found;
  }
}

/**
 * What a value is, in the words of a JavaScript author.
 * @param {unknown} value
 * @returns {string}
 */
export function describe(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  switch (typeof value) {
    case "number": return `the number \`${Object.is(value, -0) ? "-0" : value}\``;
    case "bigint": return `the BigInt \`${value}n\``;
    case "string": return `the text \`${value.length > 40 ? `${value.slice(0, 40)}…` : value}\``;
    case "boolean": return `\`${value}\``;
    case "undefined": return "`undefined`";
    case "object": return `an object of class \`${value.constructor?.name ?? "null"}\``;
    default: return `a ${typeof value}`;
  }
}

/**
 * @param {unknown} value
 * @returns {Uint8Array | null}
 */
export function asBytes(value) {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return null;
}

/** @param {unknown} value */
function isPlain(value) {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/**
 * @param {string} path
 * @param {string} key
 */
function child(path, key) {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

class Encoder {
  writer = new Writer();
  /** Objects being written now, so that a cycle is an error and not a stack overflow. */
  open = new Set();

  /**
   * @param {any} value
   * @param {any} type
   * @param {string} path
   */
  value(value, type, path) {
    switch (type.kind) {
      case "null": return this.expect(value == null, value, "null", path, () => this.writer.nil());
      case "bool":
        return this.expect(typeof value === "boolean", value, "a boolean", path, () => this.writer.bool(value));
      case "int":
      case "seed": return this.int(value, path);
      case "float": return this.float(value, path);
      case "str": return this.str(value, path);
      case "bytes": return this.bytes(value, path);
      case "list": return this.list(value, type.of, path);
      case "map": return this.map(value, type, path);
      case "record": return this.record(value, type, path);
      case "enum": return this.enumeration(value, type, path);
      case "vec2": return this.vec2(value, path);
      case "color":
        return this.expect(
          typeof value === "string" && /^#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?$/.test(value),
          value, "a color such as `#rrggbb` or `#rrggbbaa`", path, () => this.writer.str(value.toLowerCase()),
        );
      case "any": return this.any(value, path);
      case "union": return this.union(value, type, path);
      default: throw new ValueError(path, type.text, describe(value));
    }
  }

  /**
   * @param {boolean} fits
   * @param {unknown} value
   * @param {string} expected
   * @param {string} path
   * @param {() => void} write
   */
  expect(fits, value, expected, path, write) {
    if (!fits) throw new ValueError(path, expected, describe(value));
    write();
  }

  /**
   * @param {any} value
   * @param {string} path
   */
  int(value, path) {
    const fits =
      Number.isSafeInteger(value) || (typeof value === "bigint" && BigInt.asIntN(64, value) === value);
    const expected = typeof value === "number" && Number.isInteger(value)
      ? "an int (numbers beyond 2^53-1 must be BigInt)"
      : typeof value === "bigint" ? "an int of 64 bits" : "an int";
    this.expect(fits, value, expected, path, () => this.writer.int(Object.is(value, -0) ? 0 : value));
  }

  /**
   * @param {any} value
   * @param {string} path
   */
  float(value, path) {
    const fits = typeof value === "number" || (typeof value === "bigint" && BigInt(Number(value)) === value);
    this.expect(fits, value, "a number", path, () => this.writer.float(Number(value)));
  }

  /**
   * @param {any} value
   * @param {string} path
   */
  str(value, path) {
    this.expect(typeof value === "string", value, "text", path, () => {
      if (!isWellFormed(value)) throw new ValueError(path, "text", "text with a lone surrogate");
      this.writer.str(value);
    });
  }

  /**
   * @param {any} value
   * @param {string} path
   */
  bytes(value, path) {
    const bytes = asBytes(value);
    if (bytes === null) throw new ValueError(path, "bytes (a Buffer or a typed array)", describe(value));
    this.writer.bin(bytes);
  }

  /**
   * @param {any} value
   * @param {any} of
   * @param {string} path
   */
  list(value, of, path) {
    const isList = Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
    if (!isList) throw new ValueError(path, "a list", describe(value));
    const list = /** @type {ArrayLike<unknown>} */ (value);
    this.inside(value, path, () => {
      this.writer.array(list.length);
      for (let i = 0; i < list.length; i++) this.value(list[i], of, `${path}[${i}]`);
    });
  }

  /**
   * @param {any} value
   * @param {any} type
   * @param {string} path
   */
  map(value, type, path) {
    const source = this.entries(value, "a map (an object or a Map)", path);
    this.inside(value, path, () => {
      this.writer.map(source.size);
      for (const key of sortedKeys(source.keys())) {
        this.str(key, child(path, key));
        this.value(source.get(key), type.of, child(path, key));
      }
    });
  }

  /**
   * @param {any} value
   * @param {any} type
   * @param {string} path
   */
  record(value, type, path) {
    const source = this.entries(value, type.text, path);
    for (const key of source.keys()) {
      if (!type.fields.some((/** @type {any} */ field) => field.name === key)) {
        throw new ValueError(path, type.text, `the unknown field \`${key}\``);
      }
    }
    const types = new Map(type.fields.map((/** @type {any} */ field) => [field.name, field.type]));
    this.inside(value, path, () => {
      this.writer.map(types.size);
      for (const name of sortedKeys(types.keys())) {
        if (!source.has(name)) throw new ValueError(path, `the field \`${name}\``, "no such field");
        this.str(name, path);
        this.value(source.get(name), types.get(name), child(path, name));
      }
    });
  }

  /**
   * @param {any} value
   * @param {any} type
   * @param {string} path
   */
  enumeration(value, type, path) {
    const names = type.names.map((/** @type {string} */ name) => `\`${name}\``).join(", ");
    this.expect(type.names.includes(value), value, `one of ${names}`, path, () => this.writer.str(value));
  }

  /**
   * @param {any} value
   * @param {string} path
   */
  vec2(value, path) {
    const pair = isPlain(value) && "x" in value && "y" in value ? [value.x, value.y] : value;
    const isPair = (Array.isArray(pair) || ArrayBuffer.isView(pair)) && /** @type {any} */ (pair).length === 2;
    if (!isPair) throw new ValueError(path, "a pair of numbers", describe(value));
    this.writer.array(2);
    this.float(pair[0], `${path}[0]`);
    this.float(pair[1], `${path}[1]`);
  }

  /**
   * The first of the types that takes it; a whole number is an int where that is one of them.
   * @param {any} value
   * @param {any} type
   * @param {string} path
   */
  union(value, type, path) {
    const int = (/** @type {any} */ member) => Number(member.kind !== "int");
    const members = [...type.members].sort((a, b) => int(a) - int(b));
    const taken = members.find((member) => {
      try {
        new Encoder().value(value, member, "");
        return true;
      } catch (error) {
        if (error instanceof ValueError) return false;
        throw error;
      }
    });
    if (!taken) throw new ValueError(path, type.text, describe(value));
    this.value(value, taken, path);
  }

  /**
   * @param {any} value
   * @param {string} path
   */
  any(value, path) {
    if (value == null) return this.writer.nil();
    if (typeof value === "boolean") return this.writer.bool(value);
    if (typeof value === "string") return this.str(value, path);
    if (typeof value === "bigint") return this.int(value, path);
    if (typeof value === "number") {
      const whole = Number.isSafeInteger(value) && !Object.is(value, -0);
      return whole ? this.writer.int(value) : this.writer.float(value);
    }
    if (value instanceof Float) return this.writer.float(value.value);
    const any = { kind: "any", text: "any" };
    if (Array.isArray(value)) return this.list(value, any, path);
    if (value instanceof Map || isPlain(value)) return this.map(value, { of: any }, path);
    if (value instanceof Uint8Array || value instanceof ArrayBuffer) return this.bytes(value, path);
    if (ArrayBuffer.isView(value) && !(value instanceof DataView)) return this.list(value, any, path);
    throw new ValueError(path, "a value of plain data", describe(value));
  }

  /**
   * @param {any} value
   * @param {string} expected
   * @param {string} path
   * @returns {Map<string, unknown>}
   */
  entries(value, expected, path) {
    if (value instanceof Map) {
      for (const key of value.keys()) {
        if (typeof key !== "string") throw new ValueError(path, "keys of text", describe(key));
      }
      return value;
    }
    const isObject = typeof value === "object" && value !== null && asBytes(value) === null;
    if (!isObject || Array.isArray(value)) throw new ValueError(path, expected, describe(value));
    return new Map(Object.entries(value));
  }

  /**
   * @param {object} value
   * @param {string} path
   * @param {() => void} write
   */
  inside(value, path, write) {
    if (this.open.has(value)) throw new ValueError(path, "a tree of values", "an object that contains itself");
    if (this.open.size >= MAX_VALUE_DEPTH) {
      throw new ValueError(path, `at most ${MAX_VALUE_DEPTH} levels`, "a deeper value");
    }
    this.open.add(value);
    write();
    this.open.delete(value);
  }
}

/**
 * The canonical bytes of a value of the given type.
 * @param {unknown} value
 * @param {any} type a parsed type, see `types.mjs`
 * @throws {ValueError}
 */
export function encode(value, type) {
  const encoder = new Encoder();
  encoder.value(value, type, "");
  return encoder.writer.finish();
}

/**
 * The canonical bytes of plain data; whole numbers become ints, see {@link Float}.
 * @param {unknown} value
 */
export function encodeAny(value) {
  return encode(value, { kind: "any", text: "any" });
}
