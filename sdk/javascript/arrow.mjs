//! Tables and the Arrow IPC file: what a cell imports. The parts are in the files beside it.

export { ArrowError } from "./arrow-types.mjs";
export { readArrow } from "./arrow-read.mjs";
export { writeArrow } from "./arrow-write.mjs";
export { Column, Table } from "./table.mjs";
