/**
 * Stats events of containers, as `runsc events` and `runc events` print them, computed by a WebAssembly component.
 *
 * ```js
 * import { load } from 'eventout';
 *
 * const events = await load(host); // an object with the functions of `Host`
 * console.log(events.statsJson('web', 'runc'));
 * ```
 *
 * The same files work in Node and in browsers. Integers of 64 bits are bigints.
 *
 * @import * as Contract from './component/interfaces/eventout-stats-events.js'
 */

/**
 * @typedef {typeof Contract} Events
 * @typedef {import('./host.js').Host} Host
 * @typedef {Contract.EventOut} EventOut
 * @typedef {Contract.Format} Format
 * @typedef {Contract.StatsEvent} StatsEvent
 * @typedef {StatsEvent['data']} Stats
 */

import { instantiate } from './component/eventout.js';
import { modules } from './component/modules.js';
import { results } from './contract.js';

/** An error of the contract. The message is that of the contract, without a final full stop. */
export class EventoutError extends Error {
  /**
   * @param {Contract.Error['tag']} code the name of the error in the contract
   * @param {string} [message]
   * @param {ErrorOptions} [options]
   */
  constructor(code, message = code, options) {
    super(message, options);
    this.code = code;
  }

  static {
    this.prototype.name = 'EventoutError';
  }
}

/** @type {Promise<Map<string, WebAssembly.Module>> | undefined} */
let compiled;

/**
 * Loads the component, and connects it to a host.
 *
 * The functions of the result throw an {@link EventoutError} for an error of the contract. Its `cause` is what the
 * host threw. Any other error, such as a `TypeError` for an argument of another type, ends the instance of the
 * component, and the next call makes a new one.
 *
 * @param {Host} host
 * @returns {Promise<Events>}
 * @throws {TypeError} if the host lacks a function
 */
export async function load(host) {
  for (const name of Object.keys(results)) {
    if (typeof host[/** @type {keyof Host} */ (name)] !== 'function') throw new TypeError(`the host has no ${name}`);
  }
  const components = await (compiled ??= compile());

  /** @type {unknown} */
  let cause;
  const sandbox = Object.entries(results).map(([name, check]) => {
    // jco takes results in this form too. It would pass on an `Error` that is thrown, through the component, which is
    // then in the middle of a call.
    const call = (/** @type {string[]} */ ...args) => {
      try {
        const result = /** @type {Record<string, any>} */ (host)[name](...args);
        return { tag: 'ok', val: check(result, `the result of ${name}`) };
      } catch (/** @type {any} */ e) {
        cause = e;
        return { tag: 'err', val: errorOf(e) };
      }
    };
    return [name, call];
  });
  const imports = /** @type {any} */ ({ 'eventout:stats/sandbox': Object.fromEntries(sandbox) });

  /** @type {Events | undefined} */
  let idle;
  const functions = ['event', 'eventJson', 'stats', 'statsJson', 'oomJson'].map((name) => {
    const call = (/** @type {string[]} */ ...args) => {
      const instance = idle ?? instantiate((module) => /** @type {any} */ (components.get(module)), imports).events;
      idle = undefined;
      cause = undefined;
      try {
        const result = /** @type {Record<string, any>} */ (instance)[name](...args);
        idle = instance;
        return result;
      } catch (/** @type {any} */ e) {
        // jco throws errors of the contract as they are.
        if (e instanceof Error) throw e;
        idle = instance;
        throw new EventoutError(e.tag, e.val, e.tag === 'unavailable' ? { cause } : undefined);
      }
    };
    return [name, call];
  });
  return Object.fromEntries(functions);
}

/**
 * Converts what a host threw to an error of the interface `sandbox`.
 *
 * @param {any} e
 */
function errorOf(e) {
  if (e instanceof EventoutError && e.code === 'container-not-found') return { tag: e.code };
  return { tag: 'unavailable', val: String(e?.message ?? e) };
}

async function compile() {
  const entries = Object.entries(modules).map(async ([name, url]) => {
    const module = await WebAssembly.compile(await read(url));
    return /** @type {const} */ ([name, module]);
  });
  return new Map(await Promise.all(entries));
}

/** @param {URL} url */
async function read(url) {
  if (url.protocol === 'file:') {
    const { readFile } = await import('node:fs/promises');
    return new Uint8Array(await readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`cannot load ${url}: ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}
