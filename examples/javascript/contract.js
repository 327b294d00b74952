/**
 * The types of the contract, and a check of the values that a host returns.
 *
 * The bindings that jco makes wrap a bigint that is out of range, convert strings to numbers, and throw for a missing
 * record in the middle of a call. So each result is checked, and completed, before it reaches them.
 *
 * @typedef {(value: any, where: string, spell?: (name: string) => string) => any} Type Returns the value in the form
 *   that jco takes, or throws a `TypeError` that says `where` it is wrong. `spell` converts the name of a field from
 *   camel case to the one that it has in the value.
 */

/**
 * @param {string} expected
 * @param {(value: any) => boolean} matches
 * @returns {Type}
 */
function scalar(expected, matches) {
  return (value, where) => {
    if (matches(value)) return value;
    const found =
      typeof value === 'bigint' ? `${value}n`
      : typeof value === 'string' ? JSON.stringify(value)
      : typeof value === 'object' && value !== null ? 'an object'
      : String(value);
    throw new TypeError(`${where} is ${found.length > 64 ? `${found.slice(0, 64)}...` : found}, and must be ${expected}`);
  };
}

/**
 * @param {bigint} min
 * @param {bigint} max
 */
function integer(min, max) {
  return scalar(`a bigint from ${min} to ${max}`, (value) => typeof value === 'bigint' && value >= min && value <= max);
}

/**
 * An integer that is a `number` for jco. A bigint is converted.
 *
 * @param {number} max
 * @returns {Type}
 */
function number(max) {
  const type = scalar(`an integer from 0 to ${max}`, (value) => Number.isInteger(value) && value >= 0 && value <= max);
  return (value, where) => type(typeof value === 'bigint' ? Number(value) : value, where);
}

/**
 * @param {string} expected
 * @param {(value: any) => boolean} matches
 */
function compound(expected, matches) {
  return scalar(expected, (value) => typeof value === 'object' && value !== null && matches(value));
}

const array = compound('an array', (value) => Array.isArray(value) || ArrayBuffer.isView(value));
const tuple = compound('a pair', (value) => Array.isArray(value) && value.length === 2);
const object = compound('a record', (value) => !Array.isArray(value));

export const u64 = integer(0n, 2n ** 64n - 1n);
export const string = scalar('a string without lone surrogates', (value) => typeof value === 'string' && value.isWellFormed());
const bool = scalar('a boolean', (value) => typeof value === 'boolean');
const s64 = integer(-(2n ** 63n), 2n ** 63n - 1n);
const u32 = number(2 ** 32 - 1);
const u16 = number(2 ** 16 - 1);

/**
 * @param {Type} type
 * @returns {Type}
 */
export function option(type) {
  return (value, where, spell) => (value == null ? undefined : type(value, where, spell));
}

/**
 * A list. One that is left out is empty.
 *
 * @param {Type} type
 * @returns {Type}
 */
export function list(type) {
  return (value = [], where, spell) =>
    Array.from(array(value, where), (item, at) => type(item, `${where}[${at}]`, spell));
}

/**
 * A name and a value.
 *
 * @param {Type} type
 * @returns {Type}
 */
function pair(type) {
  return (value, where, spell) => {
    const [name, item] = tuple(value, where);
    return [string(name, `${where}[0]`), type(item, `${where}[1]`, spell)];
  };
}

/**
 * A record. One that is left out has all fields left out.
 *
 * @param {Record<string, Type>} fields
 * @returns {Type}
 */
export function record(fields) {
  return (value = {}, where, spell = (name) => name) => {
    const names = new Map(Object.keys(fields).map((name) => [spell(name), name]));
    for (const key of Object.keys(object(value, where))) {
      if (!names.has(key)) throw new TypeError(`${where} has no field ${JSON.stringify(key)}`);
    }
    return Object.fromEntries(
      Array.from(names, ([key, name]) => [name, fields[name](value[key], `${where}.${key}`, spell)]),
    );
  };
}

/**
 * A list that can't be left out.
 *
 * @param {Type} type
 * @returns {Type}
 */
export function requiredList(type) {
  const items = list(type);
  return (value, where, spell) => items(array(value, where), where, spell);
}

const psiData = record({ avg10: u32, avg60: u32, avg300: u32, total: u64 });
const psi = option(record({ some: psiData, full: psiData }));
const flag = option(bool);
const counter = option(u64);
const memoryEntry = record({ limit: counter, usage: counter, max: counter, failcnt: counter });

export const stats = record({
  cpu: record({
    usage: record({
      kernel: counter,
      user: counter,
      total: counter,
      percpu: list(u64),
      percpuKernel: list(u64),
      percpuUser: list(u64),
    }),
    throttling: record({ periods: counter, throttledPeriods: counter, throttledTime: counter }),
    psi,
  }),
  cpuset: record({
    cpus: list(u16),
    cpuExclusive: flag,
    mems: list(u16),
    memHardwall: flag,
    memExclusive: flag,
    memoryMigrate: flag,
    memorySpreadPage: flag,
    memorySpreadSlab: flag,
    memoryPressure: counter,
    schedLoadBalance: flag,
    schedRelaxDomainLevel: option(s64),
  }),
  memory: record({
    cache: counter,
    usage: memoryEntry,
    swap: memoryEntry,
    kernel: memoryEntry,
    kernelTcp: memoryEntry,
    raw: list(pair(u64)),
    psi,
  }),
  pids: record({ current: counter, limit: counter }),
  blkio: record({
    entries: list(
      record({
        major: u64,
        minor: u64,
        op: string,
        ioServiceBytes: counter,
        ioServiced: counter,
        ioQueued: counter,
        ioServiceTime: counter,
        ioWaitTime: counter,
        ioMerged: counter,
        ioTime: counter,
        sectors: counter,
      }),
    ),
    psi,
  }),
  hugetlb: list(pair(record({ usage: counter, max: counter, failcnt: counter }))),
  networkInterfaces: list(
    record({
      name: string,
      rxBytes: u64,
      rxPackets: u64,
      rxErrors: u64,
      rxDropped: u64,
      txBytes: u64,
      txPackets: u64,
      txErrors: u64,
      txDropped: u64,
    }),
  ),
});

/** The types of the results of the functions of `sandbox`. */
export const results = {
  pidsCount: u64,
  memoryUsage: counter,
  containerCount: u64,
  rootContainer: string,
  cpuUsage: requiredList(pair(u64)),
  cgroupCpuUsage: counter,
  containerStats: option(stats),
};
