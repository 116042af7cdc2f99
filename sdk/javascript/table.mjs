//! Columns and tables in memory, laid out as Arrow lays them out.
//! Does not know files; `arrow-read.mjs` and `arrow-write.mjs` do.

import { ArrowError } from "./arrow-types.mjs";
import { chunkOf, inferType, typeNamed } from "./table-build.mjs";

/** @typedef {import("./arrow-types.mjs").ArrowType} ArrowType */

/**
 * A run of values as one record batch holds it.
 * @typedef {{
 *   length: number,
 *   nulls: number,
 *   validity: Uint8Array | null,
 *   values?: any,
 *   offsets?: Int32Array | BigInt64Array,
 *   bytes?: Uint8Array,
 * }} Chunk
 * `validity` has one bit per value, least significant first, set where there is a value.
 */

const UTF8 = new TextDecoder();
const MS_PER_DAY = 86_400_000;
/** Milliseconds in one unit: seconds, milliseconds, microseconds, nanoseconds. */
const MS = [1000, 1, 1e-3, 1e-6];

/** @param {bigint} wide */
function narrow(wide) {
  const number = Number(wide);
  return Number.isSafeInteger(number) ? number : wide;
}

/**
 * The value at `i` of a chunk, which is not null.
 * @param {ArrowType} type
 * @param {any} chunk
 * @param {number} i
 */
function valueAt(type, chunk, i) {
  switch (type.name) {
    case "bool": return ((chunk.values[i >> 3] >> (i & 7)) & 1) === 1;
    case "utf8":
    case "binary": {
      const part = chunk.bytes.subarray(Number(chunk.offsets[i]), Number(chunk.offsets[i + 1]));
      return type.name === "utf8" ? UTF8.decode(part) : part;
    }
    case "date32": return new Date(chunk.values[i] * MS_PER_DAY);
    case "date64": return new Date(Number(chunk.values[i]));
    case "timestamp": return new Date(Math.floor(Number(chunk.values[i]) * MS[type.unit ?? 1]));
    default: {
      const value = chunk.values[i];
      return typeof value === "bigint" ? narrow(value) : value;
    }
  }
}

/** One named column. Null is `null`; whole numbers of 64 bits are BigInt only where they must be. */
export class Column {
  /**
   * @param {string} name
   * @param {ArrowType} type
   * @param {Chunk[]} chunks
   * @param {{values: Column, index: ArrowType} | null} dictionary for a column of indices: what
   *   they point at
   */
  constructor(name, type, chunks, dictionary = null) {
    this.name = name;
    this.type = type;
    this.chunks = chunks;
    this.dictionary = dictionary;
    this.length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    this.nullCount = chunks.reduce((sum, chunk) => sum + chunk.nulls, 0);
  }

  /**
   * The value in row `i`; `undefined` outside the table.
   * @param {number} i
   * @returns {any}
   */
  get(i) {
    if (!(i >= 0 && i < this.length)) return undefined;
    let at = i;
    for (const chunk of this.chunks) {
      if (at < chunk.length) return this.#at(chunk, at);
      at -= chunk.length;
    }
    return undefined;
  }

  /**
   * @param {Chunk} chunk
   * @param {number} i
   */
  #at(chunk, i) {
    if (this.type.layout === "null") return null;
    if (chunk.validity !== null && ((chunk.validity[i >> 3] >> (i & 7)) & 1) === 0) return null;
    if (this.dictionary !== null) return this.dictionary.values.get(Number(chunk.values[i]));
    return valueAt(this.type, chunk, i);
  }

  *[Symbol.iterator]() {
    for (const chunk of this.chunks) {
      for (let i = 0; i < chunk.length; i++) yield this.#at(chunk, i);
    }
  }

  /** All values in an ordinary array. */
  toArray() {
    if (this.dictionary !== null) return this.#fromDictionary(this.dictionary.values.toArray());
    return [...this];
  }

  /** @param {any[]} words decoded once, not once per row */
  #fromDictionary(words) {
    const all = [];
    for (const chunk of this.chunks) {
      const { length, validity, values } = chunk;
      for (let i = 0; i < length; i++) {
        const valid = validity === null || ((validity[i >> 3] >> (i & 7)) & 1) === 1;
        all.push(valid ? words[Number(values[i])] : null);
      }
    }
    return all;
  }

  /**
   * The values as a typed array, raw: dates are days, timestamps their unit, nulls anything.
   * A view of the file where the column is in one piece; `null` for text, booleans, dictionaries.
   */
  get values() {
    if (this.type.layout !== "fixed" || this.dictionary !== null) return null;
    if (this.chunks.length === 1) return this.chunks[0].values;
    const all = new this.type.array(this.length);
    let at = 0;
    for (const chunk of this.chunks) {
      all.set(chunk.values, at);
      at += chunk.length;
    }
    return all;
  }

  /**
   * A column of values in any iterable; typed arrays are taken as they are.
   * @param {string} name
   * @param {any} values
   * @param {string} [type] such as `i64`, `f64`, `utf8`, `date32`; guessed where it is left out
   */
  static from(name, values, type) {
    if (values instanceof Column) return new Column(name, values.type, values.chunks, values.dictionary);
    const list = ArrayBuffer.isView(values) || Array.isArray(values) ? values : [...values];
    const known = type === undefined ? inferType(name, list) : typeNamed(name, type);
    return new Column(name, known, [chunkOf(name, known, list)]);
  }
}

/** Columns of one length. */
export class Table {
  /** @param {Column[]} columns */
  constructor(columns) {
    const rows = columns.length === 0 ? 0 : columns[0].length;
    const names = new Set();
    for (const column of columns) {
      if (column.length !== rows) {
        throw new ArrowError(`column \`${column.name}\` has ${column.length} rows, \`${columns[0].name}\` has ${rows}`);
      }
      if (names.has(column.name)) throw new ArrowError(`column \`${column.name}\` appears twice`);
      names.add(column.name);
    }
    this.columns = columns;
    this.numRows = rows;
  }

  /** Names of the columns, in order. */
  get names() {
    return this.columns.map((column) => column.name);
  }

  /**
   * The column of that name.
   * @param {string} name
   * @returns {Column}
   */
  column(name) {
    const found = this.columns.find((column) => column.name === name);
    if (found === undefined) {
      throw new ArrowError(`no column \`${name}\`; the columns are ${this.names.map((n) => `\`${n}\``).join(", ")}`);
    }
    return found;
  }

  /**
   * Row `i` as an object; `undefined` outside the table.
   * @param {number} i
   * @returns {Record<string, any> | undefined}
   */
  get(i) {
    if (!(i >= 0 && i < this.numRows)) return undefined;
    return Object.fromEntries(this.columns.map((column) => [column.name, column.get(i)]));
  }

  *[Symbol.iterator]() {
    const columns = this.columns.map((column) => column[Symbol.iterator]());
    for (let i = 0; i < this.numRows; i++) {
      yield Object.fromEntries(this.columns.map(({ name }, c) => [name, columns[c].next().value]));
    }
  }

  /** All rows as objects. */
  toArray() {
    const columns = this.columns.map((column) => column.toArray());
    return Array.from({ length: this.numRows }, (_, i) =>
      Object.fromEntries(this.columns.map(({ name }, c) => [name, columns[c][i]])),
    );
  }

  /**
   * A table from `{name: values}`; see {@link Column.from}.
   * @param {Record<string, any>} columns
   * @param {Record<string, string>} [types]
   */
  static fromColumns(columns, types = {}) {
    return new Table(Object.entries(columns).map(([name, values]) => Column.from(name, values, types[name])));
  }

  /**
   * A table from row objects. Columns are the keys of all rows; a key that a row lacks is null.
   * @param {Record<string, any>[]} rows
   * @param {Record<string, string>} [types]
   */
  static fromRows(rows, types = {}) {
    const names = new Set(rows.flatMap((row) => Object.keys(row)));
    return new Table([...names].map((name) => Column.from(name, rows.map((row) => row[name]), types[name])));
  }
}
