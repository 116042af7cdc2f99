//! From JavaScript values to a column's buffers: guessing the type, filling the bits.
//! Does not know tables or files.

import { ArrowError, TYPES } from "./arrow-types.mjs";

const MS_PER_DAY = 86_400_000;

/**
 * @param {string} column
 * @param {string} name
 */
export function typeNamed(column, name) {
  const type = TYPES[name];
  if (type === undefined) {
    throw new ArrowError(`column \`${column}\`: no type \`${name}\`; the types are ${Object.keys(TYPES).join(", ")}`);
  }
  return type;
}

/** @param {any} value */
function kindOf(value) {
  switch (typeof value) {
    case "number": return Number.isSafeInteger(value) && !Object.is(value, -0) ? "i64" : "f64";
    case "bigint": return "i64";
    case "boolean": return "bool";
    case "string": return "utf8";
    case "object":
      if (value instanceof Date) return "timestamp";
      if (value instanceof Uint8Array) return "binary";
      break;
    default:
  }
  return null;
}

/**
 * The type that holds all of `values`: a typed array's own, else by the values.
 * @param {string} name
 * @param {any} values
 */
export function inferType(name, values) {
  if (ArrayBuffer.isView(values)) {
    const found = Object.values(TYPES).find((type) => type.array !== undefined && values instanceof type.array);
    if (found !== undefined) return found;
    throw new ArrowError(`column \`${name}\`: values of ${values.constructor.name} are not supported`);
  }
  let kind = null;
  for (const value of values) {
    if (value == null) continue;
    const next = kindOf(value);
    if (next === null) throw new ArrowError(`column \`${name}\`: a value of type ${typeof value} has no place in a table`);
    if (kind === null || kind === next) kind = next;
    else if ((kind === "i64" && next === "f64") || (kind === "f64" && next === "i64")) kind = "f64";
    else throw new ArrowError(`column \`${name}\` mixes ${kind} and ${next}`);
  }
  return TYPES[kind ?? "null"];
}

/**
 * @param {any} values
 * @returns {{nulls: number, validity: Uint8Array | null}}
 */
function validityOf(values) {
  let nulls = 0;
  for (let i = 0; i < values.length; i++) if (values[i] == null) nulls++;
  if (nulls === 0) return { nulls, validity: null };
  const validity = new Uint8Array(Math.ceil(values.length / 8));
  for (let i = 0; i < values.length; i++) if (values[i] != null) validity[i >> 3] |= 1 << (i & 7);
  return { nulls, validity };
}

/**
 * The buffers of one column.
 * @param {string} name
 * @param {any} type
 * @param {any} list array or typed array
 * @returns {import("./table.mjs").Chunk}
 */
export function chunkOf(name, type, list) {
  const { length } = list;
  if (ArrayBuffer.isView(list) && type.array !== undefined && list instanceof type.array) {
    return { length, nulls: 0, validity: null, values: list };
  }
  const bad = (/** @type {number} */ i) => {
    throw new ArrowError(`column \`${name}\`, row ${i}: \`${String(list[i])}\` is not of type ${type.name}`);
  };
  if (type.layout === "null") return { length, nulls: length, validity: null };
  const { nulls, validity } = validityOf(list);
  if (type.layout === "bits") {
    const values = new Uint8Array(Math.ceil(length / 8));
    for (let i = 0; i < length; i++) {
      if (list[i] != null && typeof list[i] !== "boolean") bad(i);
      if (list[i]) values[i >> 3] |= 1 << (i & 7);
    }
    return { length, nulls, validity, values };
  }
  if (type.layout === "text") return { length, nulls, validity, ...texts(type, list, bad) };
  const values = new type.array(length);
  for (let i = 0; i < length; i++) {
    if (list[i] != null) values[i] = fixed(type, list[i], () => bad(i));
  }
  return { length, nulls, validity, values };
}

/**
 * @param {any} type
 * @param {any} list
 * @param {(i: number) => never} bad
 */
function texts(type, list, bad) {
  const parts = [];
  const offsets = type.wide ? new BigInt64Array(list.length + 1) : new Int32Array(list.length + 1);
  let total = 0;
  for (let i = 0; i < list.length; i++) {
    const value = list[i];
    if (value != null) {
      const fits = type.name === "utf8" ? typeof value === "string" : value instanceof Uint8Array;
      if (!fits) bad(i);
      const part = type.name === "utf8" ? Buffer.from(value, "utf8") : value;
      parts.push(part);
      total += part.length;
    }
    if (!type.wide && total > 0x7fffffff) throw new ArrowError("more than 2 GiB of text in one column");
    offsets[i + 1] = type.wide ? BigInt(total) : total;
  }
  return { offsets, bytes: Buffer.concat(parts, total) };
}

/**
 * One value as the column's typed array holds it.
 * @param {any} type
 * @param {any} value
 * @param {() => never} bad
 */
function fixed(type, value, bad) {
  const wide = type.array === BigInt64Array || type.array === BigUint64Array;
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) bad();
    if (type.name === "date32") return Math.floor(value.getTime() / MS_PER_DAY);
    if (type.name === "date64" || type.name === "timestamp") return BigInt(value.getTime());
    return bad();
  }
  if (type.name === "f32" || type.name === "f64") {
    if (typeof value !== "number" && typeof value !== "bigint") bad();
    return Number(value);
  }
  const whole = typeof value === "bigint" || Number.isSafeInteger(value);
  if (!whole) return bad();
  const probe = new type.array(1);
  probe[0] = wide ? BigInt(value) : Number(value);
  // A typed array wraps silently what does not fit.
  if (BigInt(probe[0]) !== BigInt(value)) bad();
  return probe[0];
}
