//! Reading MessagePack strictly: what is not valid, or not canonical where that is asked, is an error.
//! Does not know about types, ports or frames; see `encode.mjs` and `frames.mjs` for those.

import { CANONICAL_NAN, MsgpackError } from "./msgpack-write.mjs";

const I64_MAX = 2n ** 63n - 1n;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** How deep values may nest before the reader gives up; the host has the same limit. */
export const MAX_VALUE_DEPTH = 64;

/**
 * `canonical` refuses anything but the one form that the store accepts; messages need not have it.
 * `depth` is how many containers may nest, `values` how many values there may be in all. `unsigned`
 * lets integers have the full 64 bits without a sign.
 * @typedef {{canonical?: boolean, depth?: number, values?: number, unsigned?: boolean}} Rules
 */

/** Reads MessagePack strictly: no ext, no duplicate keys, no trailing bytes, valid UTF-8. */
class Reader {
  /**
   * @param {Buffer} buffer
   * @param {Required<Rules>} rules
   */
  constructor(buffer, rules) {
    this.buffer = buffer;
    this.rules = rules;
    this.at = 0;
    this.left = rules.values;
  }

  /** @param {number} count */
  take(count) {
    const start = this.at;
    if (count > this.buffer.length - start) throw new MsgpackError("unexpected end of data", "truncated_body");
    this.at = start + count;
    return start;
  }

  /** @param {boolean} shortest */
  demand(shortest) {
    if (this.rules.canonical && !shortest) throw new MsgpackError("not in shortest form");
  }

  /** @param {bigint} wide */
  integer(wide) {
    if (!this.rules.unsigned && wide > I64_MAX) {
      throw new MsgpackError(`\`${wide}\` does not fit a signed 64-bit integer`);
    }
    const exact = wide >= BigInt(Number.MIN_SAFE_INTEGER) && wide <= BigInt(Number.MAX_SAFE_INTEGER);
    return exact ? Number(wide) : wide;
  }

  /** @param {number} depth nesting still allowed */
  value(depth) {
    if (this.left-- <= 0) throw new MsgpackError(`more than ${this.rules.values} values`, "too_many_values");
    const tag = this.buffer[this.take(1)];
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.array(tag & 0x0f, depth);
    if (tag < 0xc0) return this.str(tag & 0x1f);
    if (tag >= 0xe0) return tag - 256;
    return this.tagged(tag, depth);
  }

  /**
   * @param {number} tag
   * @param {number} depth
   */
  tagged(tag, depth) {
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.bin(this.size(1, 0));
      case 0xc5: return this.bin(this.size(2, 0x100));
      case 0xc6: return this.bin(this.size(4, 0x10000));
      case 0xca: return this.single();
      case 0xcb: return this.double();
      case 0xcc: return this.size(1, 0x80);
      case 0xcd: return this.size(2, 0x100);
      case 0xce: return this.size(4, 0x10000);
      case 0xcf: return this.unsigned();
      case 0xd0: return this.signed(1, -32);
      case 0xd1: return this.signed(2, -0x80);
      case 0xd2: return this.signed(4, -0x8000);
      case 0xd3: return this.long();
      case 0xd9: return this.str(this.size(1, 32));
      case 0xda: return this.str(this.size(2, 0x100));
      case 0xdb: return this.str(this.size(4, 0x10000));
      case 0xdc: return this.array(this.size(2, 16), depth);
      case 0xdd: return this.array(this.size(4, 0x10000), depth);
      case 0xde: return this.map(this.size(2, 16), depth);
      case 0xdf: return this.map(this.size(4, 0x10000), depth);
      default: throw new MsgpackError(`byte 0x${tag.toString(16)} is not allowed here`, tag === 0xc1 ? "reserved_byte" : "ext_type");
    }
  }

  /**
   * @param {1 | 2 | 4} width
   * @param {number} least smallest number that needs this width
   */
  size(width, least) {
    const value = this.buffer.readUIntBE(this.take(width), width);
    this.demand(value >= least);
    return value;
  }

  /**
   * @param {1 | 2 | 4} width
   * @param {number} below numbers from here up have a shorter form
   */
  signed(width, below) {
    const value = this.buffer.readIntBE(this.take(width), width);
    this.demand(value < below);
    return value;
  }

  unsigned() {
    const value = this.buffer.readBigUInt64BE(this.take(8));
    this.demand(value > 0xffffffffn);
    return this.integer(value);
  }

  long() {
    const value = this.buffer.readBigInt64BE(this.take(8));
    this.demand(value < -0x80000000n);
    return this.integer(value);
  }

  single() {
    this.demand(false);
    return this.buffer.readFloatBE(this.take(4));
  }

  double() {
    const start = this.take(8);
    const value = this.buffer.readDoubleBE(start);
    if (Number.isNaN(value)) {
      this.demand(CANONICAL_NAN.equals(this.buffer.subarray(start, start + 8)));
    }
    return value;
  }

  /** @param {number} length */
  str(length) {
    const start = this.take(length);
    try {
      return UTF8.decode(this.buffer.subarray(start, start + length));
    } catch {
      throw new MsgpackError("text is not valid UTF-8", "invalid_utf8");
    }
  }

  /** @param {number} length */
  bin(length) {
    const start = this.take(length);
    return Buffer.from(this.buffer.subarray(start, start + length));
  }

  /**
   * @param {number} length
   * @param {number} depth
   */
  array(length, depth) {
    this.enter(length, depth);
    const list = [];
    for (let i = 0; i < length; i++) list.push(this.value(depth - 1));
    return list;
  }

  /**
   * @param {number} length
   * @param {number} depth
   */
  map(length, depth) {
    this.enter(length * 2, depth);
    /** @type {Record<string, unknown>} */
    const object = {};
    const seen = new Set();
    let previous = Buffer.alloc(0);
    for (let i = 0; i < length; i++) {
      const start = this.at;
      this.left++; // keys do not count
      const key = this.value(depth - 1);
      if (typeof key !== "string") throw new MsgpackError("a map key is not text", "key_not_text");
      if (seen.has(key)) throw new MsgpackError(`map key \`${key}\` appears twice`, "duplicate_key");
      seen.add(key);
      if (this.rules.canonical) {
        const bytes = Buffer.from(key, "utf8");
        if (i > 0 && Buffer.compare(previous, bytes) > 0) {
          throw new MsgpackError(`map key \`${key}\` is out of order at byte ${start}`);
        }
        previous = bytes;
      }
      setOwn(object, key, this.value(depth - 1));
    }
    return object;
  }

  /**
   * @param {number} values values that must still follow, each at least one byte
   * @param {number} depth
   */
  enter(values, depth) {
    if (depth <= 0) throw new MsgpackError(`nested deeper than ${this.rules.depth}`, "too_deep");
    if (values > this.buffer.length - this.at) throw new MsgpackError("unexpected end of data", "truncated_body");
  }
}

/**
 * Sets an own property, `__proto__` included: the key is data, never a prototype.
 * @param {object} object
 * @param {string} key
 * @param {unknown} value
 */
export function setOwn(object, key, value) {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[key] = value;
  }
}

/**
 * Decodes exactly one value. Integers beyond 2^53-1 arrive as BigInt.
 * @param {Uint8Array} bytes
 * @param {Rules} [rules]
 * @returns {any}
 * @throws {MsgpackError}
 */
export function decode(bytes, rules = {}) {
  const { canonical = false, depth = MAX_VALUE_DEPTH, values = Infinity, unsigned = false } = rules;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = new Reader(buffer, { canonical, depth, values, unsigned });
  const value = reader.value(depth);
  if (reader.at !== buffer.length) throw new MsgpackError("bytes follow the value", "trailing_bytes");
  return value;
}
