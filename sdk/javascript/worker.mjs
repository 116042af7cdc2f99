//! The JavaScript worker: runs cells that are written in JavaScript.
//! Does not know graphs, caches or sandboxes.

import process from "node:process";

import { Conversation, inherited } from "./conversation.mjs";

const about = {
  executor: "javascript", version: "1", features: ["call", "cancel.soft", "display", "progress"], runtime: `node ${process.version}`,
};
// Loaded while the host reads the Hello.
const runner = import("./exec.mjs").then(({ Exec, report }) => ({
  begin: (/** @type {ConstructorParameters<typeof Exec>} */ ...exec) => new Exec(...exec),
  report,
}));
new Conversation(inherited()).start(about, runner);
