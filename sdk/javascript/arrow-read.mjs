//! Reading the Arrow IPC file format, without copying the values.
//! Does not read streams, compressed files or nested types. Format: Arrow's "Columnar Format",
//! "IPC File Format".

import { ArrowError, intType, readType } from "./arrow-types.mjs";
import { TableReader } from "./flatbuf.mjs";
import { Column, Table } from "./table.mjs";

const MAGIC = "ARROW1";
const BLOCK = 24;
const HEADER = Object.freeze({ DictionaryBatch: 2, RecordBatch: 3 });

/**
 * The table in an Arrow IPC file. Columns are views of `bytes`, which must not change any more.
 * @param {Uint8Array} bytes
 * @returns {Table}
 * @throws {ArrowError}
 */
export function readArrow(bytes) {
  try {
    return new FileReader(bytes).table();
  } catch (error) {
    // A damaged file leads the metadata's reader outside the buffer.
    if (error instanceof RangeError) throw new ArrowError("the Arrow file is damaged");
    throw error;
  }
}

class FileReader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = this.file.length - MAGIC.length;
    if (end < 14 || this.file.toString("latin1", 0, 6) !== MAGIC || this.file.toString("latin1", end) !== MAGIC) {
      throw new ArrowError("not an Arrow IPC file");
    }
    const size = this.file.readInt32LE(end - 4);
    if (size <= 0 || size > end - 12) throw new ArrowError("the Arrow file is damaged");
    this.footer = TableReader.root(this.file.subarray(end - 4 - size, end - 4));
    const schema = this.footer.table(1);
    if (schema === null) throw new ArrowError("the Arrow file has no schema");
    if (schema.i16(0) !== 0) throw new ArrowError("big-endian Arrow files are not supported");
    this.fields = schema.tables(1).map(readField);
    /** @type {Map<number, any[]>} dictionary id to its chunks */
    this.dictionaries = new Map();
  }

  table() {
    for (const block of this.blocks(2)) this.dictionary(block);
    const chunks = this.fields.map(() => /** @type {any[]} */ ([]));
    for (const block of this.blocks(3)) {
      const { batch, body } = this.message(block, HEADER.RecordBatch);
      const reader = new BatchReader(batch, body);
      this.fields.forEach((field, i) => chunks[i].push(reader.chunk(field.index ?? field.type)));
    }
    return new Table(this.fields.map((field, i) => this.column(field, chunks[i])));
  }

  /**
   * @param {ReturnType<typeof readField>} field
   * @param {any[]} chunks
   */
  column(field, chunks) {
    if (field.index === null) return new Column(field.name, field.type, chunks);
    const words = new Column(field.name, field.type, this.dictionaries.get(field.id) ?? []);
    return new Column(field.name, field.type, chunks, { values: words, index: field.index });
  }

  /** @param {{at: number, metadata: number, body: number}} block */
  dictionary(block) {
    const { batch: header, body } = this.message(block, HEADER.DictionaryBatch);
    const id = header.i64(0);
    const field = this.fields.find((candidate) => candidate.index !== null && candidate.id === id);
    const batch = header.table(1);
    if (field === undefined || batch === null) throw new ArrowError(`dictionary ${id} belongs to no column`);
    const chunk = new BatchReader(batch, body).chunk(field.type);
    const isDelta = header.u8(2) !== 0;
    this.dictionaries.set(id, isDelta ? [...(this.dictionaries.get(id) ?? []), chunk] : [chunk]);
  }

  /** @param {number} field of the footer */
  blocks(field) {
    const { start, length } = this.footer.vector(field);
    const { view } = this.footer;
    return Array.from({ length }, (_, i) => ({
      at: Number(view.getBigInt64(start + i * BLOCK, true)),
      metadata: view.getInt32(start + i * BLOCK + 8, true),
      body: Number(view.getBigInt64(start + i * BLOCK + 16, true)),
    }));
  }

  /**
   * @param {{at: number, metadata: number, body: number}} block
   * @param {number} expected
   */
  message({ at, metadata, body }, expected) {
    const end = at + metadata + body;
    if (at < 8 || metadata < 8 || body < 0 || !(end <= this.file.length)) throw new ArrowError("the Arrow file is damaged");
    // Before format version 0.15 there was no continuation mark in front of the length.
    const prefix = this.file.readUInt32LE(at) === 0xffffffff ? 8 : 4;
    const message = TableReader.root(this.file.subarray(at + prefix, at + metadata));
    const batch = message.table(2);
    if (message.u8(1) !== expected || batch === null) throw new ArrowError("the Arrow file is damaged");
    return { batch, body: this.file.subarray(at + metadata, end) };
  }
}

/** @param {TableReader} field */
function readField(field) {
  const encoding = field.table(4);
  return {
    name: field.text(0) ?? "",
    type: readType(field),
    id: encoding?.i64(0) ?? -1,
    index: encoding === null ? null : intType(encoding.table(1)),
  };
}

/** Takes the buffers of a batch in order. */
class BatchReader {
  /**
   * @param {TableReader} batch
   * @param {Buffer} body
   */
  constructor(batch, body) {
    if (batch.table(3) !== null) throw new ArrowError("compressed Arrow files are not supported");
    this.view = batch.view;
    this.body = body;
    this.nodes = batch.vector(1);
    this.buffers = batch.vector(2);
    this.nextNode = 0;
    this.nextBuffer = 0;
  }

  /** @param {import("./arrow-types.mjs").ArrowType} type */
  chunk(type) {
    if (this.nextNode >= this.nodes.length) throw new ArrowError("the Arrow file is damaged");
    const node = this.nodes.start + this.nextNode++ * 16;
    const length = Number(this.view.getBigInt64(node, true));
    const nulls = Number(this.view.getBigInt64(node + 8, true));
    if (type.layout === "null") return { length, nulls: length, validity: null };
    const bits = Math.ceil(length / 8);
    const mask = this.buffer(nulls > 0 ? bits : 0);
    const validity = nulls > 0 ? mask : null;
    if (type.layout === "bits") return { length, nulls, validity, values: this.buffer(bits) };
    if (type.layout === "text") {
      const Offsets = type.wide ? BigInt64Array : Int32Array;
      const raw = this.buffer(0);
      // An empty column may come without its one offset.
      const offsets = length === 0 ? new Offsets(1) : this.typed(raw, Offsets, length + 1);
      const bytes = this.buffer(Number(offsets[length]));
      return { length, nulls, validity, offsets, bytes };
    }
    return { length, nulls, validity, values: this.typed(this.buffer(0), type.array, length) };
  }

  /** @param {number} least bytes that it must have */
  buffer(least) {
    if (this.nextBuffer >= this.buffers.length) throw new ArrowError("the Arrow file is damaged");
    const place = this.buffers.start + this.nextBuffer++ * 16;
    const offset = Number(this.view.getBigInt64(place, true));
    const size = Number(this.view.getBigInt64(place + 8, true));
    if (offset < 0 || size < least || !(offset + size <= this.body.length)) throw new ArrowError("the Arrow file is damaged");
    return this.body.subarray(offset, offset + size);
  }

  /**
   * @param {Buffer} bytes
   * @param {any} Typed
   * @param {number} length
   */
  typed(bytes, Typed, length) {
    const size = length * Typed.BYTES_PER_ELEMENT;
    if (size > bytes.length) throw new ArrowError("the Arrow file is damaged");
    const at = bytes.byteOffset;
    if (at % Typed.BYTES_PER_ELEMENT === 0) return new Typed(bytes.buffer, at, length);
    return new Typed(bytes.buffer.slice(at, at + size));
  }
}
