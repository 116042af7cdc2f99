//! What a cell may ask of polyloom: `polyloom.log`, `.progress`, `.display`, `.artifact` and the
//! classes for tensors and tables. Does not know the socket; it gets a function that sends.

import path from "node:path";
import { inspect } from "node:util";

import { Column, Table } from "./arrow.mjs";
import { asBytes, describe } from "./encode.mjs";
import { Float } from "./msgpack.mjs";
import { Tensor, empty } from "./npy.mjs";
import { sniffImage } from "./values.mjs";

const DISPLAY_CAP = 48 << 10;
const TEXT_CAP = 60 << 10;
const LEVELS = ["debug", "info", "warn", "error"];
const MEDIA = Object.freeze({
  png: "image/png", jpg: "image/jpeg", gif: "image/gif", webp: "image/webp", svg: "image/svg+xml",
});

/**
 * Text that fits a frame, cut at a character.
 * @param {unknown} value
 */
function fitting(value) {
  const text = typeof value === "string" ? value : inspect(value);
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length <= TEXT_CAP) return bytes.toString("utf8");
  let end = TEXT_CAP;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return `${bytes.toString("utf8", 0, end)}…`;
}

/**
 * The object that a cell sees as `polyloom`.
 * @param {{
 *   cell: string,
 *   seed: number | bigint | null,
 *   inputs: Record<string, unknown>,
 *   outputs: Record<string, unknown>,
 *   out: string,
 *   signal: () => AbortSignal,
 *   show: (kind: "Log" | "Progress" | "Display", body: Record<string, unknown>) => void,
 *   artifact: (body: Record<string, unknown>) => void,
 * }} exec
 */
export function makeApi(exec) {
  return Object.freeze({
    /** The cell's id. */
    cell: exec.cell,
    /** The cell's seed; `Math.random` already follows it. */
    seed: exec.seed,
    /** All inputs by name, also those whose names are words of JavaScript. */
    inputs: exec.inputs,
    /** Outputs may be set here instead of in a variable. */
    outputs: exec.outputs,

    /** Aborted when the run is cancelled. A cell that asks for it gets time to finish. */
    get signal() {
      return exec.signal();
    },

    /**
     * A line in the run's log; `console.log` goes to stdout instead.
     * @param {string} level debug, info, warn or error
     * @param {unknown} text
     */
    log(level, text) {
      if (!LEVELS.includes(level)) throw new TypeError(`level \`${level}\`; the levels are ${LEVELS.join(", ")}`);
      exec.show("Log", { level, text: fitting(text) });
    },

    /**
     * How far the cell is.
     * @param {number | null} fraction from 0 to 1, null when it cannot be said
     * @param {unknown} [text]
     */
    progress(fraction, text = "") {
      const known = typeof fraction === "number" && Number.isFinite(fraction);
      exec.show("Progress", {
        fraction: known ? new Float(Math.min(1, Math.max(0, fraction))) : null,
        text: fitting(text),
      });
    },

    /**
     * Something to look at: text, or bytes of an image, or bytes with their media type.
     * @param {unknown} value
     * @param {string} [media]
     */
    display(value, media) {
      const bytes = asBytes(value);
      const data = bytes === null ? Buffer.from(fitting(value).toString(), "utf8") : Buffer.from(bytes);
      if (data.length > DISPLAY_CAP) {
        throw new RangeError(`${data.length} bytes are too large to display; at most ${DISPLAY_CAP}, use \`artifact\``);
      }
      const sniffed = sniffImage(data);
      const guessed = sniffed === null ? null : MEDIA[/** @type {keyof typeof MEDIA} */ (sniffed)];
      const fallback = bytes === null ? "text/plain" : "application/octet-stream";
      exec.show("Display", { media: String(media ?? guessed ?? fallback).slice(0, 255), data });
    },

    /**
     * Names a file under `$OUT` as a result besides the declared ones.
     * @param {string} name
     * @param {string} file absolute, or relative to `$OUT`
     * @param {string | null} [media]
     */
    artifact(name, file, media = null) {
      if (typeof name !== "string" || typeof file !== "string") {
        throw new TypeError(`an artifact has a name and a path, found ${describe(name)} and ${describe(file)}`);
      }
      const inside = path.relative(exec.out, path.resolve(exec.out, file));
      if (inside === "" || inside === ".." || inside.startsWith(`..${path.sep}`)) {
        throw new RangeError(`\`${file}\` is not below \`${exec.out}\``);
      }
      exec.artifact({ name, path: inside, media });
    },

    /** A tensor of zeros: `empty([2, 3], "f32")`. */
    empty,
    Tensor,
    Table,
    Column,
    /** Marks a whole number that is to be stored as a float inside `any`. */
    Float,
  });
}

/**
 * A replacement of `Math.random` that a seed determines (xoshiro128** by Blackman and Vigna, its
 * state filled by splitmix64).
 * @param {number | bigint} seed
 */
export function seededRandom(seed) {
  let mix = BigInt.asUintN(64, BigInt(seed));
  const next64 = () => {
    mix = BigInt.asUintN(64, mix + 0x9e3779b97f4a7c15n);
    let z = mix;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return z ^ (z >> 31n);
  };
  const state = new Uint32Array(4);
  for (let i = 0; i < 4; i += 2) {
    const word = next64();
    state[i] = Number(word & 0xffffffffn);
    state[i + 1] = Number(word >> 32n);
  }
  const rotate = (/** @type {number} */ x, /** @type {number} */ by) => (x << by) | (x >>> (32 - by));
  const next32 = () => {
    const result = Math.imul(rotate(Math.imul(state[1], 5), 7), 9) >>> 0;
    const carried = state[1] << 9;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= carried;
    state[3] = rotate(state[3], 11);
    return result;
  };
  return function random() {
    return ((next32() >>> 5) * 0x4000000 + (next32() >>> 6)) / 0x20000000000000;
  };
}
