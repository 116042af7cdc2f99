//! Tensors and the `.npy` file: version 1.0, little endian, C order, data at a multiple of 64.
//! Does not know ports or the protocol. Format: numpy's `numpy.lib.format`.

/** Magic and version 1.0. */
const MAGIC = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
const ALIGN = 64;
const MAX_DIMENSIONS = 32;

/** For each element type: numpy's letter, the typed array, bytes. */
export const DTYPES = Object.freeze({
  bool: { npy: "|b1", array: Uint8Array },
  i8: { npy: "|i1", array: Int8Array },
  i16: { npy: "<i2", array: Int16Array },
  i32: { npy: "<i4", array: Int32Array },
  i64: { npy: "<i8", array: BigInt64Array },
  u8: { npy: "|u1", array: Uint8Array },
  u16: { npy: "<u2", array: Uint16Array },
  u32: { npy: "<u4", array: Uint32Array },
  u64: { npy: "<u8", array: BigUint64Array },
  f32: { npy: "<f4", array: Float32Array },
  f64: { npy: "<f8", array: Float64Array },
});

/** A file that is not a tensor, or values that do not make one. */
export class NpyError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "NpyError";
  }
}

/**
 * A dense array: `data` in C order, `shape` in elements, `dtype` as flows spell it.
 * `bool` data are bytes of 0 and 1.
 */
export class Tensor {
  /**
   * @param {any} data typed array
   * @param {number[]} [shape] defaults to one dimension
   * @param {keyof typeof DTYPES} [dtype] defaults to what `data` is
   */
  constructor(data, shape = [data.length], dtype = dtypeOf(data)) {
    const size = shape.reduce((product, length) => product * length, 1);
    if (size !== data.length) {
      throw new NpyError(`shape [${shape}] needs ${size} elements, the data has ${data.length}`);
    }
    this.data = data;
    this.shape = shape;
    this.dtype = dtype;
  }

  /** Number of elements. */
  get size() {
    return this.data.length;
  }

  /**
   * The element at the given indices.
   * @param {...number} indices
   */
  get(...indices) {
    if (indices.length !== this.shape.length) {
      throw new NpyError(`${indices.length} indices for ${this.shape.length} dimensions`);
    }
    let at = 0;
    indices.forEach((index, axis) => {
      const length = this.shape[axis];
      if (!(index >= 0 && index < length)) throw new NpyError(`index ${index} is outside 0..${length}`);
      at = at * length + index;
    });
    return this.data[at];
  }

  /** Nested arrays; a tensor without dimensions gives its one element. */
  toArray() {
    const nest = (/** @type {number} */ axis, /** @type {number} */ start) => {
      if (axis === this.shape.length) return this.data[start];
      const step = this.shape.slice(axis + 1).reduce((product, length) => product * length, 1);
      return Array.from({ length: this.shape[axis] }, (_, i) => nest(axis + 1, start + i * step));
    };
    return nest(0, 0);
  }
}

/**
 * A tensor of zeros to be filled. In memory: Node maps no files, so an output is written once, from there.
 * @param {number | number[]} shape
 * @param {string} [dtype]
 * @throws {NpyError}
 */
export function empty(shape, dtype = "f64") {
  const sizes = typeof shape === "number" ? [shape] : shape;
  const found = Object.hasOwn(DTYPES, dtype) ? /** @type {keyof typeof DTYPES} */ (dtype) : null;
  if (found === null) throw new NpyError(`dtype \`${dtype}\` is none of ${Object.keys(DTYPES).join(", ")}`);
  if (!Array.isArray(sizes) || !sizes.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new NpyError(`the shape [${sizes}] is not one of whole numbers`);
  }
  const size = sizes.reduce((product, length) => product * length, 1);
  return new Tensor(new DTYPES[found].array(size), [...sizes], found);
}

/**
 * @param {any} data
 * @returns {keyof typeof DTYPES}
 */
export function dtypeOf(data) {
  const kind = data instanceof Uint8ClampedArray ? Uint8Array : data?.constructor;
  for (const [name, { array }] of Object.entries(DTYPES)) {
    const isBool = name === "bool";
    if (!isBool && (kind === array || (array === Uint8Array && Buffer.isBuffer(data)))) {
      return /** @type {keyof typeof DTYPES} */ (name);
    }
  }
  throw new NpyError("not a typed array");
}

/**
 * Reads a header: element type, shape, and where the data starts.
 * @param {Buffer} file
 * @returns {{dtype: keyof typeof DTYPES, shape: number[], start: number}}
 * @throws {NpyError}
 */
export function decodeHeader(file) {
  if (file.length < 10 || !file.subarray(0, 8).equals(MAGIC)) throw new NpyError("not an .npy file of version 1.0");
  const start = 10 + file.readUInt16LE(8);
  if (start > file.length) throw new NpyError("the header is cut short");
  if (start % ALIGN !== 0) throw new NpyError(`the data does not start at a multiple of ${ALIGN}`);
  const entries = parseEntries(file.toString("latin1", 10, start));
  const dtype = named(entries.descr);
  const shape = entries.shape.split(",").map((part) => part.trim()).filter((part) => part !== "").map(Number);
  if (shape.length > MAX_DIMENSIONS) throw new NpyError(`more than ${MAX_DIMENSIONS} dimensions`);
  const size = shape.reduce((product, length) => product * length, DTYPES[dtype].array.BYTES_PER_ELEMENT);
  if (!Number.isSafeInteger(size)) throw new NpyError("the shape is too large");
  if (entries.fortran_order === "True" && shape.length > 1) throw new NpyError("Fortran order is not supported");
  return { dtype, shape, start };
}

/**
 * The three entries of a header, which is a dictionary in Python's spelling.
 * @param {string} text
 */
function parseEntries(text) {
  const entry =
    /\s*(["'])(descr|fortran_order|shape)\1\s*:\s*(?:(["'])([^"']*)\3|(True|False)|\(((?:\s*\d+\s*,)*\s*(?:\d+\s*)?)\))\s*/y;
  /** @type {Record<string, string>} */
  const entries = {};
  let at = text.startsWith("{") ? 1 : -1;
  while (at > 0) {
    entry.lastIndex = at;
    const found = entry.exec(text);
    if (found === null) break;
    const value = { descr: found[4], fortran_order: found[5], shape: found[6] }[found[2]];
    if (value === undefined || found[2] in entries) break;
    entries[found[2]] = value;
    at = entry.lastIndex;
    if (text[at] !== ",") break;
    at++;
  }
  if (at < 0 || !/^\s*\}\s*$/.test(text.slice(at)) || Object.keys(entries).length !== 3) {
    throw new NpyError("the header is not one of `descr`, `fortran_order` and `shape`");
  }
  return entries;
}

/**
 * Reads a tensor out of a file's bytes. Its data is a view of them, which must not change any more;
 * only where the bytes lie unaligned in memory is it a copy.
 * @param {Uint8Array} bytes
 * @returns {Tensor}
 * @throws {NpyError}
 */
export function decodeNpy(bytes) {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { dtype, shape, start } = decodeHeader(file);
  const array = /** @type {any} */ (DTYPES[dtype].array);
  const size = shape.reduce((product, length) => product * length, 1);
  if (start + size * array.BYTES_PER_ELEMENT !== file.length) {
    throw new NpyError(`shape (${shape}) of ${dtype} does not match the ${file.length - start} bytes of data`);
  }
  const at = file.byteOffset + start;
  const data = at % array.BYTES_PER_ELEMENT === 0
    ? new array(file.buffer, at, size)
    : new array(file.buffer.slice(at, at + size * array.BYTES_PER_ELEMENT));
  return new Tensor(data, shape, dtype);
}

/**
 * @param {string} descr
 * @returns {keyof typeof DTYPES}
 */
function named(descr) {
  const order = descr[0];
  const found = Object.entries(DTYPES).find(([, { npy }]) => npy.slice(1) === descr.slice(1));
  const isSmall = found !== undefined && found[1].npy[0] === "|";
  if (found === undefined || !(isSmall ? "|<>=" : "<").includes(order)) {
    throw new NpyError(`elements of type \`${descr}\` are not supported`);
  }
  return /** @type {keyof typeof DTYPES} */ (found[0]);
}

/**
 * @param {keyof typeof DTYPES} dtype
 * @param {number[]} dimensions
 */
export function encodeHeader(dtype, dimensions) {
  const shape = dimensions.length === 1 ? `${dimensions[0]},` : dimensions.join(", ");
  const text = `{'descr': '${DTYPES[dtype].npy}', 'fortran_order': False, 'shape': (${shape}), }`;
  const total = Math.ceil((10 + text.length + 1) / ALIGN) * ALIGN;
  const header = Buffer.alloc(total, 0x20);
  MAGIC.copy(header);
  header.writeUInt16LE(total - 10, 8);
  header.write(text, 10, "latin1");
  header[total - 1] = 0x0a;
  return header;
}

/**
 * A file's bytes in two parts, so that the data needs no copy: header, then data.
 * @param {Tensor} tensor
 * @returns {[Buffer, Uint8Array]}
 */
export function encodeNpy({ dtype, shape, data }) {
  return [encodeHeader(dtype, shape), new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
}
