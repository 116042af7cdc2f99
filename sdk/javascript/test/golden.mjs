//! The executor of the golden conversations: `protocol/vectors/README.md` has its language.

import fs from "node:fs";
import path from "node:path";

let kept = "";
const snapshots = new Map();

/** A text up to the first blank, and what follows it. */
function cut(text) {
  const at = text.indexOf(" ");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

/** Waits to be stopped. */
function stopped(signal) {
  return new Promise((resolve) => {
    // Without it nothing would keep the process waiting.
    const timer = setTimeout(resolve, 60_000);
    const end = () => (clearTimeout(timer), resolve());
    if (signal.aborted) end();
    else signal.addEventListener("abort", end);
  });
}

const ACTS = {
  log: (cx, [level, text]) => cx.log(level, text),
  progress: (cx, [fraction, text]) => cx.progress(fraction === "-" ? null : Number(fraction), text),
  display: (cx, [media, text]) => cx.display(text, media),
  artifact(cx, [name, text]) {
    const file = path.join(cx.out, "_artifacts", name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
    cx.artifact(name, file.slice(cx.out.length + 1));
  },
  warn(cx, [line, rest]) {
    const [column, text] = cut(rest);
    cx.warn(text, Number(line), Number(column));
  },
  read(cx, [port], line) {
    if (!Object.hasOwn(cx.inputs, port)) throw cx.fault(`there is no input \`${port}\``, line);
    cx.log("info", String(cx.input(port)));
  },
  argv: (cx) => cx.log("info", cx.argv.join(", ")),
  seed: (cx) => cx.log("info", String(cx.seed ?? "none")),
  keep(cx, words) {
    kept = words.filter((word) => word !== "").join(" ");
    cx.sessionChanged();
  },
  kept: (cx) => cx.log("info", kept),
  async wait(cx, _, line) {
    await stopped(cx.signal);
    throw cx.fault("stopped", line);
  },
  fail(cx, words, line) {
    throw cx.fault(words.filter((word) => word !== "").join(" "), line);
  },
};

export default {
  id: "golden",
  version: "1",
  runtime: "golden 1",
  features: ["cancel.soft", "display", "progress", "session", "snapshot", "catalog"],
  async exec(cx) {
    for (const [at, words] of cx.code.split("\n").entries()) {
      const [word, rest] = cut(words);
      if (word === "") continue;
      if (!Object.hasOwn(ACTS, word)) throw cx.fault(`\`${word}\` is no word`, at + 1);
      await ACTS[word](cx, cut(rest), at + 1);
    }
  },
  reset() {
    kept = "";
  },
  snapshot(name) {
    snapshots.set(name, kept);
  },
  restore(name) {
    kept = snapshots.get(name) ?? "";
  },
  catalog: () => [{ name: "keep", takes: ["str"], keeps: true, most: null, cost: 0.5, rank: -7 }, { name: "kept" }],
};
