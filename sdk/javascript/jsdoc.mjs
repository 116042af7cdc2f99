//! A JSDoc comment as its text and its tags, each with its place in the source. Does not know what types mean.

/**
 * @typedef {{tag: string, type: string | null, typeStart: number, name: string, optional: boolean, fallback: string | null,
 *   doc: string, start: number}} Tag
 * @typedef {{text: string, tags: Tag[]}} Comment
 */

/**
 * @param {{text: string, start: number}} doc
 * @returns {Comment}
 */
export function parseDoc({ text, start }) {
  // Blanks in place of what frames it, so that places stay what they are.
  const blank = (/** @type {string} */ part) => part.replace(/[^\n]/g, " ");
  const body = text.replace(/^\/\*\*|\*\/$/g, blank).replace(/\n[ \t]*\*/g, blank);
  // Those that are known begin anywhere: `@param {number} a @returns {number}` is a line of two.
  const marks = [...body.matchAll(/(?<=^\s*|\n[ \t]*)@(\w+)|(?<=\s)@(param|arg|argument|returns?|yields?|typedef|property|prop)\b/g)];
  const tags = marks.map((mark, at) => {
    const from = mark.index + mark[0].length;
    const to = marks[at + 1]?.index ?? body.length;
    return tag(mark[1] ?? mark[2], body.slice(from, to), start + from);
  });
  return { text: lines(body.slice(0, marks[0]?.index ?? body.length)), tags };
}

/** @param {string} text */
function lines(text) {
  return text.split("\n").map((line) => line.trim()).join("\n").trim();
}

/**
 * @param {string} name of the tag
 * @param {string} text behind it
 * @param {number} start of the text
 * @returns {Tag}
 */
function tag(name, text, start) {
  let at = text.length - text.trimStart().length;
  let type = null, typeStart = start + at;
  if (text[at] === "{") {
    const end = closing(text, at);
    type = text.slice(at + 1, end);
    typeStart = start + at + 1;
    at = end + 1;
  }
  const named = name === "param" || name === "property" || name === "prop" || name === "typedef" || name === "arg" || name === "argument";
  let rest = text.slice(at);
  let of = "", optional = false, fallback = null;
  if (named) {
    const bracket = /^\s*\[\s*([\w$.]+)\s*/.exec(rest);
    if (bracket) {
      const open = rest.indexOf("[");
      const end = closing(rest, open);
      of = bracket[1];
      optional = true;
      const equals = rest.slice(open, end).indexOf("=");
      if (equals >= 0) fallback = rest.slice(open + equals + 1, end).trim();
      rest = rest.slice(end + 1);
    } else {
      const plain = /^\s*([\w$.]+)/.exec(rest);
      of = plain?.[1] ?? "";
      rest = rest.slice(plain?.[0].length ?? 0);
    }
  }
  return { tag: name, type, typeStart, name: of, optional, fallback, doc: lines(rest).replace(/^-\s*/, ""), start };
}

/**
 * Where the bracket at a place closes; the end where it does not.
 * @param {string} text
 * @param {number} open
 */
function closing(text, open) {
  const [from, to] = text[open] === "{" ? "{}" : "[]";
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text[at] === from) depth++;
    else if (text[at] === to && --depth === 0) return at;
  }
  return text.length;
}
