//! Seeds of cells against the protocol's golden vectors.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

import { cellSeed } from "../seed.mjs";

const FILE = new URL("../../../protocol/vectors/seeds.json", import.meta.url);

test("seeds of cells are those of every SDK", { skip: !fs.existsSync(FILE) }, () => {
  const { seeds } = JSON.parse(fs.readFileSync(FILE, "utf8"));
  assert.ok(seeds.length >= 12);
  for (const { flow, cell, seed } of seeds) assert.equal(String(cellSeed(BigInt(flow), cell)), seed);
});
