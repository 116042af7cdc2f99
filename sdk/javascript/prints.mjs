//! What a cell prints is written when it is printed, so that it is the cell's own, whole and before its Done.
//! Does not know cells or the conversation with the host.

import process from "node:process";

/**
 * Has standard output and standard error wait for room in their pipes, as a file's would. Node keeps what a pipe has no room for, and writes it when the event loop
 * comes to it: at a later cell of a session, or never where the process exits before.
 *
 * They are made when they are first used, which takes some milliseconds that cells without a word need not wait for.
 */
export function printAtOnce() {
  for (const name of ["stdout", "stderr"]) {
    const found = Object.getOwnPropertyDescriptor(process, name);
    const make = found?.get;
    if (make === undefined) continue;
    Object.defineProperty(process, name, {
      ...found,
      get() {
        const stream = make.call(process);
        Object.defineProperty(process, name, found);
        // Node has no public name for it; a file has none of it and needs none.
        stream._handle?.setBlocking?.(true);
        return stream;
      },
    });
  }
}
