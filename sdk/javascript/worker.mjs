//! The JavaScript worker: runs cells that are written in JavaScript.
//! Does not know graphs, caches or sandboxes.

import process from "node:process";

import { Conversation, inherited } from "./conversation.mjs";

const about = {
  executor: "javascript", version: "1", features: ["call", "cancel.soft", "complete", "display", "interactive", "interrupt", "progress", "session"],
  runtime: `node ${process.version}`,
};
// Loaded while the host reads the Hello.
const runner = Promise.all([import("./exec.mjs"), import("./session.mjs")]).then(([{ Exec, report }, { Session }]) => {
  const session = new Session();
  return {
    begin: (/** @type {ConstructorParameters<typeof Exec>} */ channel, id, body, features) => new Exec(channel, id, body, features, session),
    complete: (/** @type {string} */ code, /** @type {number | null} */ cursor) => session.complete(code, cursor),
    reset: () => session.reset(),
    late: (/** @type {unknown} */ error) => session.late(error),
    report,
  };
});
new Conversation(inherited()).start(about, runner);
