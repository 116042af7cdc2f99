// Say: a language of a few words, to show how an executor is written in JavaScript. One statement a line:
//
//     say TEXT           prints it; `$port` in a text is the value of that input
//     put PORT TEXT      is the output PORT; `put PORT $port` gives the value on, whatever its type
//     show TEXT          shows it while the cell runs
//     wait SECONDS       waits, and ends when it is asked to
//     fail TEXT          fails
//     # TEXT             says nothing
import { setTimeout } from "node:timers/promises";

class Fault extends Error {}

/** A text with the inputs that it names. */
function filled(cx, text) {
  return text.replace(/\$(\w+)/g, (_, port) => {
    if (!(port in cx.inputs)) throw new Fault(`there is no input \`${port}\``);
    const value = cx.input(port);
    return typeof value === "string" ? value : JSON.stringify(value);
  });
}

const statements = {
  say: (cx, text) => console.log(filled(cx, text)),
  show: (cx, text) => cx.display(filled(cx, text)),
  put(cx, rest) {
    const [, name, text] = /^(\S+) ?(.*)$/.exec(rest) ?? [];
    if (name === undefined) throw new Fault("expected `put PORT TEXT`");
    const whole = /^\$(\w+)$/.exec(text);
    if (whole !== null && whole[1] in cx.inputs && name in cx.outputs) cx.output(name, cx.input(whole[1]));
    else cx.write(name, filled(cx, text));
  },
  async wait(cx, seconds) {
    if (!(Number(seconds) >= 0)) throw new Fault("`wait` takes a number of seconds");
    await setTimeout(1000 * Number(seconds), null, { signal: cx.signal });
  },
  fail(_, text) {
    throw new Fault(text);
  },
};

export default {
  id: "say-javascript",
  version: "1",
  async exec(cx) {
    for (const [at, line] of cx.code.split(/\r?\n/).entries()) {
      const [, word, rest] = /^(\S*) ?(.*)$/.exec(line);
      if (word === "" || word.startsWith("#")) continue;
      try {
        if (!Object.hasOwn(statements, word)) throw new Fault(`expected ${Object.keys(statements).join(", ")} or #, found \`${word}\``);
        await statements[word](cx, rest);
      } catch (error) {
        if (cx.signal.aborted) throw cx.fault("stopped", at + 1);
        throw error instanceof Fault ? cx.fault(error.message, at + 1) : error;
      }
    }
  },
};
