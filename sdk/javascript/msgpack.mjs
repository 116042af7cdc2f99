//! MessagePack as polyloom stores and sends it. The parts are in the files beside it.

export { MAX_VALUE_DEPTH, decode, setOwn } from "./msgpack-read.mjs";
export { Float, MsgpackError, Writer, isWellFormed, sortedKeys } from "./msgpack-write.mjs";
