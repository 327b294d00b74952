/**
 * What a host may answer: the kinds of values that the contract has, and a check of each.
 *
 * The code that jco makes would take almost anything: it wraps a bigint that is out of range, makes a number of
 * a text, and of a lone surrogate a replacement character. And an error that it throws on the way leaves the
 * component in the middle of a call. So whatever a host answers is checked, and copied, before it crosses.
 */

/**
 * A kind of value.
 *
 * @typedef {object} Kind
 * @property {string} name What it is called: `u64`, `option`, `record`, ...
 * @property {Kind} [of] What an `option`, `list` or `map` holds.
 * @property {Record<string, Kind>} [fields] The fields of a `record`.
 * @property {(value: any, where: string) => any} check Makes of a value what crosses, or throws a `TypeError`
 *   that says what `where` is and what it must be.
 */

/**
 * A value as errors show it. Nothing of the value itself runs.
 *
 * @param {unknown} value
 */
function shown(value) {
  switch (typeof value) {
    case 'bigint':
      return `${value}n`;
    case 'string':
      return value.length > 64 ? `${JSON.stringify(value.slice(0, 64))}...` : JSON.stringify(value);
    case 'number':
    case 'boolean':
    case 'undefined':
      return `${value}`;
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? 'a list' : 'an object';
    default:
      return `a ${typeof value}`;
  }
}

/**
 * @param {string} where
 * @param {unknown} value
 * @param {string} what
 */
function wrong(where, value, what) {
  return new TypeError(`${where} is ${shown(value)}, and must be ${what}`);
}

/**
 * @param {string} name
 * @param {bigint} min
 * @param {bigint} max
 * @returns {Kind}
 */
function big(name, min, max) {
  return {
    name,
    check(value, where) {
      if (typeof value !== 'bigint' || value < min || value > max) {
        throw wrong(where, value, `a bigint from ${min} to ${max}`);
      }
      return value;
    },
  };
}

/**
 * @param {string} name
 * @param {number} max
 * @returns {Kind}
 */
function small(name, max) {
  return {
    name,
    check(value, where) {
      if (!Number.isInteger(value) || value < 0 || value > max) {
        throw wrong(where, value, `a whole number from 0 to ${max}`);
      }
      return value;
    },
  };
}

export const u64 = big('u64', 0n, 2n ** 64n - 1n);
const s64 = big('s64', -(2n ** 63n), 2n ** 63n - 1n);
const u16 = small('u16', 2 ** 16 - 1);
/** Hundredths of a per cent: 2935 is 29.35 %. */
const basisPoints = small('basis-points', 2 ** 32 - 1);

/** @type {Kind} */
export const text = {
  name: 'text',
  check(value, where) {
    if (typeof value !== 'string') throw wrong(where, value, 'a string');
    if (!value.isWellFormed()) throw wrong(where, value, 'a string without lone surrogates');
    return value;
  },
};

/** @type {Kind} */
const nothing = {
  name: 'nothing',
  check(value, where) {
    if (value !== undefined) throw wrong(where, value, 'undefined');
  },
};

/**
 * `none` is `undefined` or `null`.
 *
 * @param {Kind} of
 * @returns {Kind}
 */
export function option(of) {
  return { name: 'option', of, check: (value, where) => (value == null ? undefined : of.check(value, where)) };
}

/**
 * @param {unknown} value
 * @param {string} where
 * @param {string} what
 * @returns {any[]}
 */
function all(value, where, what) {
  const iterable = typeof value === 'object' && value !== null && Symbol.iterator in value;
  if (!iterable) throw wrong(where, value, what);
  return [.../** @type {Iterable<any>} */ (value)];
}

/**
 * A list. A record's list that is absent is empty.
 *
 * @param {Kind} of
 * @returns {Kind}
 */
export function list(of) {
  /** @param {any[]} items */
  const pack = (items) => (of === u64 ? new BigUint64Array(items) : of === u16 ? new Uint16Array(items) : items);
  return {
    name: 'list',
    of,
    check(value = [], where) {
      const items = all(value, where, 'a list');
      return pack(items.map((item, at) => of.check(item, `${where}[${at}]`)));
    },
  };
}

/**
 * A list of names and what belongs to each: a `Map`, or a list of pairs. A record's map that is absent is empty.
 *
 * @param {Kind} of
 * @returns {Kind}
 */
export function map(of) {
  return {
    name: 'map',
    of,
    check(value = [], where) {
      return all(value, where, 'a Map or a list of pairs').map((pair, at) => {
        if (!Array.isArray(pair) || pair.length !== 2) throw wrong(`${where}[${at}]`, pair, 'a pair');
        const name = text.check(pair[0], `the name of ${where}[${at}]`);
        return [name, of.check(pair[1], `${where}[${JSON.stringify(name)}]`)];
      });
    },
  };
}

/**
 * A record. A field that is a record and absent has all fields absent.
 *
 * @template {Record<string, Kind>} F
 * @param {F} fields
 * @returns {Kind & { fields: F }}
 */
export function record(fields) {
  const entries = Object.entries(fields);
  return {
    name: 'record',
    fields,
    check(value = {}, where) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(where, value, 'an object');
      for (const name of Object.keys(value)) {
        if (!Object.hasOwn(fields, name)) throw new TypeError(`${where} has no field ${shown(name)}`);
      }
      return Object.fromEntries(entries.map(([name, kind]) => [name, kind.check(value[name], `${where}.${name}`)]));
    },
  };
}

const figure = option(u64);

const psiData = record({ avg10: basisPoints, avg60: basisPoints, avg300: basisPoints, total: u64 });
const psi = option(record({ some: psiData, full: psiData }));

export const throttling = record({ periods: figure, throttledPeriods: figure, throttledTime: figure });

const memoryEntry = record({ limit: figure, usage: figure, max: figure, failcnt: figure });

export const blkio = record({
  entries: list(
    record({
      major: u64,
      minor: u64,
      op: text,
      ioServiceBytes: figure,
      ioServiced: figure,
      ioQueued: figure,
      ioServiceTime: figure,
      ioWaitTime: figure,
      ioMerged: figure,
      ioTime: figure,
      sectors: figure,
    }),
  ),
  psi,
});

export const networkInterface = record({
  name: text,
  rxBytes: u64,
  rxPackets: u64,
  rxErrors: u64,
  rxDropped: u64,
  txBytes: u64,
  txPackets: u64,
  txErrors: u64,
  txDropped: u64,
});

/** The contract's `stats`. */
export const stats = record({
  cpu: record({
    usage: record({
      kernel: figure,
      user: figure,
      total: figure,
      percpu: list(u64),
      percpuKernel: list(u64),
      percpuUser: list(u64),
    }),
    throttling,
    psi,
  }),
  cpuset: record({
    cpus: list(u16),
    cpuExclusive: figure,
    mems: list(u16),
    memHardwall: figure,
    memExclusive: figure,
    memoryMigrate: figure,
    memorySpreadPage: figure,
    memorySpreadSlab: figure,
    memoryPressure: figure,
    schedLoadBalance: figure,
    schedRelaxDomainLevel: option(s64),
  }),
  memory: record({
    cache: figure,
    usage: memoryEntry,
    swap: memoryEntry,
    kernel: memoryEntry,
    kernelTcp: memoryEntry,
    raw: map(u64),
    psi,
  }),
  pids: record({ current: figure, limit: figure }),
  blkio,
  hugetlb: map(record({ usage: figure, max: figure, failcnt: figure })),
  intelRdt: record({
    l3CacheInfo: option(record({ cbmMask: text, minCbmBits: u64, numClosids: u64 })),
    l3CacheSchemaRoot: option(text),
    l3CacheSchema: option(text),
    memBwInfo: option(record({ bandwidthGran: u64, delayLinear: u64, minBandwidth: u64, numClosids: u64 })),
    memBwSchemaRoot: option(text),
    memBwSchema: option(text),
    schemata: list(text),
    mbmStats: list(record({ mbmTotalBytes: u64, mbmLocalBytes: u64 })),
    cmtStats: list(record({ llcOccupancy: u64 })),
  }),
  networkInterfaces: list(networkInterface),
});

const cpuTimes = map(u64);

/**
 * The contract's `container-cpu`, of a `Map` or a list of pairs.
 *
 * @type {Kind}
 */
const containerCpu = {
  name: 'container-cpu',
  check(value, where) {
    if (value === undefined) throw wrong(where, value, 'a Map or a list of pairs');
    /** @type {[string, bigint][]} */
    const pairs = cpuTimes.check(value, where);
    const ids = pairs.map(([id]) => id);
    const broken = ids.find((id) => id.includes('\0'));
    if (broken !== undefined) throw wrong(`an ID in ${where}`, broken, 'a string without a NUL');
    return { containers: ids.join('\0'), usage: new BigUint64Array(pairs.map(([, ns]) => ns)) };
  },
};

/**
 * A `container-cpu` as pairs.
 *
 * @param {{containers: string, usage: BigUint64Array}} cpu
 * @returns {[string, bigint][]}
 */
export function pairs({ containers, usage }) {
  const ids = containers.split('\0');
  return Array.from(usage, (ns, at) => [ids[at], ns]);
}

/** What each function of a host answers. */
export const answers = {
  pidsCount: u64,
  updateMemoryUsage: nothing,
  usage: record({ memory: u64, containerCount: u64, rootContainer: option(text), cpu: containerCpu }),
  cgroupCpuUsage: figure,
  containerStats: option(stats),
};
