//! What a cell gives for a tensor output, made into a tensor of the declared element type and shape.
//! Does not know files.

import { ValueError, describe } from "./encode.mjs";
import { DTYPES, Tensor, dtypeOf } from "./npy.mjs";

/** Element types that hold every value of the one on the left. */
const WIDENS = Object.freeze({
  bool: ["u8"], u8: ["bool", "i16", "u16", "i32", "u32", "f32", "f64", "i64", "u64"],
  i8: ["i16", "i32", "i64", "f32", "f64"], i16: ["i32", "i64", "f32", "f64"],
  u16: ["i32", "u32", "i64", "u64", "f32", "f64"], i32: ["i64", "f64"], u32: ["i64", "u64", "f64"],
  f32: ["f64"], f64: [], i64: [], u64: [],
});

/**
 * @param {any} value Tensor, `{data, shape}`, typed array, nested arrays or one number
 * @param {{dtype: string | null, shape: string[] | null, text: string}} type
 * @returns {Tensor}
 * @throws {ValueError}
 */
export function toTensor(value, type) {
  const tensor = retyped(asTensor(value, type), type);
  checkShape(tensor.shape, type);
  return tensor;
}

/**
 * @param {any} value
 * @param {{dtype: string | null, text: string}} type
 * @returns {Tensor}
 */
function asTensor(value, type) {
  if (value instanceof Tensor) return value;
  if (ArrayBuffer.isView(value)) {
    if (value instanceof DataView) throw new ValueError("", type.text, describe(value));
    return new Tensor(value);
  }
  if (Array.isArray(value) || typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    return fromNested(value, type.dtype);
  }
  if (typeof value === "object" && value !== null && ArrayBuffer.isView(value.data)) {
    const data = /** @type {any} */ (value.data);
    return new Tensor(data, value.shape ?? [data.length], value.dtype ?? dtypeOf(data));
  }
  throw new ValueError("", `${type.text} (Tensor, typed array or nested arrays)`, describe(value));
}

/**
 * @param {any} value
 * @param {string | null} wanted
 */
function fromNested(value, wanted) {
  const shape = [];
  for (let level = value; Array.isArray(level); level = level[0]) shape.push(level.length);
  /** @type {any[]} */
  const flat = [];
  const walk = (/** @type {any} */ part, /** @type {number} */ axis, /** @type {string} */ path) => {
    if (axis === shape.length) {
      if (!["number", "bigint", "boolean"].includes(typeof part)) throw new ValueError(path, "a number", describe(part));
      flat.push(part);
      return;
    }
    const found = Array.isArray(part) ? `an array of ${part.length}` : describe(part);
    if (!Array.isArray(part) || part.length !== shape[axis]) throw new ValueError(path, `an array of ${shape[axis]}`, found);
    part.forEach((inner, i) => walk(inner, axis + 1, `${path}[${i}]`));
  };
  walk(value, 0, "");
  const dtype = /** @type {keyof typeof DTYPES} */ (wanted ?? guess(flat));
  const data = new DTYPES[dtype].array(flat.length);
  flat.forEach((element, i) => {
    data[i] = elementOf(element, dtype, i);
  });
  return new Tensor(data, shape, dtype);
}

/** @param {any[]} flat */
function guess(flat) {
  if (flat.length > 0 && flat.every((element) => typeof element === "boolean")) return "bool";
  if (flat.some((element) => typeof element === "bigint")) return "i64";
  return "f64";
}

/**
 * @param {any} element
 * @param {keyof typeof DTYPES} dtype
 * @param {number} i
 */
function elementOf(element, dtype, i) {
  if (dtype === "f64" || dtype === "f32") return Number(element);
  const whole = typeof element === "boolean" ? BigInt(element)
    : typeof element === "bigint" || Number.isSafeInteger(element) ? BigInt(element) : null;
  const { array } = DTYPES[dtype];
  const probe = /** @type {any} */ (new array(1));
  const wide = array === BigInt64Array || array === BigUint64Array;
  if (whole !== null) probe[0] = wide ? whole : Number(BigInt.asIntN(53, whole));
  const fits = whole !== null && BigInt(probe[0]) === whole && (dtype !== "bool" || whole <= 1n);
  if (!fits) throw new ValueError(`element ${i}`, dtype, describe(element));
  return probe[0];
}

/**
 * @param {Tensor} tensor
 * @param {{dtype: string | null, text: string}} type
 */
function retyped(tensor, type) {
  const wanted = /** @type {keyof typeof DTYPES | null} */ (type.dtype);
  if (wanted === null || tensor.dtype === wanted) return tensor;
  if (!WIDENS[tensor.dtype].includes(/** @type {never} */ (wanted))) {
    throw new ValueError("", type.text, `elements of type ${tensor.dtype}`);
  }
  const array = /** @type {any} */ (DTYPES[wanted].array);
  if (wanted === "bool" || (wanted === "u8" && tensor.dtype === "bool")) {
    const stray = tensor.data.findIndex((/** @type {number} */ element) => wanted === "bool" && element > 1);
    if (stray >= 0) throw new ValueError(`element ${stray}`, "0 or 1", describe(tensor.data[stray]));
    return new Tensor(tensor.data, tensor.shape, wanted);
  }
  const wide = array === BigInt64Array || array === BigUint64Array;
  const data = wide ? array.from(tensor.data, (/** @type {any} */ element) => BigInt(element)) : new array(tensor.data);
  return new Tensor(data, tensor.shape, wanted);
}

/**
 * Numbers must match; a name stands for any length, but the same one everywhere.
 * @param {number[]} shape
 * @param {{shape: string[] | null, text: string}} type
 */
function checkShape(shape, type) {
  if (type.shape === null || type.shape.includes("...")) return;
  const names = new Map();
  const fits = shape.length === type.shape.length && type.shape.every((length, axis) => {
    if (/^[0-9]+$/.test(length)) return Number(length) === shape[axis];
    if (["?", "*", "_"].includes(length)) return true;
    if (!names.has(length)) names.set(length, shape[axis]);
    return names.get(length) === shape[axis];
  });
  if (!fits) throw new ValueError("", type.text, `shape [${shape.join(",")}]`);
}
