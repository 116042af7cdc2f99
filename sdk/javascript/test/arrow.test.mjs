//! Arrow files: what we write reads back, views instead of copies, damage is noticed.

import assert from "node:assert/strict";
import test from "node:test";

import { Column, Table, readArrow, writeArrow } from "../arrow.mjs";

const bytesOf = (table) => Buffer.concat(writeArrow(table));
const again = (table) => readArrow(bytesOf(table));

test("columns of every kind survive, with their nulls", () => {
  const columns = {
    whole: [1, -2, null], mixed: [1, 2.5, null], flag: [true, null, false], text: ["a", null, "é😀"],
    day: [new Date(0), null, new Date(86_400_000)], raw: [Buffer.from([1]), null, Buffer.alloc(0)], none: [null, null, null],
    big: [2n ** 62n, 1, null],
  };
  const table = again(Table.fromColumns(columns));
  assert.deepEqual(table.columns.map(({ type }) => type.name), ["i64", "f64", "bool", "utf8", "timestamp", "binary", "null", "i64"]);
  for (const [name, values] of Object.entries(columns)) {
    assert.deepEqual(table.column(name).toArray(), values.map((v) => (v instanceof Uint8Array ? Buffer.from(v) : v)), name);
  }
  assert.deepEqual(table.get(0).text, "a");
  assert.equal(table.get(3), undefined);
  assert.deepEqual([...table], table.toArray());
});

test("typed arrays come back as views of the file", () => {
  const values = Float32Array.of(1, 2, 3);
  const own = Buffer.allocUnsafeSlow(bytesOf(Table.fromColumns({ values })).length);
  bytesOf(Table.fromColumns({ values })).copy(own);
  const column = readArrow(own).column("values");
  assert.deepEqual(column.values, values);
  assert.equal(column.values.buffer, own.buffer);
});

test("declared types are kept and checked", () => {
  const table = again(Table.fromColumns({ d: [new Date("2020-02-03T05:00:00Z")], n: [1, ] }, { d: "date32", n: "u8" }));
  assert.deepEqual(table.columns.map(({ type }) => type.name), ["date32", "u8"]);
  assert.equal(table.get(0).d.toISOString(), "2020-02-03T00:00:00.000Z");
  assert.throws(() => Table.fromColumns({ n: [300] }, { n: "u8" }), /row 0: `300` is not of type u8/);
  assert.throws(() => Table.fromColumns({ n: [1] }, { n: "u7" }), /no type `u7`/);
});

test("several batches are one column", () => {
  const part = (values) => Column.from("n", values).chunks[0];
  const { type } = Column.from("n", [1]);
  const table = new Table([new Column("n", type, [part([1, 2]), part([null, 4])])]);
  assert.deepEqual(table.column("n").toArray(), [1, 2, null, 4]);
  assert.equal(table.column("n").get(3), 4);
  assert.deepEqual(again(table).column("n").toArray(), [1, 2, null, 4]);
});

test("dictionaries are read and written as dictionaries", () => {
  const words = Column.from("w", ["red", "green"]);
  const index = Column.from("w", Int8Array.of(1, 0, 1)).type;
  const column = new Column("w", words.type, Column.from("w", Int8Array.of(1, 0, 1)).chunks, { values: words, index });
  const table = again(new Table([column]));
  assert.deepEqual(table.column("w").toArray(), ["green", "red", "green"]);
  assert.deepEqual([table.get(1).w, table.column("w").dictionary.index.name], ["red", "i8"]);
});

test("empty tables are tables", () => {
  assert.deepEqual([again(Table.fromColumns({ a: [] })).numRows, again(new Table([])).numRows], [0, 0]);
});

test("columns must fit together", () => {
  assert.throws(() => Table.fromColumns({ a: [1], b: [1, 2] }), /`b` has 2 rows, `a` has 1/);
  assert.throws(() => Table.fromColumns({ a: [1, "x"] }), /mixes i64 and utf8/);
  assert.throws(() => Table.fromColumns({ a: [1] }).column("b"), /no column `b`; the columns are `a`/);
});

test("rows may lack keys", () => {
  assert.deepEqual(Table.fromRows([{ a: 1 }, { b: "x" }]).toArray(), [{ a: 1, b: null }, { a: null, b: "x" }]);
});

test("damaged files are refused, never misread", () => {
  const file = bytesOf(Table.fromColumns({ a: [1, 2, null], s: ["x", "yy", null] }));
  for (let length = 0; length < file.length; length++) {
    assert.throws(() => readArrow(file.subarray(0, length)), { name: "ArrowError" }, `${length} bytes`);
  }
  for (let at = 0; at < file.length; at++) {
    const damaged = Buffer.from(file);
    damaged[at] ^= 0xff;
    try {
      readArrow(damaged).toArray();
    } catch (error) {
      assert.ok(["ArrowError", "RangeError"].includes(error.name), `byte ${at}: ${error.stack}`);
    }
  }
});
