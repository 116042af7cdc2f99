//! The worker's end of the socket: frames out, in order and within the host's credit; bytes in.
//! Does not know what the conversation is about.

import fs from "node:fs";
import net from "node:net";

import { FrameReader, HEADER, Kind, PREAMBLE, SHOWN_CAP, encodeFrame, encodePong } from "./frames.mjs";

/** What the host grants with every Exec, in bytes of bodies that are only shown. */
const INITIAL_CREDIT = 256 << 10;
/** Kept back from logs, so that the reason of a failure is never what does not fit. */
const RESERVE = SHOWN_CAP;
/** Bytes of logs kept until credit comes; beyond it the oldest are dropped. */
const BACKLOG = 256 << 10;
const NAP = new Int32Array(new SharedArrayBuffer(4));

export class Channel {
  #reader = new FrameReader();
  #credit = INITIAL_CREDIT;
  /** @type {Buffer[]} */
  #backlog = [];
  #backlogBytes = 0;
  #dropped = 0;

  /**
   * @param {number} fd of the stream socket
   * @param {(frame: import("./frames.mjs").Frame) => void} onFrame
   * @param {(error: Error | null) => void} onEnd the host went away, or broke the protocol
   */
  constructor(fd, onFrame, onEnd) {
    this.fd = fd;
    // For reading only. Writing goes past it, so that frames also leave while the cell keeps the
    // event loop busy, and from inside `process.exit`.
    this.socket = new net.Socket({ fd, readable: true, writable: false });
    this.socket.on("data", (chunk) => {
      try {
        for (const frame of this.#reader.push(chunk)) onFrame(frame);
      } catch (error) {
        onEnd(/** @type {Error} */ (error));
      }
    });
    // A host that goes away with frames unread leaves a reset instead of an end.
    this.socket.on("error", (error) => onEnd("code" in error && error.code === "ECONNRESET" ? null : error));
    this.socket.on("close", () => onEnd(null));
  }

  /** Lets the process end its event loop while only the host could wake it. */
  rest() {
    this.socket.unref();
  }

  /** Keeps the process waiting for the host. */
  wait() {
    this.socket.ref();
  }

  preamble() {
    this.#write(PREAMBLE);
  }

  /** A new Exec begins: what was granted for the last one is void. */
  renew() {
    this.#credit = INITIAL_CREDIT;
    this.#backlog = [];
    this.#backlogBytes = 0;
  }

  /** @param {number} bytes */
  grant(bytes) {
    this.#credit += bytes;
    while (this.#backlog.length > 0 && this.#credit > RESERVE) {
      const frame = /** @type {Buffer} */ (this.#backlog.shift());
      this.#backlogBytes -= frame.length;
      this.#spend(frame);
    }
  }

  /**
   * Sends a frame that flow control does not concern.
   * @param {number} kind
   * @param {bigint} exec
   * @param {Record<string, unknown>} body
   */
  send(kind, exec, body) {
    this.#write(encodeFrame(kind, exec, body));
  }

  /** @param {number | bigint} n of the ping that is answered */
  pong(n) {
    this.#write(encodePong(n));
  }

  /**
   * Sends a frame that is only shown to the user, as soon as there is credit for it.
   * @param {number} kind
   * @param {bigint} exec
   * @param {Record<string, unknown>} body
   */
  show(kind, exec, body) {
    const frame = encodeFrame(kind, exec, body);
    const floor = kind === Kind.Diagnostic ? 0 : RESERVE;
    if (this.#credit > floor && (this.#backlog.length === 0 || kind === Kind.Diagnostic)) {
      return this.#spend(frame);
    }
    this.#backlog.push(frame);
    this.#backlogBytes += frame.length;
    while (this.#backlogBytes > BACKLOG) {
      this.#backlogBytes -= /** @type {Buffer} */ (this.#backlog.shift()).length;
      this.#dropped++;
    }
  }

  /** How many shown frames were never sent, up to now. */
  get dropped() {
    return this.#dropped + this.#backlog.length;
  }

  /** @param {Buffer} frame */
  #spend(frame) {
    this.#credit -= frame.length - HEADER;
    this.#write(frame);
  }

  /** @param {Buffer} bytes */
  #write(bytes) {
    for (let at = 0; at < bytes.length; ) {
      try {
        at += fs.writeSync(this.fd, bytes, at);
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EAGAIN") throw error;
        // The socket does not block; the host will read on.
        Atomics.wait(NAP, 0, 0, 1);
      }
    }
  }
}
