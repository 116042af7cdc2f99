//! The seed of a cell, from the flow's seed and the cell's id, as in every language (protocol/SPEC.md, 6.3).
//! Does not know what random numbers are made of it.

import { createHash } from "node:crypto";

/**
 * 0 to 2^63-1, so a bigint.
 * @param {number | bigint} flow the flow's seed, an integer
 * @param {string} cell the cell's id
 */
export function cellSeed(flow, cell) {
  const hash = createHash("sha256").update(`polyloom seed 1\0${BigInt(flow)}\0${cell}`, "utf8");
  return BigInt.asUintN(63, hash.digest().readBigUInt64LE(0));
}
