/**
 * A reader of JSON that keeps what `JSON.parse` drops: whole numbers beyond 2^53, the order of keys, keys that stand
 * there twice or are called `__proto__`, and the place of each value, which an error about it names.
 *
 * There are packages for the numbers (lossless-json, json-bigint), but none that keeps the rest too.
 */

/**
 * A value and where it begins, as an index into the text.
 *
 * @typedef {(
 *   | { type: 'null', at: number }
 *   | { type: 'boolean', value: boolean, at: number }
 *   | { type: 'number', value: string, at: number }
 *   | { type: 'string', value: string, at: number }
 *   | { type: 'list', value: Json[], at: number }
 *   | { type: 'object', value: [Key, Json][], at: number }
 * )} Json A number is its text.
 * @typedef {{ value: string, at: number }} Key
 */

/** What is wrong with a text, and where, as an index into it. */
export class Fault extends Error {
  /**
   * @param {string} why
   * @param {number} at
   */
  constructor(why, at) {
    super(why);
    this.at = at;
  }
}

/** As deep as serde_json goes. */
const DEPTH = 128;

const SPACE = /[ \t\n\r]*/y;
const WORD = /true|false|null/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/**
 * @param {string} text
 * @returns {Json}
 * @throws {Fault} where it is not JSON
 */
export function parse(text) {
  let at = 0;

  /** @param {RegExp} token */
  function take(token) {
    token.lastIndex = at;
    const found = token.exec(text)?.[0];
    at += found?.length ?? 0;
    return found;
  }

  /**
   * @param {string} expected
   * @returns {Fault}
   */
  function fault(expected) {
    const found = text.codePointAt(at);
    const what = found === undefined ? 'the end of the text' : JSON.stringify(String.fromCodePoint(found));
    return new Fault(`expected ${expected}, found ${what}`, at);
  }

  /** @param {string} mark */
  function skip(mark) {
    if (text[at] !== mark) return false;
    at += 1;
    take(SPACE);
    return true;
  }

  function string() {
    const from = at;
    at += 1;
    let plain = true;
    for (;;) {
      const unit = text.charCodeAt(at);
      if (unit === 0x22) break;
      if (unit === 0x5c) {
        plain = false;
        if (take(ESCAPE) === undefined) throw new Fault('this is no escape', at);
      } else if (unit < 0x20) {
        throw new Fault('a control character must be escaped', at);
      } else if (Number.isNaN(unit)) {
        throw fault('the end of a string');
      } else {
        at += 1;
      }
    }
    at += 1;
    const value = plain ? text.slice(from + 1, at - 1) : JSON.parse(text.slice(from, at));
    if (!value.isWellFormed()) throw new Fault('a lone surrogate is no character', from);
    return value;
  }

  /**
   * Items up to `end`, with commas between them.
   *
   * @template T
   * @param {string} end
   * @param {() => T} item
   */
  function items(end, item) {
    /** @type {T[]} */
    const found = [];
    at += 1;
    take(SPACE);
    if (skip(end)) return found;
    do found.push(item());
    while (skip(','));
    if (!skip(end)) throw fault(`a comma or ${end}`);
    return found;
  }

  /**
   * @param {number} depth
   * @returns {Json}
   */
  function value(depth) {
    const from = at;
    if (depth > DEPTH) throw new Fault(`there are more than ${DEPTH} values in each other`, from);
    const json = /** @returns {Json} */ () => {
      switch (text[at]) {
        case '"':
          return { type: 'string', value: string(), at: from };
        case '[':
          return { type: 'list', value: items(']', () => value(depth + 1)), at: from };
        case '{':
          return { type: 'object', value: items('}', () => field(depth + 1)), at: from };
        default: {
          const number = take(NUMBER);
          if (number !== undefined) return { type: 'number', value: number, at: from };
          const word = take(WORD);
          if (word === undefined) throw fault('a value');
          return word === 'null' ? { type: 'null', at: from } : { type: 'boolean', value: word === 'true', at: from };
        }
      }
    };
    const found = json();
    take(SPACE);
    return found;
  }

  /**
   * @param {number} depth
   * @returns {[Key, Json]}
   */
  function field(depth) {
    const from = at;
    if (text[at] !== '"') throw fault('a key');
    const key = { value: string(), at: from };
    take(SPACE);
    if (!skip(':')) throw fault('a colon');
    return [key, value(depth)];
  }

  take(SPACE);
  const found = value(1);
  if (at < text.length) throw fault('the end of the text');
  return found;
}
