//! JavaScript source as tokens, and the parameters of a function among them: what a reader of functions and a call of one both ask.
//! Knows no types, and runs nothing; whether the source is valid is the engine's to say.

/**
 * @typedef {{kind: "name" | "text" | "number" | "other" | "mark", text: string, start: number, depth: number, doc: Doc | null}} Token
 * `depth` counts the brackets around it, `doc` is the last JSDoc comment before it.
 * @typedef {{text: string, start: number}} Doc
 * @typedef {{kind: "name" | "members" | "rest" | "list", name: string, key: string, fallback: string | null, start: number,
 *   members: Parameter[]}} Parameter
 * `members` take an object apart, `list` an array; `key` is the member's name where it has another here.
 */

const SPACE = /\s+/y;
const NAME = /#?[\p{ID_Start}$_\\][\p{ID_Continue}$\u200c\u200d\\]*/uy;
const NUMBER = /\.?\d(?:[eE][+-]|[\w.])*/y;
const REGEX = /\/(?:[^\\/[\n]|\\.|\[(?:[^\\\]\n]|\\.)*\])+\/[a-z]*/y;
const MARK = /=>|\.\.\.|\?\.|[^]/uy;
const OPEN = "([{", CLOSE = ")]}";
/** After these words a slash begins a regular expression. */
const BEFORE_REGEX = new Set(
  "return typeof case in of delete void throw new else do await yield instanceof default".split(" "),
);

class Scanner {
  at = 0;
  depth = 0;
  /** @type {Token[]} */
  tokens = [];
  /** @type {Doc[]} */
  docs = [];
  /** @type {Doc | null} */
  doc = null;

  /** @param {string} source */
  constructor(source) {
    this.source = source;
    if (source.startsWith("#!")) this.at = this.until("\n");
  }

  /** @param {string} mark */
  until(mark, from = this.at) {
    const found = this.source.indexOf(mark, from);
    return found < 0 ? this.source.length : found + mark.length;
  }

  /** @param {RegExp} pattern sticky */
  match(pattern) {
    pattern.lastIndex = this.at;
    return pattern.exec(this.source)?.[0] ?? null;
  }

  /**
   * @param {Token["kind"]} kind
   * @param {number} end
   */
  add(kind, end) {
    const { at: start, depth, doc, source } = this;
    this.tokens.push({ kind, text: source.slice(start, end), start, depth, doc });
    this.doc = null;
    this.at = end;
  }

  /** Tokens up to the bracket that closes what was open, or to the end. */
  run() {
    const outer = this.depth;
    while (this.at < this.source.length) {
      const { source, at } = this;
      const space = this.match(SPACE);
      if (space !== null) this.at += space.length;
      else if (source.startsWith("//", at)) this.at = this.until("\n");
      else if (source.startsWith("/*", at)) this.comment();
      else if (source[at] === "'" || source[at] === '"') this.add("text", this.quoted(source[at]));
      else if (source[at] === "`") this.template();
      else if (source[at] === "/" && this.mayBeRegex()) this.add("other", at + (this.match(REGEX)?.length ?? 1));
      else {
        const name = this.match(NAME), number = name === null ? this.match(NUMBER) : null;
        if (name !== null) this.add("name", at + name.length);
        else if (number !== null) this.add("number", at + number.length);
        else if (this.mark(outer)) return;
      }
    }
  }

  /**
   * @param {number} outer
   * @returns {boolean} whether it closes what was open before
   */
  mark(outer) {
    const text = this.match(MARK) ?? "";
    if (CLOSE.includes(text)) {
      if (this.depth === outer && outer > 0) return true;
      this.depth = Math.max(0, this.depth - 1);
    }
    this.add("mark", this.at + text.length);
    if (OPEN.includes(text)) this.depth++;
    return false;
  }

  comment() {
    const end = this.until("*/", this.at + 2);
    const text = this.source.slice(this.at, end);
    if (/^\/\*\*[^*/]/.test(text)) {
      this.doc = { text, start: this.at };
      this.docs.push(this.doc);
    }
    this.at = end;
  }

  /** @param {string} quote */
  quoted(quote) {
    let end = this.at + 1;
    while (end < this.source.length && this.source[end] !== quote && this.source[end] !== "\n") {
      end += this.source[end] === "\\" ? 2 : 1;
    }
    return end + 1;
  }

  template() {
    const { at: start, source } = this;
    this.at++;
    while (this.at < source.length && source[this.at] !== "`") {
      if (source[this.at] === "\\") this.at += 2;
      else if (source.startsWith("${", this.at)) {
        this.at += 2;
        this.depth++;
        this.run();
        this.depth--;
        this.at++;
      } else this.at++;
    }
    const end = this.at + 1;
    this.at = start;
    this.add("other", end);
  }

  mayBeRegex() {
    const last = this.tokens.at(-1);
    if (last === undefined) return true;
    if (last.kind === "name") return BEFORE_REGEX.has(last.text);
    return last.kind === "mark" && last.text !== ")" && last.text !== "]";
  }
}

/**
 * @param {string} source
 * @returns {{tokens: Token[], docs: Doc[]}} with all JSDoc comments
 */
export function tokensOf(source) {
  const scanner = new Scanner(source);
  scanner.run();
  return scanner;
}

/**
 * The name of the port that a parameter or a member of a result is: `maxSize` is `max_size`.
 * @param {string} name
 */
export function portName(name) {
  return name.replace(/([a-z0-9])([A-Z])|([A-Z])(?=[A-Z][a-z])/g, (_, a, b, c) => (c ? `${c}_` : `${a}_${b}`)).toLowerCase();
}

/**
 * The parameters of the function that begins at a token: `async function* f(…)`, `async (…) =>`, `x =>`, `f(…) {`.
 * @param {string} source
 * @param {Token[]} tokens
 * @param {number} [from]
 * @returns {Parameter[]}
 */
export function parametersOf(source, tokens, from = 0) {
  let at = from;
  while (at < tokens.length && tokens[at].text !== "(") {
    if (tokens[at + 1]?.text === "=>") return [parameter(source, [tokens[at]])];
    at++;
  }
  return inside(tokens, at).map((part) => parameter(source, part));
}

/**
 * The parts between commas of a bracket that opens at a token.
 * @param {Token[]} tokens
 * @param {number} open
 * @returns {Token[][]}
 */
export function inside(tokens, open) {
  const depth = (tokens[open]?.depth ?? 0) + 1;
  /** @type {Token[][]} */
  const parts = [[]];
  for (let at = open + 1; at < tokens.length && tokens[at].depth >= depth; at++) {
    if (tokens[at].depth === depth && tokens[at].text === ",") parts.push([]);
    else parts[parts.length - 1].push(tokens[at]);
  }
  // A bracket that closes has the depth of the one that opens.
  return parts.filter((part) => part.length > 0);
}

/**
 * @param {string} source
 * @param {Token[]} part
 * @returns {Parameter}
 */
function parameter(source, part) {
  const depth = part[0].depth;
  const equals = part.findIndex((token) => token.depth === depth && token.text === "=");
  const last = part[part.length - 1];
  const fallback = equals < 0 ? null : source.slice(part[equals].start + 1, last.start + last.text.length).trim();
  const own = equals < 0 ? part : part.slice(0, equals);
  const [first] = own;
  const plain = { name: first.text, key: first.text, fallback, start: first.start, members: [] };
  if (first.text === "...") return { ...plain, kind: "rest", name: own[1]?.text ?? "", key: own[1]?.text ?? "" };
  if (first.text === "{") {
    const members = inside(own, 0).map((member) => parameter(source, member));
    return { ...plain, kind: "members", members };
  }
  if (first.text === "[") return { ...plain, kind: "list" };
  // `key: name = …` of an object that is taken apart.
  if (own[1]?.text === ":") return { ...plain, kind: "name", name: own[2]?.text ?? first.text };
  return { ...plain, kind: "name" };
}
