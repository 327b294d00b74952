/**
 * Scenarios: files of samples, a line of JSON each (docs/scenarios.md), and a host that reports the facts of a sample.
 *
 * @import { Facts, Host } from './host.js'
 * @import { Stats } from './index.js'
 */

import { parse, parseNumberAndBigInt } from 'lossless-json';
import { list, option, record, requiredList, stats, string, u64 } from './contract.js';
import { EventoutError } from './index.js';

/**
 * The facts about one container.
 *
 * @typedef {object} Container
 * @property {string} id
 * @property {bigint} pidsCount
 * @property {bigint} [cpuUsage] Its entry in the result of `cpuUsage`.
 * @property {Facts<Stats>} [stats]
 * @property {string} [error] Every call about this container fails with this message.
 * @property {unknown} [details] Names and settings, which no component sees.
 */

/**
 * The facts about one sandbox.
 *
 * @typedef {object} Sandbox
 * @property {string} rootContainer
 * @property {bigint} [memoryUsage]
 * @property {bigint} [cgroupCpuUsage]
 * @property {Container[]} containers
 */

const container = record({
  id: string,
  pidsCount: u64,
  cpuUsage: option(u64),
  stats: option(stats),
  error: option(string),
  details: option((value) => value),
});

const sandbox = record({
  format: option(string),
  rootContainer: string,
  memoryUsage: option(u64),
  cgroupCpuUsage: option(u64),
  containers: requiredList(container),
});

/** An error in a scenario. */
export class ScenarioError extends Error {
  /**
   * @param {number} line the number of the line, from 1
   * @param {string} message
   */
  constructor(line, message) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

/**
 * Reads a scenario.
 *
 * @param {string} text
 * @returns {Sandbox[][]} its samples, at least one: the sandboxes of each
 * @throws {ScenarioError}
 */
export function readScenario(text) {
  const samples = text.split('\n').flatMap((line, at) => {
    if (line.trim() === '') return [];
    try {
      return [readSample(line)];
    } catch (e) {
      throw new ScenarioError(at + 1, e instanceof Error ? e.message : String(e));
    }
  });
  if (samples.length === 0) throw new ScenarioError(1, 'the scenario has no sample');
  return samples;
}

/** @param {string} line */
function readSample(line) {
  const value = parse(line, null, parseNumberAndBigInt);
  const snakeCase = (/** @type {string} */ name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  /** @type {Sandbox[]} */
  const sandboxes = Array.isArray(value)
    ? list(sandbox)(value, 'sandboxes', snakeCase)
    : [sandbox(value, 'sandbox', snakeCase)];
  const ids = new Set();
  for (const { format, rootContainer, containers } of /** @type {(Sandbox & { format?: string })[]} */ (sandboxes)) {
    if (![undefined, 'gvisor', 'runc'].includes(format)) throw new Error('format must be "gvisor" or "runc"');
    for (const { id } of containers) {
      if (ids.has(id)) throw new Error(`the container ID ${JSON.stringify(id)} occurs twice`);
      ids.add(id);
    }
    if (containers.length > 0 && !containers.some(({ id }) => id === rootContainer)) {
      throw new Error(`the root container ${JSON.stringify(rootContainer)} is not among the containers`);
    }
  }
  return sandboxes;
}

/**
 * A host that reports the facts of a sample.
 *
 * @implements {Host}
 */
export class SampleHost {
  /**
   * The sandboxes of the sample.
   *
   * @type {Sandbox[]}
   */
  sample = [];

  /**
   * The sandbox and the container of the current call. `pidsCount`, which is called first, finds them.
   *
   * @type {Sandbox | undefined}
   */
  #sandbox;

  /** @type {Container | undefined} */
  #container;

  /** @param {string} id */
  pidsCount(id) {
    const matches = (/** @type {Container} */ container) => container.id === id;
    this.#sandbox = this.sample.find(({ containers }) => containers.some(matches));
    this.#container = this.#sandbox?.containers.find(matches);
    if (this.#container === undefined) throw new EventoutError('container-not-found');
    if (this.#container.error !== undefined) throw new Error(this.#container.error);
    return this.#container.pidsCount;
  }

  memoryUsage() {
    return this.#sandbox?.memoryUsage;
  }

  containerCount() {
    return BigInt(this.#sandbox?.containers.length ?? 0);
  }

  rootContainer() {
    return this.#sandbox?.rootContainer ?? '';
  }

  cpuUsage() {
    const containers = this.#sandbox?.containers ?? [];
    return containers.flatMap(({ id, cpuUsage }) =>
      cpuUsage === undefined ? [] : [/** @type {[string, bigint]} */ ([id, cpuUsage])],
    );
  }

  cgroupCpuUsage() {
    return this.#sandbox?.cgroupCpuUsage;
  }

  containerStats() {
    return this.#container?.stats;
  }
}
