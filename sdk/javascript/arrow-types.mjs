//! The Arrow types that tables may have, and how each is spelled in Arrow's metadata.
//! Does not know about columns or files. Numbers from Arrow's `Schema.fbs`.

/** A file that is not a table, or a table that has no form in the files we write. */
export class ArrowError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message);
    this.name = "ArrowError";
  }
}

/**
 * @typedef {{
 *   name: string,
 *   layout: "fixed" | "bits" | "text" | "null",
 *   array?: any,
 *   wide?: boolean,
 *   unit?: number,
 *   timezone?: string | null,
 * }} ArrowType
 * `layout` says which buffers a column has; `array` is the typed array of fixed values; `wide` is
 * true for 64-bit offsets of text.
 */

/** @type {Record<string, ArrowType>} */
const FIXED = {
  i8: { name: "i8", layout: "fixed", array: Int8Array },
  i16: { name: "i16", layout: "fixed", array: Int16Array },
  i32: { name: "i32", layout: "fixed", array: Int32Array },
  i64: { name: "i64", layout: "fixed", array: BigInt64Array },
  u8: { name: "u8", layout: "fixed", array: Uint8Array },
  u16: { name: "u16", layout: "fixed", array: Uint16Array },
  u32: { name: "u32", layout: "fixed", array: Uint32Array },
  u64: { name: "u64", layout: "fixed", array: BigUint64Array },
  f32: { name: "f32", layout: "fixed", array: Float32Array },
  f64: { name: "f64", layout: "fixed", array: Float64Array },
};

/** Types by the name that authors use. `timestamp` counts milliseconds in UTC, as `Date` does. */
export const TYPES = Object.freeze(/** @type {Record<string, ArrowType>} */ ({
  ...FIXED,
  bool: { name: "bool", layout: "bits" },
  utf8: { name: "utf8", layout: "text", wide: false },
  binary: { name: "binary", layout: "text", wide: false },
  date32: { name: "date32", layout: "fixed", array: Int32Array },
  date64: { name: "date64", layout: "fixed", array: BigInt64Array },
  timestamp: { name: "timestamp", layout: "fixed", array: BigInt64Array, unit: 1, timezone: "UTC" },
  null: { name: "null", layout: "null" },
}));

/** Numbers of Arrow's type union that we know, and the others' names for messages. */
const UNION = Object.freeze({
  Null: 1, Int: 2, FloatingPoint: 3, Binary: 4, Utf8: 5, Bool: 6, Date: 8, Time: 9, Timestamp: 10,
  Duration: 18, LargeBinary: 19, LargeUtf8: 20,
});
const UNSUPPORTED = Object.freeze({
  7: "decimal", 11: "interval", 12: "list", 13: "struct", 14: "union", 15: "fixed-size binary",
  16: "fixed-size list", 17: "map", 21: "large list", 22: "run-end encoded", 23: "binary view",
  24: "text view", 25: "list view", 26: "large list view",
});

/**
 * An integer type from its table in the metadata.
 * @param {import("./flatbuf.mjs").TableReader | null} table
 */
export function intType(table) {
  const bits = table?.i32(0, 32) ?? 32;
  const signed = table === null ? true : table.u8(1) !== 0;
  const type = FIXED[`${signed ? "i" : "u"}${bits}`];
  if (type === undefined) throw new ArrowError(`integers of ${bits} bits are not supported`);
  return type;
}

/**
 * The type of a field in the metadata.
 * @param {import("./flatbuf.mjs").TableReader} field
 * @returns {ArrowType}
 */
export function readType(field) {
  const number = field.u8(2);
  const table = field.table(3);
  switch (number) {
    case UNION.Null: return TYPES.null;
    case UNION.Int: return intType(table);
    case UNION.FloatingPoint: {
      const precision = table?.i16(0) ?? 0;
      if (precision === 0) throw new ArrowError("floats of 16 bits are not supported");
      return precision === 1 ? TYPES.f32 : TYPES.f64;
    }
    case UNION.Binary: return TYPES.binary;
    case UNION.LargeBinary: return { ...TYPES.binary, wide: true };
    case UNION.Utf8: return TYPES.utf8;
    case UNION.LargeUtf8: return { ...TYPES.utf8, wide: true };
    case UNION.Bool: return TYPES.bool;
    case UNION.Date: return (table?.i16(0, 1) ?? 1) === 0 ? TYPES.date32 : TYPES.date64;
    case UNION.Time: {
      const wide = (table?.i32(1, 32) ?? 32) === 64;
      return { name: "time", layout: "fixed", array: wide ? BigInt64Array : Int32Array, unit: table?.i16(0, 1) ?? 1 };
    }
    case UNION.Timestamp:
      return { ...TYPES.timestamp, unit: table?.i16(0) ?? 0, timezone: table?.text(1) ?? null };
    case UNION.Duration:
      return { name: "duration", layout: "fixed", array: BigInt64Array, unit: table?.i16(0, 1) ?? 1 };
    default: {
      const name = UNSUPPORTED[/** @type {keyof typeof UNSUPPORTED} */ (number)] ?? `number ${number}`;
      throw new ArrowError(`column \`${field.text(0) ?? ""}\` has the Arrow type ${name}, which is not supported`);
    }
  }
}

/**
 * Writes a type's table and returns its number in the union and its position.
 * @param {import("./flatbuf.mjs").Builder} builder
 * @param {ArrowType} type
 * @returns {{union: number, table: number}}
 */
export function writeType(builder, type) {
  const i16 = (/** @type {number} */ value) => /** @type {const} */ ({ kind: "i16", value });
  const i32 = (/** @type {number} */ value) => /** @type {const} */ ({ kind: "i32", value });
  switch (type.name) {
    case "null": return { union: UNION.Null, table: builder.table({}) };
    case "f32": return { union: UNION.FloatingPoint, table: builder.table({ 0: i16(1) }) };
    case "f64": return { union: UNION.FloatingPoint, table: builder.table({ 0: i16(2) }) };
    case "binary": return { union: type.wide ? UNION.LargeBinary : UNION.Binary, table: builder.table({}) };
    case "utf8": return { union: type.wide ? UNION.LargeUtf8 : UNION.Utf8, table: builder.table({}) };
    case "bool": return { union: UNION.Bool, table: builder.table({}) };
    case "date32": return { union: UNION.Date, table: builder.table({ 0: i16(0) }) };
    case "date64": return { union: UNION.Date, table: builder.table({ 0: i16(1) }) };
    case "duration": return { union: UNION.Duration, table: builder.table({ 0: i16(type.unit ?? 1) }) };
    case "time": {
      const bits = type.array === BigInt64Array ? 64 : 32;
      return { union: UNION.Time, table: builder.table({ 0: i16(type.unit ?? 1), 1: i32(bits) }) };
    }
    case "timestamp": {
      const zone = type.timezone ? builder.text(type.timezone) : null;
      const fields = /** @type {Record<number, any>} */ ({ 0: i16(type.unit ?? 1) });
      if (zone !== null) fields[1] = { kind: "ref", value: zone };
      return { union: UNION.Timestamp, table: builder.table(fields) };
    }
    default: return { union: UNION.Int, table: writeInt(builder, type) };
  }
}

/**
 * The table of an integer type.
 * @param {import("./flatbuf.mjs").Builder} builder
 * @param {ArrowType} type
 */
export function writeInt(builder, type) {
  return builder.table({
    0: { kind: "i32", value: type.array.BYTES_PER_ELEMENT * 8 },
    1: { kind: "u8", value: type.name.startsWith("i") ? 1 : 0 },
  });
}
