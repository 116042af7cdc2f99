//! The little of FlatBuffers that Arrow's metadata needs: reading tables, building them.
//! Does not know Arrow. Format: the FlatBuffers "internals" page.

/** Reads one table of a buffer; fields are named by their number in the schema. */
export class TableReader {
  /**
   * @param {DataView} view
   * @param {number} at position of the table
   */
  constructor(view, at) {
    this.view = view;
    this.at = at;
    this.vtable = at - view.getInt32(at, true);
    this.vtableSize = view.getUint16(this.vtable, true);
  }

  /**
   * The root table of a buffer.
   * @param {Uint8Array} bytes
   */
  static root(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return new TableReader(view, view.getUint32(0, true));
  }

  /**
   * Position of a field's content, 0 when it is absent.
   * @param {number} field
   */
  position(field) {
    const slot = 4 + field * 2;
    if (slot >= this.vtableSize) return 0;
    const offset = this.view.getUint16(this.vtable + slot, true);
    return offset === 0 ? 0 : this.at + offset;
  }

  /** @param {number} field @param {number} fallback */
  u8(field, fallback = 0) {
    const at = this.position(field);
    return at === 0 ? fallback : this.view.getUint8(at);
  }

  /** @param {number} field @param {number} fallback */
  i16(field, fallback = 0) {
    const at = this.position(field);
    return at === 0 ? fallback : this.view.getInt16(at, true);
  }

  /** @param {number} field @param {number} fallback */
  i32(field, fallback = 0) {
    const at = this.position(field);
    return at === 0 ? fallback : this.view.getInt32(at, true);
  }

  /** @param {number} field */
  i64(field) {
    const at = this.position(field);
    return at === 0 ? 0 : Number(this.view.getBigInt64(at, true));
  }

  /** @param {number} field */
  table(field) {
    const at = this.position(field);
    return at === 0 ? null : new TableReader(this.view, at + this.view.getUint32(at, true));
  }

  /** @param {number} field */
  text(field) {
    const at = this.position(field);
    if (at === 0) return null;
    const start = at + this.view.getUint32(at, true);
    const length = this.view.getUint32(start, true);
    return Buffer.from(this.view.buffer, this.view.byteOffset + start + 4, length).toString("utf8");
  }

  /**
   * Where a vector's elements start, and how many there are.
   * @param {number} field
   */
  vector(field) {
    const at = this.position(field);
    if (at === 0) return { start: 0, length: 0 };
    const start = at + this.view.getUint32(at, true);
    return { start: start + 4, length: this.view.getUint32(start, true) };
  }

  /** @param {number} field */
  tables(field) {
    const { start, length } = this.vector(field);
    return Array.from({ length }, (_, i) => {
      const at = start + i * 4;
      return new TableReader(this.view, at + this.view.getUint32(at, true));
    });
  }
}

/**
 * Builds a buffer from its end to its start, as every FlatBuffers builder does: children first.
 * Positions are counted from the end, since that is where the buffer does not move.
 */
export class Builder {
  #bytes = Buffer.alloc(1024);
  /** First used byte. */
  #head = this.#bytes.length;
  #widest = 1;

  get #offset() {
    return this.#bytes.length - this.#head;
  }

  /**
   * Makes room for `size` bytes such that, after `extra` more, the position is aligned.
   * @param {number} align
   * @param {number} size
   */
  #room(align, size) {
    this.#widest = Math.max(this.#widest, align);
    const padding = (align - ((this.#offset + size) % align)) % align;
    while (this.#head < padding + size) {
      const grown = Buffer.alloc(this.#bytes.length * 2);
      this.#bytes.copy(grown, this.#bytes.length);
      this.#head += this.#bytes.length;
      this.#bytes = grown;
    }
    this.#head -= padding + size;
    return this.#head;
  }

  /** @param {string} text @returns {number} */
  text(text) {
    const utf8 = Buffer.from(text, "utf8");
    // Text ends with a zero byte that does not count.
    const at = this.#room(4, 4 + Math.ceil((utf8.length + 1) / 4) * 4);
    this.#bytes.writeUInt32LE(utf8.length, at);
    utf8.copy(this.#bytes, at + 4);
    return this.#offset;
  }

  /** @param {number[]} targets positions of tables @returns {number} */
  tables(targets) {
    const at = this.#room(4, 4 + targets.length * 4);
    this.#bytes.writeUInt32LE(targets.length, at);
    targets.forEach((target, i) => {
      const place = at + 4 + i * 4;
      this.#bytes.writeUInt32LE(this.#bytes.length - target - place, place);
    });
    return this.#offset;
  }

  /**
   * A vector of structs made of 64-bit numbers.
   * @param {number[][]} structs
   * @returns {number}
   */
  structs(structs) {
    const flat = structs.flat();
    // The elements are aligned to 8, so the length in front of them is not.
    this.#room(8, flat.length * 8);
    flat.forEach((number, i) => this.#bytes.writeBigInt64LE(BigInt(number), this.#head + i * 8));
    const at = this.#room(4, 4);
    this.#bytes.writeUInt32LE(structs.length, at);
    return this.#offset;
  }

  /**
   * A table. Fields left out take the schema's default.
   * @param {Record<number, {kind: "u8" | "i16" | "i32" | "i64" | "ref", value: number}>} fields
   * @returns {number}
   */
  table(fields) {
    const sizes = { u8: 1, i16: 2, i32: 4, i64: 8, ref: 4 };
    const entries = Object.entries(fields)
      .map(([number, field]) => ({ number: Number(number), ...field, size: sizes[field.kind] }))
      .sort((a, b) => b.size - a.size);
    /** @type {number[]} */
    const slots = new Array(entries.reduce((most, e) => Math.max(most, e.number + 1), 0)).fill(0);
    // The table's own first 4 bytes lead to its vtable; 8 keeps the widest field aligned.
    let size = 8;
    for (const entry of entries) {
      slots[entry.number] = size;
      size += entry.size;
    }
    size = Math.ceil(size / 8) * 8;
    const at = this.#room(8, size);
    for (const entry of entries) {
      const place = at + slots[entry.number];
      if (entry.kind === "u8") this.#bytes.writeUInt8(entry.value, place);
      else if (entry.kind === "i16") this.#bytes.writeInt16LE(entry.value, place);
      else if (entry.kind === "i32") this.#bytes.writeInt32LE(entry.value, place);
      else if (entry.kind === "i64") this.#bytes.writeBigInt64LE(BigInt(entry.value), place);
      else this.#bytes.writeUInt32LE(this.#bytes.length - entry.value - place, place);
    }
    const table = this.#offset;
    const vtable = this.#room(2, 4 + slots.length * 2);
    this.#bytes.writeUInt16LE(4 + slots.length * 2, vtable);
    this.#bytes.writeUInt16LE(size, vtable + 2);
    slots.forEach((slot, i) => this.#bytes.writeUInt16LE(slot, vtable + 4 + i * 2));
    const place = this.#bytes.length - table;
    this.#bytes.writeInt32LE(place - vtable, place);
    return table;
  }

  /**
   * The finished buffer, its length a multiple of 8.
   * @param {number} root
   * @returns {Buffer}
   */
  finish(root) {
    const at = this.#room(Math.max(this.#widest, 8), 4);
    this.#bytes.writeUInt32LE(this.#bytes.length - root - at, at);
    return this.#bytes.subarray(this.#head);
  }
}
