//! Frames of protocol W: preamble, header, body, and the numbers of their kinds.
//! Does not know what a frame means, nor sockets; bytes go in, frames come out.

import { encodeAny } from "./encode.mjs";
import { MsgpackError, decode } from "./msgpack.mjs";

/** What each side sends first: magic, version 1, encoding 1 (MessagePack), reserved. */
export const PREAMBLE = Buffer.from([0x50, 0x4c, 0x59, 0x57, 1, 1, 0, 0]);
export const HEADER = 16;
/** Longest body of any frame. */
export const FRAME_CAP = 1 << 20;
/** Longest body of what is only shown, and of Hello, Done and Error. */
export const SHOWN_CAP = 64 << 10;
const MAX_DEPTH = 32;
const MAX_VALUES = 65_536;
const MUST_UNDERSTAND = 0b001;
const CARRIES_FDS = 0b010;
const LAST = 0b100;

/** Numbers of the frame kinds that this worker sends or reads. */
export const Kind = Object.freeze({
  Hello: 1, Started: 2, Log: 3, Progress: 4, Display: 5, Diagnostic: 6, Artifact: 7, Done: 8, Catalog: 9, Pong: 10, Kept: 11,
  Completions: 12, Saved: 13,
  HelloOk: 65, HelloNo: 66, Prepare: 67, Exec: 68, Cancel: 69, Credit: 70, Describe: 71, Reset: 72, Snapshot: 73, Restore: 74, Ping: 75, Shutdown: 76, Forget: 77,
  Complete: 78, Save: 79, Load: 80, Error: 127,
});
/** @type {Set<number>} */
const SMALL = new Set([Kind.Hello, Kind.Log, Kind.Progress, Kind.Display, Kind.Diagnostic, Kind.Done, Kind.Error]);
/** The kinds that version 1 gives each side, beyond `Error`. */
const KINDS = Object.freeze({ worker: { first: 1, last: 63, known: 13 }, host: { first: 64, last: 126, known: 80 } });

/** The other side broke the protocol; the connection is of no more use. */
export class ProtocolError extends Error {
  /**
   * @param {string} code the violation's name in the specification
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "ProtocolError";
    this.code = code;
  }
}

/** @param {number} kind */
function capOf(kind) {
  return SMALL.has(kind) ? SHOWN_CAP : FRAME_CAP;
}

/**
 * A whole frame as bytes.
 * @param {number} kind
 * @param {number | bigint} exec id of the Exec it belongs to, 0 for the connection
 * @param {Record<string, unknown>} body
 */
export function encodeFrame(kind, exec, body) {
  const bytes = encodeAny(body);
  if (bytes.length > capOf(kind)) throw new ProtocolError("frame_too_large", `a frame of ${bytes.length} bytes is too large`);
  const frame = Buffer.alloc(HEADER + bytes.length);
  frame.writeUInt32LE(bytes.length, 0);
  frame[4] = kind;
  frame.writeBigUInt64LE(BigInt(exec), 8);
  bytes.copy(frame, HEADER);
  return frame;
}

/**
 * The answer to a ping, whose number may have all 64 bits, which no value has.
 * @param {number | bigint} n
 */
export function encodePong(n) {
  if (n < 2n ** 63n) return encodeFrame(Kind.Pong, 0n, { n });
  const frame = Buffer.alloc(HEADER + 12);
  frame.writeUInt32LE(12, 0);
  frame[4] = Kind.Pong;
  frame.set([0x81, 0xa1, 0x6e, 0xcf], HEADER);
  frame.writeBigUInt64BE(BigInt(n), HEADER + 4);
  return frame;
}

/**
 * @typedef {{kind: number, flags: number, exec: bigint, body: Record<string, any>}} Frame
 */

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  /** @type {Buffer[]} */
  #chunks = [];
  #length = 0;
  #greeted = false;

  /** @param {"host" | "worker"} from who writes the stream */
  constructor(from = "host") {
    this.kinds = KINDS[from];
  }

  /**
   * Takes the next bytes of the stream and returns the frames that are complete now.
   * @param {Buffer} chunk
   * @returns {Frame[]}
   * @throws {ProtocolError}
   */
  push(chunk) {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const frames = [];
    if (!this.#greeted) {
      const start = /** @type {Buffer} */ (this.#peek(Math.min(this.#length, PREAMBLE.length)));
      checkPreamble(start);
      if (this.#take(PREAMBLE.length) === null) return frames;
      this.#greeted = true;
    }
    for (;;) {
      const header = this.#peek(HEADER);
      if (header === null) return frames;
      this.#check(header);
      const bytes = this.#take(HEADER + header.readUInt32LE(0));
      if (bytes === null) return frames;
      const frame = parse(bytes, this.kinds);
      if (frame !== null) frames.push(frame);
    }
  }

  /**
   * The stream is over.
   * @throws {ProtocolError} if that is in the middle of something
   */
  end() {
    if (this.#length > 0) throw new ProtocolError("truncated_frame", "the stream ends inside a frame");
  }

  /**
   * What can be said before the body is there.
   * @param {Buffer} header
   */
  #check(header) {
    const [kind, flags] = [header[4], header[5]];
    if ((flags & ~(MUST_UNDERSTAND | CARRIES_FDS | LAST)) !== 0 || header.readUInt16LE(6) !== 0) {
      throw new ProtocolError("reserved_bits", "reserved bits of a frame are set");
    }
    if (flags & CARRIES_FDS) throw new ProtocolError("unexpected_fds", "a frame says that it carries descriptors");
    const size = header.readUInt32LE(0);
    if (size > capOf(kind)) throw new ProtocolError("frame_too_large", `a frame of ${size} bytes is too large`);
    const ours = kind === Kind.Error || (kind >= this.kinds.first && kind <= this.kinds.last);
    if (!ours) throw new ProtocolError("wrong_direction", `frame kind ${kind} comes from the wrong side`);
    if (kind !== Kind.Error && kind > this.kinds.known && flags & MUST_UNDERSTAND) {
      throw new ProtocolError("must_understand", `frame kind ${kind} is not known`);
    }
  }

  /** @param {number} count */
  #peek(count) {
    if (this.#length < count) return null;
    if (this.#chunks[0].length < count) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0].subarray(0, count);
  }

  /** @param {number} count */
  #take(count) {
    const bytes = this.#peek(count);
    if (bytes === null) return null;
    const rest = this.#chunks[0].subarray(count);
    if (rest.length > 0) this.#chunks[0] = rest;
    else this.#chunks.shift();
    this.#length -= count;
    return bytes;
  }
}

/** @param {Buffer} start the first bytes of a stream, at most 8 */
function checkPreamble(start) {
  const names = ["bad_magic", "bad_magic", "bad_magic", "bad_magic", "bad_version", "bad_encoding"];
  const wrong = start.findIndex((byte, i) => byte !== PREAMBLE[i]);
  if (wrong >= 0) throw new ProtocolError(names[wrong] ?? "reserved_bits", "the preamble is not one of version 1");
}

/**
 * @param {Buffer} bytes a whole frame whose header is sound
 * @param {{known: number}} kinds
 * @returns {Frame | null} null for a kind that may be skipped
 */
function parse(bytes, kinds) {
  const kind = bytes[4];
  let body;
  try {
    body = decode(bytes.subarray(HEADER), { depth: MAX_DEPTH, values: MAX_VALUES, unsigned: true });
  } catch (error) {
    const code = error instanceof MsgpackError ? error.code : "bad_message";
    throw new ProtocolError(code, `body of frame kind ${kind}: ${/** @type {Error} */ (error).message}`);
  }
  if (body === null || typeof body !== "object" || Array.isArray(body) || Buffer.isBuffer(body)) {
    throw new ProtocolError("body_not_map", `body of frame kind ${kind} is not a map`);
  }
  if (kind !== Kind.Error && kind > kinds.known) return null;
  return { kind, flags: bytes[5], exec: bytes.readBigUInt64LE(8), body };
}
