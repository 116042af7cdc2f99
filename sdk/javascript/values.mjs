//! A cell's inputs as JavaScript values, and its outputs as the files that the host collects.
//! Does not know how the cell is run, nor the protocol's frames.

import fs from "node:fs";
import path from "node:path";

import { Table, readArrow, writeArrow } from "./arrow.mjs";
import { ValueError, asBytes, describe, encode } from "./encode.mjs";
import { hasEntry, readWhole, writeWhole } from "./files.mjs";
import { decode } from "./msgpack.mjs";
import { decodeNpy, encodeNpy } from "./npy.mjs";
import { toTensor } from "./tensor-output.mjs";
import { isValueType, parseType } from "./types.mjs";

/** An input that could not be read, or an output that does not have its declared type. */
export class PortError extends Error {
  /**
   * @param {"input" | "output"} side
   * @param {string} port
   * @param {unknown} cause
   */
  constructor(side, port, cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`${side} \`${port}\`: ${why}`, { cause });
    this.name = "PortError";
    this.port = port;
  }
}

/**
 * @typedef {{type: string, path: string, encoding: string, media?: string | null}} Input
 */

/**
 * The value of an input: plain data, Tensor, Table, Buffer for images, path for files and folders.
 * @param {string} port
 * @param {Input} input
 * @returns {any}
 * @throws {PortError}
 */
export function readInput(port, input) {
  try {
    switch (input.encoding) {
      case "msgpack": return decode(readWhole(input.path), { canonical: true });
      case "npy": return decodeNpy(readWhole(input.path));
      case "arrow": return readArrow(readWhole(input.path));
      case "dir": return input.path;
      case "raw": return parseType(input.type).kind === "image" ? readWhole(input.path) : input.path;
      default: throw new Error(`encoding \`${input.encoding}\` is not known`);
    }
  } catch (error) {
    throw new PortError("input", port, error);
  }
}

/**
 * Writes the value of an output into `folder`, in the form its type is stored in. `undefined`
 * stands for a cell that did not set it; that is right only where it wrote the file itself.
 * @param {string} port
 * @param {string} typeText
 * @param {unknown} value
 * @param {string} folder
 * @throws {PortError}
 */
export function writeOutput(port, typeText, value, folder) {
  try {
    if (value === undefined) {
      if (hasEntry(folder, port)) return;
      throw new Error(
        `expected ${typeText}, but the cell sets no variable \`${port}\` and writes no file of that name`,
      );
    }
    const type = parseType(typeText);
    if (isValueType(type)) writeWhole(folder, `${port}.msgpack`, [encode(value, type)]);
    else if (type.kind === "tensor") writeWhole(folder, `${port}.npy`, encodeNpy(toTensor(value, type)));
    else if (type.kind === "table") writeWhole(folder, `${port}.arrow`, tableParts(value));
    else if (type.kind === "image") writeImage(port, value, folder);
    else if (type.kind === "dir") writeDir(port, value, folder);
    else writeFile(port, value, folder);
  } catch (error) {
    throw new PortError("output", port, error);
  }
}

/** @param {unknown} value */
function tableParts(value) {
  if (value instanceof Table) return writeArrow(value);
  if (Array.isArray(value)) {
    const stray = value.findIndex((row) => row === null || typeof row !== "object" || Array.isArray(row));
    if (stray >= 0) throw new ValueError(`[${stray}]`, "a row (an object)", describe(value[stray]));
    return writeArrow(Table.fromRows(value));
  }
  const bytes = asBytes(value);
  if (bytes !== null) return writeArrow(readArrow(bytes));
  if (typeof value === "object" && value !== null) {
    for (const [name, column] of Object.entries(value)) {
      const isColumn = typeof column === "object" && column !== null && Symbol.iterator in column;
      if (!isColumn) throw new ValueError(`.${name}`, "a column (an array)", describe(column));
    }
    return writeArrow(Table.fromColumns(/** @type {Record<string, any>} */ (value)));
  }
  throw new ValueError("", "a table (Table, array of rows, or object of columns)", describe(value));
}

/** What image files begin with. */
const IMAGES = Object.freeze({
  png: [0x89, 0x50, 0x4e, 0x47], jpg: [0xff, 0xd8, 0xff], gif: [0x47, 0x49, 0x46, 0x38],
});

/**
 * @param {Uint8Array} bytes
 * @returns {string | null} the extension
 */
export function sniffImage(bytes) {
  for (const [extension, magic] of Object.entries(IMAGES)) {
    if (magic.every((byte, i) => bytes[i] === byte)) return extension;
  }
  const head = Buffer.from(bytes.subarray(0, 1024)).toString("latin1");
  if (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") return "webp";
  return /^(?:\u00ef\u00bb\u00bf)?\s*(?:<\?xml[^>]*>|<!--[^]*?-->|<!DOCTYPE[^>]*>|\s)*<svg[\s>]/i.test(head) ? "svg" : null;
}

/**
 * @param {string} port
 * @param {unknown} value bytes, SVG text, or the path of a file
 * @param {string} folder
 */
function writeImage(port, value, folder) {
  let bytes = asBytes(value);
  if (bytes === null && typeof value === "string") {
    bytes = value.trimStart().startsWith("<") ? Buffer.from(value, "utf8") : readWhole(value);
  }
  if (bytes === null) throw new ValueError("", "an image (bytes, SVG text, or a path)", describe(value));
  const extension = sniffImage(bytes);
  if (extension === null) {
    throw new ValueError("", "a PNG, JPEG, GIF, WebP or SVG image", `${bytes.length} bytes of something else`);
  }
  writeWhole(folder, `${port}.${extension}`, [bytes]);
}

/**
 * @param {string} port
 * @param {unknown} value a path, or the content as bytes
 * @param {string} folder
 */
function writeFile(port, value, folder) {
  const bytes = asBytes(value);
  if (bytes !== null) return writeWhole(folder, port, [bytes]);
  const source = asPath(value, "a file (its path, or its content as bytes)");
  if (!fs.statSync(source).isFile()) throw new ValueError("", "a file", `\`${source}\`, which is none`);
  const target = path.join(folder, port + path.extname(source));
  if (path.resolve(source) === path.resolve(target)) return;
  // By way of a hidden name, as for every other output.
  const partial = path.join(folder, `.${port}.partial`);
  fs.copyFileSync(source, partial, fs.constants.COPYFILE_FICLONE);
  fs.renameSync(partial, target);
}

/**
 * @param {string} port
 * @param {unknown} value the path of a folder
 * @param {string} folder
 */
function writeDir(port, value, folder) {
  const source = asPath(value, "a folder (its path)");
  if (!fs.statSync(source).isDirectory()) throw new ValueError("", "a folder", `\`${source}\`, which is none`);
  const target = path.join(folder, port);
  if (path.resolve(source) !== path.resolve(target)) fs.cpSync(source, target, { recursive: true });
}

/**
 * @param {unknown} value
 * @param {string} expected
 */
function asPath(value, expected) {
  if (value instanceof URL) return value.pathname;
  if (typeof value !== "string") throw new ValueError("", expected, describe(value));
  return value;
}
