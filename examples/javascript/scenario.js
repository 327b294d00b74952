/**
 * Scenario files: recorded or invented instants, a JSON object a line.
 *
 * @import { Kind } from './contract.js'
 * @import { Json } from './json.js'
 * @import { Snapshot } from './snapshot.js'
 */

import { blkio, list, networkInterface, option, record, stats, text, throttling, u64 } from './contract.js';
import { Fault, parse } from './json.js';

/**
 * @typedef {Snapshot & { dialect: 'runsc' | 'runc' }} Instant A line: a reading, and whose format its users expect.
 */

/** What is wrong with a scenario. The message says where: `FILE:LINE:COLUMN: WHY`. */
export class ScenarioError extends Error {
  /**
   * @param {string} file
   * @param {string} why
   * @param {{ line: number, column: number, at: number }} [place]
   */
  constructor(file, why, place) {
    super(place ? `${file}:${place.line}:${place.column}: ${why}` : `${file}: ${why}`);
    /** What is wrong, without where. */
    this.why = why;
    /** The line, and the character in it, both counted from 1, and the index into the text. */
    this.place = place;
  }

  static {
    this.prototype.name = 'ScenarioError';
  }
}

/** @type {Kind} */
const dialect = { name: 'dialect', check: text.check };

const container = record({
  id: text,
  pids: u64,
  cpuNs: option(u64),
  stats: option(stats),
  error: option(text),
});

const snapshot = record({
  dialect,
  root: text,
  memoryBytes: u64,
  cgroupCpuNs: option(u64),
  containers: list(container),
  updateMemoryError: option(text),
});

const account = record({ major: u64, minor: u64, op: text, value: u64 });

/** Runc's lists of block I/O, and the field of the contract's rows that each has the figures of. */
const COLUMNS = new Map([
  ['ioServiceBytesRecursive', 'ioServiceBytes'],
  ['ioServicedRecursive', 'ioServiced'],
  ['ioQueueRecursive', 'ioQueued'],
  ['ioServiceTimeRecursive', 'ioServiceTime'],
  ['ioWaitTimeRecursive', 'ioWaitTime'],
  ['ioMergedRecursive', 'ioMerged'],
  ['ioTimeRecursive', 'ioTime'],
  ['sectorsRecursive', 'sectors'],
]);

const lists = record({
  ...Object.fromEntries([...COLUMNS.keys()].map((name) => [name, list(account)])),
  psi: blkio.fields.psi,
});

/** @param {string} name */
const camelCase = (name) => name;
/** @param {string} name */
const pascalCase = (name) => name[0].toUpperCase() + name.slice(1);
/** @param {string} name */
const snakeCase = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * How the JSON spells a field's name: in snake case, or as runc does.
 *
 * @param {Kind} kind
 * @param {string} name
 */
function spell(kind, name) {
  if (name === 'kernelTcp') return 'kernelTCP';
  if (kind === networkInterface) return pascalCase(name);
  return kind === throttling || kind === lists ? camelCase(name) : snakeCase(name);
}

/** The fields that must be there. Others that are absent are `none`, empty, or 0. */
const REQUIRED = /** @type {Map<Kind, string[]>} */ (new Map()
  .set(snapshot, ['root', 'memoryBytes', 'containers'])
  .set(container, ['id', 'pids'])
  .set(networkInterface, ['name']));

/**
 * What a field is that is absent.
 *
 * @param {Kind} kind
 * @returns {unknown}
 */
function absent(kind) {
  switch (kind.name) {
    case 'u64':
      return 0n;
    case 'basis-points':
      return 0;
    case 'text':
      return '';
    case 'dialect':
      return 'runsc';
    case 'record':
      return fromObject({ type: 'object', value: [], at: 0 }, kind, '');
    default:
      return undefined;
  }
}

/**
 * What a value says, in the form of the contract.
 *
 * @param {Json} json
 * @param {Kind} kind
 * @param {string} key the key that it belongs to
 * @returns {any}
 */
function from(json, kind, key) {
  /** @param {string} what */
  const expected = (what) => new Fault(`${key} must be ${what}`, json.at);
  const of = /** @type {Kind} */ (kind.of);
  switch (kind.name) {
    case 'u64':
    case 's64': {
      const whole = json.type === 'number' && /^(?:0|-?[1-9][0-9]{0,19})$/.test(json.value);
      try {
        return kind.check(whole ? BigInt(json.value) : undefined, key);
      } catch {
        throw expected(kind === u64 ? 'a whole number from 0 to 2^64-1' : 'a whole number from -2^63 to 2^63-1');
      }
    }
    case 'u16':
      if (json.type !== 'number' || !/^[0-9]{1,5}$/.test(json.value) || Number(json.value) > 0xffff) {
        throw expected('a whole number from 0 to 65535');
      }
      return Number(json.value);
    case 'basis-points': {
      const percent = json.type === 'number' ? Number(json.value) : NaN;
      const hundredths = Math.round(percent * 100) + 0;
      if (!(hundredths >= 0 && hundredths < 2 ** 32 && hundredths / 100 === percent)) {
        throw expected('a per cent with up to two decimal places');
      }
      return hundredths;
    }
    case 'text':
      if (json.type !== 'string') throw expected('a string');
      return json.value;
    case 'dialect':
      if (json.type !== 'string' || !['runsc', 'runc'].includes(json.value)) throw expected('"runsc" or "runc"');
      return json.value;
    case 'option':
      return json.type === 'null' ? undefined : from(json, of, key);
    case 'list':
      // Go makes null of an empty list of records.
      if (json.type === 'null' && of.name === 'record') return [];
      if (json.type !== 'list') throw expected('a list');
      return json.value.map((item) => from(item, of, `an item of ${key}`));
    case 'map':
      if (json.type !== 'object') throw expected('an object');
      return json.value.map(([name, value]) => [name.value, from(value, of, name.value)]);
    default:
      if (json.type !== 'object') throw expected('an object');
      return kind === blkio ? rows(fromObject(json, lists, key)) : fromObject(json, kind, key);
  }
}

/**
 * @param {Json & { type: 'object' }} json
 * @param {Kind} kind
 * @param {string} key
 */
function fromObject(json, kind, key) {
  const { fields } = /** @type {{ fields: Record<string, Kind> }} */ (kind);
  const names = new Map(Object.keys(fields).map((name) => [spell(kind, name), name]));
  /** @type {Record<string, any>} */
  const found = {};
  for (const [{ value: spelled, at }, value] of json.value) {
    const name = names.get(spelled);
    if (name === undefined) throw new Fault(`${key} has no key ${JSON.stringify(spelled)}`, at);
    if (Object.hasOwn(found, name)) throw new Fault(`${key} has the key ${spelled} twice`, at);
    found[name] = from(value, fields[name], spelled);
  }
  for (const [spelled, name] of names) {
    if (Object.hasOwn(found, name)) continue;
    if (REQUIRED.get(kind)?.includes(name)) throw new Fault(`${key} lacks the key ${spelled}`, json.at);
    found[name] = absent(fields[name]);
  }
  return found;
}

/**
 * Puts runc's lists into the rows of the contract: into those that are there already where both have the same order,
 * which the kernel's lists have.
 *
 * @param {Record<string, any>} lists
 */
function rows({ psi, ...lists }) {
  /** @type {Record<string, any>[]} */
  const entries = [];
  for (const [name, column] of COLUMNS) {
    let next = 0;
    for (const { major, minor, op, value } of lists[name] ?? []) {
      let at = entries.findIndex((e, at) => at >= next && e.major === major && e.minor === minor && e.op === op);
      if (at < 0) at = entries.push({ major, minor, op }) - 1;
      entries[at][column] = value;
      next = at + 1;
    }
  }
  return { entries, psi };
}

/**
 * One line.
 *
 * @param {string} line
 * @returns {Instant}
 */
function instant(line) {
  const json = parse(line);
  const instant = from(json, snapshot, 'an instant');
  const places = /** @type {Json & { type: 'object' }} */ (json).value;
  const [, list] = /** @type {[any, Json & { type: 'list' }]} */ (places.find(([key]) => key.value === 'containers'));
  const ids = new Set();
  instant.containers.forEach((/** @type {{ id: string }} */ { id }, /** @type {number} */ index) => {
    const { at } = list.value[index];
    if (id.includes('\0')) throw new Fault(`container ID ${JSON.stringify(id)} has a NUL in it`, at);
    if (ids.has(id)) throw new Fault(`duplicate container ID ${JSON.stringify(id)}`, at);
    ids.add(id);
  });
  if (ids.size > 0 && !ids.has(instant.root)) {
    throw new Fault(`root container ${JSON.stringify(instant.root)} is not among the containers`, list.at);
  }
  return instant;
}

/**
 * Reads a scenario.
 *
 * @param {string} file how errors call it
 * @param {string} scenario its text
 * @returns {Instant[]} its instants, at least one
 * @throws {ScenarioError} where it is not valid
 */
export function readScenario(file, scenario) {
  const instants = [];
  let number = 0;
  let begin = 0;
  for (const line of scenario.split('\n')) {
    number += 1;
    try {
      if (/[^ \t\f\r]/.test(line)) instants.push(instant(line));
    } catch (e) {
      if (!(e instanceof Fault)) throw e;
      const column = [...line.slice(0, e.at)].length + 1;
      throw new ScenarioError(file, e.message, { line: number, column, at: begin + e.at });
    }
    begin += line.length + 1;
  }
  if (instants.length === 0) throw new ScenarioError(file, 'there is no instant in it');
  return instants;
}
