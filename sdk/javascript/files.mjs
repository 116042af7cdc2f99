//! Whole files in and out: reading into memory that typed arrays may view, writing so that the
//! host never sees half a file. Does not know types.

import fs from "node:fs";
import path from "node:path";

/** One system call reads and writes at most 2 GiB. */
const STEP = 1 << 30;

/**
 * A file's bytes in memory of their own, aligned for every typed array.
 * @param {string} file
 * @returns {Buffer}
 */
export function readWhole(file) {
  const fd = fs.openSync(file, "r");
  try {
    const { size } = fs.fstatSync(fd);
    // Not from the shared pool, whose pieces start anywhere.
    const bytes = Buffer.allocUnsafeSlow(size);
    let at = 0;
    while (at < size) {
      const read = fs.readSync(fd, bytes, at, Math.min(STEP, size - at), at);
      if (read === 0) throw new Error(`\`${file}\` became shorter while it was read`);
      at += read;
    }
    return bytes;
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Writes `parts` one after the other as `name` in `folder`, under a hidden name until it is whole.
 * @param {string} folder
 * @param {string} name
 * @param {Uint8Array[]} parts
 */
export function writeWhole(folder, name, parts) {
  const partial = path.join(folder, `.${name}.partial`);
  const fd = fs.openSync(partial, "w");
  try {
    for (const part of parts) {
      for (let at = 0; at < part.length; ) {
        at += fs.writeSync(fd, part, at, Math.min(STEP, part.length - at));
      }
    }
  } finally {
    fs.closeSync(fd);
  }
  fs.renameSync(partial, path.join(folder, name));
}

/**
 * Whether the cell itself has put something under a port's name: `PORT` or `PORT.EXT`.
 * @param {string} folder
 * @param {string} port
 */
export function hasEntry(folder, port) {
  return fs.readdirSync(folder).some((name) => name === port || name.startsWith(`${port}.`));
}
