//! Writing the Arrow IPC file format: one record batch, uncompressed, buffers at multiples of 64.
//! Does not know ports. Format: Arrow's "Columnar Format", "IPC File Format".

import { ArrowError, TYPES, writeInt, writeType } from "./arrow-types.mjs";
import { Builder } from "./flatbuf.mjs";
import { chunkOf } from "./table-build.mjs";

const MAGIC = Buffer.from("ARROW1\0\0", "latin1");
const END_OF_STREAM = Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
const V5 = 4;
const ALIGN = 64;
const HEADER = Object.freeze({ Schema: 1, DictionaryBatch: 2, RecordBatch: 3 });

/** @typedef {import("./table.mjs").Column} Column */

const ref = (/** @type {number} */ value) => /** @type {const} */ ({ kind: "ref", value });
const u8 = (/** @type {number} */ value) => /** @type {const} */ ({ kind: "u8", value });
const i16 = (/** @type {number} */ value) => /** @type {const} */ ({ kind: "i16", value });
const i64 = (/** @type {number} */ value) => /** @type {const} */ ({ kind: "i64", value });

/**
 * The parts of an Arrow IPC file, to be written one after the other. Values are not copied where
 * a column is in one piece.
 * @param {import("./table.mjs").Table} table
 * @returns {Uint8Array[]}
 */
export function writeArrow(table) {
  const writer = new FileWriter();
  writer.message(schemaMessage(table.columns), []);
  /** @type {number[][]} */
  const dictionaries = [];
  table.columns.forEach((column, id) => {
    if (column.dictionary === null) return;
    const { values } = column.dictionary;
    const body = new Body();
    body.add(values.type, wholeChunk(values));
    dictionaries.push(writer.message(dictionaryMessage(id, values.length, body), body.parts));
  });
  const body = new Body();
  for (const column of table.columns) {
    body.add(column.dictionary === null ? column.type : column.dictionary.index, wholeChunk(column));
  }
  const batch = writer.message(batchMessage(table.numRows, body), body.parts);
  return writer.finish(table.columns, dictionaries, [batch]);
}

/**
 * A column in one piece.
 * @param {Column} column
 * @returns {import("./table.mjs").Chunk}
 */
function wholeChunk(column) {
  if (column.chunks.length === 1) return column.chunks[0];
  if (column.dictionary === null) {
    const raw = column.type.layout === "fixed" && column.nullCount === 0 ? column.values : null;
    return chunkOf(column.name, column.type, raw ?? rawValues(column));
  }
  const { index, values } = column.dictionary;
  if (values.length > 2 ** 31) throw new ArrowError(`the dictionary of \`${column.name}\` is too large`);
  return chunkOf(column.name, index, rawValues(column));
}

/**
 * Values as the buffers hold them, so that nothing is lost on the way through `Date`.
 * @param {Column} column
 */
function rawValues(column) {
  if (column.type.layout !== "fixed" && column.dictionary === null) return column.toArray();
  const all = [];
  for (const { length, validity, values } of column.chunks) {
    for (let i = 0; i < length; i++) {
      const valid = validity === null || ((validity[i >> 3] >> (i & 7)) & 1) === 1;
      all.push(valid ? values[i] : null);
    }
  }
  return all;
}

/** Collects the buffers of one batch and what the metadata says about them. */
class Body {
  /** @type {Uint8Array[]} */
  parts = [];
  /** @type {number[][]} */
  nodes = [];
  /** @type {number[][]} */
  buffers = [];
  length = 0;

  /**
   * @param {import("./arrow-types.mjs").ArrowType} type
   * @param {import("./table.mjs").Chunk} chunk
   */
  add(type, chunk) {
    this.nodes.push([chunk.length, chunk.nulls]);
    if (type.layout === "null") return;
    this.buffer(chunk.validity ?? new Uint8Array(0));
    if (type.layout === "text") {
      this.buffer(/** @type {Int32Array} */ (chunk.offsets));
      this.buffer(/** @type {Uint8Array} */ (chunk.bytes));
    } else {
      this.buffer(chunk.values);
    }
  }

  /** @param {ArrayBufferView} view */
  buffer(view) {
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    this.buffers.push([this.length, bytes.length]);
    this.parts.push(bytes);
    const padding = (ALIGN - (bytes.length % ALIGN)) % ALIGN;
    if (padding > 0) this.parts.push(new Uint8Array(padding));
    this.length += bytes.length + padding;
  }
}

class FileWriter {
  /** @type {Uint8Array[]} */
  parts = [MAGIC];
  length = MAGIC.length;

  /** @param {Uint8Array} part */
  #push(part) {
    this.parts.push(part);
    this.length += part.length;
  }

  /**
   * Writes a message and returns its entry for the footer: where, metadata size, body size.
   * @param {Buffer} metadata
   * @param {Uint8Array[]} body
   */
  message(metadata, body) {
    const at = this.length;
    // The body starts at a multiple of 64, for readers that map the file.
    const size = Math.ceil((at + 8 + metadata.length) / ALIGN) * ALIGN - at - 8;
    const prefix = Buffer.alloc(8);
    prefix.writeUInt32LE(0xffffffff, 0);
    prefix.writeInt32LE(size, 4);
    this.#push(prefix);
    this.#push(metadata);
    this.#push(new Uint8Array(size - metadata.length));
    const start = this.length;
    for (const part of body) this.#push(part);
    return [at, size + 8, this.length - start];
  }

  /**
   * @param {Column[]} columns
   * @param {number[][]} dictionaries
   * @param {number[][]} batches
   */
  finish(columns, dictionaries, batches) {
    this.#push(END_OF_STREAM);
    const builder = new Builder();
    const schema = writeSchema(builder, columns);
    const dictionaryBlocks = builder.structs(dictionaries);
    const batchBlocks = builder.structs(batches);
    const footer = builder.finish(
      builder.table({ 0: i16(V5), 1: ref(schema), 2: ref(dictionaryBlocks), 3: ref(batchBlocks) }),
    );
    this.#push(footer);
    const tail = Buffer.alloc(10);
    tail.writeInt32LE(footer.length, 0);
    MAGIC.copy(tail, 4, 0, 6);
    this.#push(tail);
    return this.parts;
  }
}

/**
 * @param {Builder} builder
 * @param {Column[]} columns
 */
function writeSchema(builder, columns) {
  const fields = columns.map((column, id) => {
    const name = builder.text(column.name);
    const { union, table } = writeType(builder, column.type);
    const children = builder.tables([]);
    const field = /** @type {Record<number, any>} */ ({
      0: ref(name), 1: u8(1), 2: u8(union), 3: ref(table), 5: ref(children),
    });
    if (column.dictionary !== null) {
      const index = writeInt(builder, column.dictionary.index);
      field[4] = ref(builder.table({ 0: i64(id), 1: ref(index) }));
    }
    return builder.table(field);
  });
  const list = builder.tables(fields);
  return builder.table({ 0: i16(0), 1: ref(list) });
}

/**
 * @param {Builder} builder
 * @param {number} kind
 * @param {number} header
 * @param {number} body
 */
function finishMessage(builder, kind, header, body) {
  return builder.finish(builder.table({ 0: i16(V5), 1: u8(kind), 2: ref(header), 3: i64(body) }));
}

/** @param {Column[]} columns */
function schemaMessage(columns) {
  const builder = new Builder();
  return finishMessage(builder, HEADER.Schema, writeSchema(builder, columns), 0);
}

/**
 * @param {Builder} builder
 * @param {number} rows
 * @param {Body} body
 */
function writeBatch(builder, rows, body) {
  const nodes = builder.structs(body.nodes);
  const buffers = builder.structs(body.buffers);
  return builder.table({ 0: i64(rows), 1: ref(nodes), 2: ref(buffers) });
}

/**
 * @param {number} rows
 * @param {Body} body
 */
function batchMessage(rows, body) {
  const builder = new Builder();
  return finishMessage(builder, HEADER.RecordBatch, writeBatch(builder, rows, body), body.length);
}

/**
 * @param {number} id
 * @param {number} rows
 * @param {Body} body
 */
function dictionaryMessage(id, rows, body) {
  const builder = new Builder();
  const header = builder.table({ 0: i64(id), 1: ref(writeBatch(builder, rows, body)) });
  return finishMessage(builder, HEADER.DictionaryBatch, header, body.length);
}

/** The types a table's columns may be declared with; see {@link TYPES}. */
export const COLUMN_TYPES = Object.keys(TYPES);
