//! A cell that is one call of an exported function: the inputs as one object, what it returns as the outputs.
//! Does not know the protocol, nor how values are stored.

import process from "node:process";
import { pathToFileURL } from "node:url";

/** How many items of a generator are each told; of the others, one in twenty milliseconds. */
const ALWAYS_TOLD = 100;
const PAUSE_MS = 20;

/**
 * The outputs of one call, by port: `f({ image, radius }, polyloom)` for inputs `image` and `radius`.
 * @param {{module: string, object: string}} call
 * @param {string} file of the module; empty for an installed one
 * @param {Record<string, unknown>} inputs
 * @param {string[]} outputs the declared ones
 * @param {any} api
 * @returns {Promise<Record<string, unknown>>}
 */
export async function call({ module: name, object }, file, inputs, outputs, api) {
  const found = await import(file === "" ? name : pathToFileURL(file).href);
  const make = Object.hasOwn(found, object) ? found[object] : undefined;
  if (typeof make !== "function") {
    const known = Object.keys(found).filter((key) => typeof found[key] === "function").slice(0, 8);
    const has = known.map((key) => `\`${key}\``).join(", ") || "none";
    throw new Error(`\`${name}\` exports no function \`${object}\`; there are ${has}`);
  }
  for (const value of Object.values(inputs)) freeze(value);
  const result = await settled(await make(inputs, api), api);
  return split(result, outputs, object);
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
  if (outputs.length === 1) return { [outputs[0]]: result ?? null };
  if (result === null || typeof result !== "object") {
    const listed = outputs.map((name) => `\`${name}\``).join(", ");
    throw new Error(`\`${object}\` did not return an object with the outputs ${listed}`);
  }
  const stray = Object.keys(result).find((name) => !outputs.includes(name));
  if (stray !== undefined) throw new Error(`output \`${stray}\` of \`${object}\` is not declared`);
  const missing = outputs.find((name) => result[name] === undefined);
  if (missing !== undefined) throw new Error(`output \`${missing}\` is missing in what \`${object}\` returned`);
  return result;
}
