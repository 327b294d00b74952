/**
 * Stats events of containers, as `runsc events` and `runc events` print them, computed by a WebAssembly component.
 *
 * ```js
 * import { load } from 'eventout';
 *
 * const component = await load();
 * const events = component.events(host); // an object with the functions of `Host`
 * console.log(events.statsJson('web', 'runc'));
 * ```
 *
 * The same files work in Node and in browsers. Whole numbers of 64 bits are bigints.
 */

/**
 * @import * as Contract from './component/interfaces/eventout-stats-events.js'
 */

/**
 * @typedef {import('./host.js').Host} Host
 * @typedef {Omit<import('./component/interfaces/eventout-stats-types.js').EventOut, 'containerUsage'> &
 *   {containerUsage: [string, bigint][]}} EventOut the CPU time of each container is in nanoseconds
 * @typedef {import('./component/interfaces/eventout-stats-types.js').StatsEvent} StatsEvent
 * @typedef {import('./component/interfaces/eventout-stats-types.js').Stats} Stats
 * @typedef {import('./component/interfaces/eventout-stats-events.js').Dialect} Dialect
 */

import { instantiate } from './component/eventout.js';
import { modules } from './component/modules.js';
import { answers, pairs } from './contract.js';

/** Why there is no event: the errors of the contract. The message is a whole text, without a final stop. */
export class EventoutError extends Error {
  /**
   * The contract's name of the error.
   *
   * @type {Contract.Error['tag']}
   */
  case = 'unavailable';

  static {
    this.prototype.name = 'EventoutError';
  }
}

/**
 * The sandbox has no container of that ID: the caller's mistake, or the container has gone. A host throws it where
 * that is so; the text that the caller gets is the component's.
 */
export class ContainerNotFound extends EventoutError {
  case = /** @type {const} */ ('container-not-found');

  static {
    this.prototype.name = 'ContainerNotFound';
  }
}

/** The sandbox has no container at all any more. */
export class NoContainer extends EventoutError {
  case = /** @type {const} */ ('no-container');

  static {
    this.prototype.name = 'NoContainer';
  }
}

/** The host failed to tell a fact. The text is the host's, and `cause` is what it threw. */
export class Unavailable extends EventoutError {
  case = /** @type {const} */ ('unavailable');

  static {
    this.prototype.name = 'Unavailable';
  }
}

/** This component can't do what was asked of it. */
export class Unsupported extends EventoutError {
  case = /** @type {const} */ ('unsupported');

  static {
    this.prototype.name = 'Unsupported';
  }
}

/** The component broke down in the middle of a call, for the reason in `cause`. The next call has a new instance. */
export class Trap extends Error {
  static {
    this.prototype.name = 'Trap';
  }
}

const errors = {
  'container-not-found': ContainerNotFound,
  'no-container': NoContainer,
  unavailable: Unavailable,
  unsupported: Unsupported,
};

/**
 * Loads and compiles the component.
 *
 * @returns {Promise<Component>}
 * @throws where its files can't be read
 */
export async function load() {
  const compiled = Object.entries(modules).map(async ([name, url]) => {
    const module = await WebAssembly.compile(await bytes(url));
    return /** @type {const} */ ([name, module]);
  });
  return new Component(new Map(await Promise.all(compiled)));
}

/**
 * The bytes of a file of this package.
 *
 * @param {URL} url
 */
async function bytes(url) {
  if (url.protocol === 'file:') {
    const { readFile } = await import('node:fs/promises');
    return new Uint8Array(await readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`cannot load ${url}: ${response.status} ${response.statusText}`);
  return response.arrayBuffer();
}

/** The component, compiled. {@link load} makes it. It has no state: each {@link Events} has an instance of its own. */
export class Component {
  /** @type {ReadonlyMap<string, WebAssembly.Module>} */
  #modules;

  /**
   * @internal
   * @param {ReadonlyMap<string, WebAssembly.Module>} modules its core modules
   */
  constructor(modules) {
    this.#modules = modules;
  }

  /**
   * The events of the sandbox, or sandboxes, that a host tells about.
   *
   * @param {Host} host
   * @returns {Events}
   * @throws {TypeError} where the host lacks a function
   */
  events(host) {
    return new Events(this.#modules, host);
  }
}

/**
 * The events of the containers that one host knows. {@link Component.events} makes it.
 *
 * Each call asks the host anew. A call that fails leaves nothing behind that the next one could trip over. All
 * throw {@link ContainerNotFound}, {@link NoContainer}, {@link Unavailable} or {@link Unsupported} where there is no
 * event, {@link Trap} where the component broke down, and a `TypeError` where an argument is of another type.
 */
export class Events {
  /** @type {ReadonlyMap<string, WebAssembly.Module>} */
  #modules;

  /** @type {Host} */
  #host;

  /**
   * The instance that served the last call, unless it broke down then, or a call is under way.
   *
   * @type {typeof Contract | undefined}
   */
  #instance;

  #busy = false;

  /**
   * What the host threw during this call, by the text that the component was told.
   *
   * @type {Map<string, unknown>}
   */
  #thrown = new Map();

  /**
   * @internal
   * @param {ReadonlyMap<string, WebAssembly.Module>} modules
   * @param {Host} host
   */
  constructor(modules, host) {
    for (const name of Object.keys(answers)) {
      if (typeof host?.[/** @type {keyof Host} */ (name)] !== 'function') {
        throw new TypeError(`the host has no function ${name}`);
      }
    }
    this.#modules = modules;
    this.#host = host;
  }

  /**
   * The event as gVisor's sentry computes it: no CPU total, but the CPU time of all containers.
   *
   * @param {string} container
   * @returns {EventOut}
   */
  event(container) {
    checkId(container);
    return this.#call((component) => {
      const event = component.event(container);
      return { ...event, containerUsage: pairs(event.containerUsage) };
    });
  }

  /**
   * The same as one line of JSON, byte for byte as Go encodes gVisor's `EventOut`.
   *
   * @param {string} container
   * @returns {string}
   */
  eventJson(container) {
    checkId(container);
    return this.#call((component) => component.eventJson(container));
  }

  /**
   * The event that `runsc events` and `runc events` print.
   *
   * @param {string} container
   * @returns {StatsEvent}
   */
  stats(container) {
    checkId(container);
    return this.#call((component) => component.stats(container));
  }

  /**
   * The same as one line of JSON, byte for byte as Go encodes it in that dialect.
   *
   * @param {string} container
   * @param {Dialect} dialect
   * @returns {string}
   */
  statsJson(container, dialect) {
    checkId(container);
    checkDialect(dialect);
    return this.#call((component) => component.statsJson(container, dialect));
  }

  /**
   * `statsJson` of several containers of one sandbox, in the same order, of which the host is asked for what they
   * share once. A container of which there is no event has an error in its place.
   *
   * @param {Iterable<string>} containers
   * @param {Dialect} dialect
   * @returns {(string | EventoutError)[]}
   */
  sweepJson(containers, dialect) {
    const ids = [...containers];
    ids.forEach(checkId);
    checkDialect(dialect);
    return this.#call((component) =>
      component.sweepJson(ids, dialect).map((line) => (line.tag === 'ok' ? line.val : this.#error(line.val))),
    );
  }

  /**
   * The line by which `runc events` tells that the kernel killed a task of the container for want of memory. The
   * host is not asked.
   *
   * @param {string} container
   * @returns {string}
   */
  oomJson(container) {
    checkId(container);
    return this.#call((component) => component.oomJson(container));
  }

  /**
   * Runs `call` on the instance of the last call, or on a new one. An instance that broke down is not used again:
   * what it left in its memory may be anything.
   *
   * @template T
   * @param {(component: typeof Contract) => T} call
   * @returns {T}
   */
  #call(call) {
    if (this.#busy) throw new Error('a function of the host asked for an event of the same host');
    let instance = this.#instance;
    this.#instance = undefined;
    this.#busy = true;
    try {
      instance ??= this.#instantiate();
      const answer = call(instance);
      this.#instance = instance;
      return answer;
    } catch (e) {
      if (!isRefusal(e)) {
        const why = e instanceof Error ? e.message : e;
        throw new Trap(`the component broke down: ${why}`, { cause: e });
      }
      this.#instance = instance;
      throw this.#error(e);
    } finally {
      this.#busy = false;
      this.#thrown.clear();
    }
  }

  #instantiate() {
    /** @param {string} name */
    const module = (name) => /** @type {WebAssembly.Module} */ (this.#modules.get(name));
    const functions = Object.keys(answers).map((name) => {
      const ask = this.#ask.bind(this, /** @type {keyof Host} */ (name));
      return [name, ask];
    });
    // The types that jco makes are of another opinion: they name the interface with its version, and have functions
    // throw what results hold as an error.
    const imports = /** @type {any} */ ({ 'eventout:stats/sandbox': Object.fromEntries(functions) });
    return instantiate(module, imports).events;
  }

  /**
   * Asks the host, as the component does. It does not throw: that would end the component in the middle of a call.
   *
   * @param {keyof Host} name
   * @param {string[]} container
   */
  #ask(name, ...container) {
    try {
      const ask = /** @type {(...container: string[]) => unknown} */ (this.#host[name]);
      const answer = ask.apply(this.#host, container);
      return { tag: 'ok', val: answers[name].check(answer, `the host's ${name}`) };
    } catch (e) {
      const fault = explain(e);
      if (fault.tag === 'unavailable') this.#thrown.set(fault.val, e);
      return { tag: 'err', val: fault };
    }
  }

  /**
   * An error of the component as one of ours.
   *
   * @param {Contract.Error} refusal
   * @returns {EventoutError}
   */
  #error({ tag, val }) {
    const cause = tag === 'unavailable' && this.#thrown.has(val) ? { cause: this.#thrown.get(val) } : undefined;
    return new errors[tag](val, cause);
  }
}

/**
 * Whether it is an error of the contract, which jco throws as it is.
 *
 * @param {any} e
 * @returns {e is Contract.Error}
 */
function isRefusal(e) {
  return !(e instanceof Error) && Object.hasOwn(errors, e?.tag);
}

/**
 * What a host threw, which may be anything, as an error of the contract.
 *
 * @param {any} e
 * @returns {import('./component/interfaces/eventout-stats-sandbox.js').Error}
 */
function explain(e) {
  try {
    if (e instanceof ContainerNotFound) return { tag: 'container-not-found' };
    return { tag: 'unavailable', val: String(e instanceof Error ? e.message : e).toWellFormed() };
  } catch {
    return { tag: 'unavailable', val: 'the host threw something without a text' };
  }
}

/**
 * @param {unknown} container
 */
function checkId(container) {
  if (typeof container !== 'string' || !container.isWellFormed()) {
    throw new TypeError('the ID of a container must be a string without lone surrogates');
  }
}

/**
 * @param {unknown} dialect
 */
function checkDialect(dialect) {
  if (dialect !== 'runsc' && dialect !== 'runc') throw new TypeError("the dialect must be 'runsc' or 'runc'");
}
