//! Writing MessagePack in the one canonical form that the store accepts.
//! Does not know about types, ports or frames; see `encode.mjs` and `frames.mjs` for those.

/** A text or a number that MessagePack, or our canonical subset of it, does not allow. */
export class MsgpackError extends Error {
  /**
   * @param {string} message
   * @param {string} [code] a violation's name in the specification of the protocol
   */
  constructor(message, code = "bad_message") {
    super(message);
    this.name = "MsgpackError";
    this.code = code;
  }
}

const I64_MIN = -(2n ** 63n);
const I64_MAX = 2n ** 63n - 1n;
const U64_MAX = 2n ** 64n - 1n;
/** The bytes of the one NaN that is stored. */
export const CANONICAL_NAN = Buffer.from("7ff8000000000000", "hex");

/** A number that is to be written as a float even when it is whole. */
export class Float {
  /** @param {number} value */
  constructor(value) {
    this.value = value;
  }
}

/**
 * Whether every surrogate of `text` has its partner, so that it has a UTF-8 form.
 * (`String.prototype.isWellFormed` needs Node 20.)
 * @param {string} text
 */
export function isWellFormed(text) {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0xd800 || unit > 0xdfff) continue;
    const next = text.charCodeAt(i + 1);
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return false;
    i++;
  }
  return true;
}

/** Appends canonical MessagePack to a growing buffer. */
export class Writer {
  #buffer = Buffer.allocUnsafe(256);
  #length = 0;

  /** @param {number} extra bytes about to be written */
  #room(extra) {
    const need = this.#length + extra;
    if (need > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(need, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, this.#length);
      this.#buffer = grown;
    }
    const at = this.#length;
    this.#length = need;
    return at;
  }

  /** @param {number} byte */
  #byte(byte) {
    const at = this.#room(1);
    this.#buffer[at] = byte;
  }

  /**
   * @param {number} length
   * @param {number} fix first byte of the short form, or -1 where there is none
   * @param {number} fixMax longest length of the short form
   * @param {number} small tag of the 8-bit form, or -1
   * @param {number} medium tag of the 16-bit form; the 32-bit tag is one more
   */
  #head(length, fix, fixMax, small, medium) {
    if (fix >= 0 && length <= fixMax) {
      this.#byte(fix | length);
    } else if (small >= 0 && length <= 0xff) {
      const at = this.#room(2);
      this.#buffer[at] = small;
      this.#buffer[at + 1] = length;
    } else if (length <= 0xffff) {
      const at = this.#room(3);
      this.#buffer[at] = medium;
      this.#buffer.writeUInt16BE(length, at + 1);
    } else if (length <= 0xffffffff) {
      const at = this.#room(5);
      this.#buffer[at] = medium + 1;
      this.#buffer.writeUInt32BE(length, at + 1);
    } else {
      throw new MsgpackError(`length ${length} does not fit MessagePack`);
    }
  }

  nil() {
    this.#byte(0xc0);
  }

  /** @param {boolean} value */
  bool(value) {
    this.#byte(value ? 0xc3 : 0xc2);
  }

  /** @param {number | bigint} value a whole number that fits 64 bits */
  int(value) {
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
      throw new MsgpackError(`\`${value}\` is not an exact integer; use a BigInt`);
    }
    if (typeof value === "bigint") {
      if (value >= -0x80000000n && value <= 0xffffffffn) value = Number(value);
      else return this.#wide(value);
    }
    if (value >= 0) {
      if (value < 0x80) return this.#byte(value);
      if (value <= 0xff) return this.#number(0xcc, 1, value);
      if (value <= 0xffff) return this.#number(0xcd, 2, value);
      if (value <= 0xffffffff) return this.#number(0xce, 4, value);
    } else {
      if (value >= -32) return this.#byte(value & 0xff);
      if (value >= -0x80) return this.#number(0xd0, 1, value & 0xff);
      if (value >= -0x8000) return this.#number(0xd1, 2, value & 0xffff);
      if (value >= -0x80000000) return this.#number(0xd2, 4, value >>> 0);
    }
    return this.#wide(BigInt(value));
  }

  /**
   * @param {number} tag
   * @param {1 | 2 | 4} width
   * @param {number} value
   */
  #number(tag, width, value) {
    const at = this.#room(1 + width);
    this.#buffer[at] = tag;
    this.#buffer.writeUIntBE(value, at + 1, width);
  }

  /** @param {bigint} value */
  #wide(value) {
    if (value < I64_MIN || value > U64_MAX) {
      throw new MsgpackError(`\`${value}\` does not fit 64 bits`);
    }
    const at = this.#room(9);
    this.#buffer[at] = value < 0n ? 0xd3 : 0xcf;
    if (value < 0n) this.#buffer.writeBigInt64BE(value, at + 1);
    else this.#buffer.writeBigUInt64BE(value, at + 1);
  }

  /** @param {number} value */
  float(value) {
    const at = this.#room(9);
    this.#buffer[at] = 0xcb;
    if (Number.isNaN(value)) CANONICAL_NAN.copy(this.#buffer, at + 1);
    else this.#buffer.writeDoubleBE(value, at + 1);
  }

  /** @param {string} value */
  str(value) {
    if (!isWellFormed(value)) throw new MsgpackError("text holds a lone surrogate");
    const size = Buffer.byteLength(value, "utf8");
    this.#head(size, 0xa0, 31, 0xd9, 0xda);
    // First the room: it may replace the buffer.
    const at = this.#room(size);
    this.#buffer.write(value, at, "utf8");
  }

  /** @param {Uint8Array} value */
  bin(value) {
    this.#head(value.length, -1, 0, 0xc4, 0xc5);
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
  }

  /** @param {number} length number of elements that follow */
  array(length) {
    this.#head(length, 0x90, 15, -1, 0xdc);
  }

  /** @param {number} length number of pairs that follow, sorted by key */
  map(length) {
    this.#head(length, 0x80, 15, -1, 0xde);
  }

  /** What has been written. The writer must not be used again. */
  finish() {
    return this.#buffer.subarray(0, this.#length);
  }
}

/**
 * Keys in the one order that canonical maps have: by their UTF-8 bytes.
 * (JavaScript compares UTF-16 units, which differs beyond U+FFFF.)
 * @param {Iterable<string>} keys
 */
export function sortedKeys(keys) {
  const list = [...keys];
  if (list.every((key) => /^[\x00-\x7f]*$/.test(key))) return list.sort();
  return list
    .map((key) => ({ key, bytes: Buffer.from(key, "utf8") }))
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ key }) => key);
}
