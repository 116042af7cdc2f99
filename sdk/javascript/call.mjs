//! A cell that is one call of an exported function: the inputs are its arguments, what it returns the outputs.
//! Does not know the protocol, nor how values are stored.

import process from "node:process";
import { pathToFileURL } from "node:url";

import { ValueError, encode } from "./encode.mjs";
import { Tensor } from "./npy.mjs";
import { parametersOf, portName, tokensOf } from "./tokens.mjs";
import { isValueType, parseType } from "./types.mjs";

/** How many items of a generator are each told; of the others, one in twenty milliseconds. */
const ALWAYS_TOLD = 100;
const PAUSE_MS = 20;

/**
 * The outputs of one call, by port.
 * @param {{module: string, object: string}} call
 * @param {string} file of the module; empty for an installed one
 * @param {Record<string, any>} inputs
 * @param {{inputs: Record<string, {type: string}>, outputs: string[]}} declared
 * @param {any} api
 * @returns {Promise<Record<string, unknown>>}
 */
export async function call({ module: name, object }, file, inputs, declared, api) {
  const found = await import(file === "" ? name : pathToFileURL(file).href);
  const make = Object.hasOwn(found, object) ? found[object] : undefined;
  if (typeof make !== "function") {
    const known = Object.keys(found).filter((key) => typeof found[key] === "function").slice(0, 8);
    const has = known.map((key) => `\`${key}\``).join(", ") || "none";
    throw new Error(`\`${name}\` exports no function \`${object}\`; there are ${has}`);
  }
  const values = Object.fromEntries(
    Object.entries(inputs).map(([port, value]) => [port, argument(port, value, declared.inputs[port].type)]),
  );
  const copies = Object.entries(inputs).flatMap(([port, value]) => {
    const now = bytesOf(value);
    return now ? [{ port, now, before: Buffer.from(now) }] : [];
  });
  const result = await settled(await make(...arranged(make, values, api)), api);
  const changed = copies.find(({ now, before }) => !before.equals(now));
  if (changed) throw new Error(`argument \`${changed.port}\` was changed by the function \`${object}\`: work on a copy`);
  return split(result, declared.outputs, object);
}

/**
 * An input as a function takes it, checked; what is plain data is read-only from here on.
 * @param {string} port
 * @param {any} value
 * @param {string} text its type
 */
function argument(port, value, text) {
  const type = parseType(text);
  // A tensor of one axis is what a JavaScript function calls an array of numbers.
  if (type.kind === "tensor" && type.dtype && type.shape?.length === 1 && value instanceof Tensor) return value.data;
  if (!isValueType(type)) return value;
  try {
    encode(value, type);
  } catch (error) {
    if (error instanceof ValueError) throw new Error(`argument \`${port}\`: ${error.message}`, { cause: error });
    throw error;
  }
  freeze(value);
  return value;
}

/**
 * The memory of what can't be frozen.
 * @param {any} value
 * @returns {Uint8Array | null}
 */
function bytesOf(value) {
  const data = value instanceof Tensor ? value.data : value;
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : null;
}

/**
 * The arguments in the order of the parameters: an input for each name, an object of inputs where it takes one apart, all
 * items of a list for `...rest`, and `polyloom` for the parameter of that name.
 * @param {Function} make
 * @param {Record<string, any>} values
 * @param {any} api
 */
function arranged(make, values, api) {
  const source = Function.prototype.toString.call(make);
  // What is not written in JavaScript, or was bound, does not show its parameters.
  if (/\{\s*\[native code\]\s*\}\s*$/.test(source)) return Object.keys(values).length > 0 ? [values] : [];
  const value = (/** @type {string} */ name) => (Object.hasOwn(values, name) ? values[name] : values[portName(name)]);
  return parametersOf(source, tokensOf(source).tokens).flatMap(({ kind, name, members }) => {
    if (kind === "rest") return value(name) ?? [];
    if (kind !== "members") return [name === "polyloom" ? api : value(name)];
    const given = members.map(({ key }) => [key, value(key)]);
    return [Object.fromEntries(given.filter(([, of]) => of !== undefined))];
  });
}

/**
 * Makes plain data read-only, so that a function that changes its input fails where it does.
 * @param {unknown} value
 */
function freeze(value) {
  const plain = Array.isArray(value) || (value !== null && typeof value === "object" && isPlain(value));
  if (!plain || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const inner of Object.values(/** @type {object} */ (value))) freeze(inner);
}

/** @param {object} value */
function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * The items of a generator as a list, each told as it comes; anything else as it is.
 * @param {any} result
 * @param {any} api
 */
async function settled(result, api) {
  const stream = typeof result?.next === "function" && (result[Symbol.asyncIterator] ?? result[Symbol.iterator]);
  if (!stream) return result;
  const items = [];
  let next = 0;
  for await (const item of result) {
    items.push(item);
    const now = process.uptime() * 1000;
    if (items.length > ALWAYS_TOLD && now < next) continue;
    next = now + PAUSE_MS;
    api.progress(null, `item ${items.length}`);
  }
  return items;
}

/**
 * Exactly the declared outputs.
 * @param {any} result
 * @param {string[]} outputs
 * @param {string} object
 * @returns {Record<string, unknown>}
 */
function split(result, outputs, object) {
  if (outputs.length === 0) {
    if (result !== undefined && result !== null) {
      throw new Error(`\`${object}\` returned a value, and declares no output`);
    }
    return {};
  }
  if (outputs.length === 1 && outputs[0] === "result") return { result: result ?? null };
  if (result === null || typeof result !== "object") {
    const listed = outputs.map((name) => `\`${name}\``).join(", ");
    throw new Error(`\`${object}\` did not return an object with the outputs ${listed}`);
  }
  const given = Object.fromEntries(
    Object.entries(result).map(([name, value]) => [outputs.includes(name) ? name : portName(name), value]),
  );
  const stray = Object.keys(given).find((name) => !outputs.includes(name));
  if (stray !== undefined) throw new Error(`output \`${stray}\` of \`${object}\` is not declared`);
  const missing = outputs.find((name) => given[name] === undefined);
  if (missing !== undefined) throw new Error(`output \`${missing}\` is missing in what \`${object}\` returned`);
  return given;
}
