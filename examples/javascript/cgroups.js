#!/usr/bin/env node
/**
 * Prints the statistics of cgroups of this machine, a line for each, as `runc events --stats` prints those of a
 * container: memory, CPU time and tasks.
 *
 * A controller is read in v1 if the cgroup has a directory there, and in v2 otherwise. So v1, v2 and both together work.
 *
 * @import { Facts } from './host.js'
 * @import { Stats } from './index.js'
 */

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { load } from './index.js';
import { SampleHost } from './scenario.js';

const USAGE = `usage: cgroups.js [--root DIRECTORY] [--children] [CGROUP...]

Prints the statistics of each CGROUP, or with --children of the cgroups directly in it. CGROUP is a path below
DIRECTORY, which is /sys/fs/cgroup or has the same layout. The default is the cgroups directly in DIRECTORY.`;

const MAX = 2n ** 64n - 1n;

/** The name of the v2 hierarchy beside the controllers of v1. */
const UNIFIED = 'unified';

/**
 * The directories of a cgroup, by the v1 controller, or {@link UNIFIED}.
 *
 * @typedef {Map<string, string>} Directories
 */

/**
 * Finds the hierarchies: one of v2, or a directory for each v1 controller, or set of them.
 *
 * @param {string} root
 * @returns {Directories}
 */
function hierarchies(root) {
  if (existsSync(join(root, 'cgroup.controllers'))) return new Map([[UNIFIED, root]]);
  const names = childrenOf(root);
  return new Map(names.flatMap((name) => name.split(',').map((controller) => [controller, join(root, name)])));
}

/** @param {string} directory */
function childrenOf(directory) {
  const entries = readdirSync(directory, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();
}

/**
 * @param {Directories} root
 * @param {string} cgroup
 * @returns {Directories}
 */
function directoriesOf(root, cgroup) {
  if (/(^|\/)\.\.?(\/|$)/.test(cgroup)) throw new Error('the path has . or .. in it');
  const directories = [...root].map(([controller, path]) => /** @type {const} */ ([controller, join(path, cgroup)]));
  const existing = directories.filter(([, path]) => existsSync(path));
  if (existing.length === 0) throw new Error('there is no such cgroup');
  return new Map(existing);
}

/**
 * Reads an interface file. `undefined` if it does not exist: controllers differ, and so do kernels.
 *
 * @template T
 * @param {string} directory
 * @param {string} name
 * @param {(text: string) => T} parse
 */
function read(directory, name, parse) {
  const path = join(directory, name);
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (e) {
    // ENODEV if the controller was taken away from the cgroup.
    if (['ENOENT', 'ENODEV'].includes(/** @type {NodeJS.ErrnoException} */ (e).code ?? '')) return undefined;
    throw e;
  }
  try {
    return parse(text);
  } catch (e) {
    throw new Error(`${path}: ${/** @type {Error} */ (e).message}`);
  }
}

/**
 * Parses a counter or a size. The kernel may print a counter as negative for a moment, which counts as 0, as in runc.
 *
 * @param {string} text
 */
function parseU64(text) {
  const digits = text.trim();
  if (/^-[0-9]+$/.test(digits)) return 0n;
  const value = /^[0-9]{1,20}$/.test(digits) ? BigInt(digits) : MAX + 1n;
  if (value > MAX) throw new Error(`${JSON.stringify(digits.slice(0, 64))} is not a u64`);
  return value;
}

/** @param {string} text */
function parseMax(text) {
  return text.trim() === 'max' ? MAX : parseU64(text);
}

/**
 * Parses a flat keyed file: lines of a name and a value.
 *
 * @param {string} text
 * @returns {Map<string, bigint>}
 */
function parseFlatKeyed(text) {
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(lines.map((line) => {
    const [name, value, ...rest] = line.split(' ');
    if (value === undefined || rest.length > 0) throw new Error(`${JSON.stringify(line)} is not a name and a value`);
    return [name, parseU64(value)];
  }));
}

/**
 * Parses the columns `user` and `system` of a v1 `cpuacct.usage_all`.
 *
 * @param {string} text
 */
function parseUsageAll(text) {
  const lines = text.trim().split('\n').slice(1).map((line) => line.split(' '));
  return { user: lines.map((line) => parseU64(line[1] ?? '')), system: lines.map((line) => parseU64(line[2] ?? '')) };
}

/**
 * @param {bigint | undefined} value
 * @param {bigint} factor
 */
function times(value, factor) {
  return value === undefined ? undefined : value * factor;
}

/**
 * @param {string} directory
 * @param {string} prefix
 */
function memoryEntry(directory, prefix) {
  const usage = read(directory, `${prefix}.usage_in_bytes`, parseU64);
  if (usage === undefined) return {};
  return {
    usage,
    limit: read(directory, `${prefix}.limit_in_bytes`, parseU64),
    max: read(directory, `${prefix}.max_usage_in_bytes`, parseU64),
    failcnt: read(directory, `${prefix}.failcnt`, parseU64),
  };
}

/**
 * @param {string} directory
 * @returns {Facts<Stats['memory']>}
 */
function memoryV1(directory) {
  const raw = read(directory, 'memory.stat', parseFlatKeyed);
  return {
    cache: raw?.get('cache'),
    usage: memoryEntry(directory, 'memory'),
    swap: memoryEntry(directory, 'memory.memsw'),
    kernel: memoryEntry(directory, 'memory.kmem'),
    kernelTcp: memoryEntry(directory, 'memory.kmem.tcp'),
    raw: raw && [...raw],
  };
}

/**
 * @param {string} directory
 * @returns {Facts<Stats['memory']>}
 */
function memoryV2(directory) {
  const raw = read(directory, 'memory.stat', parseFlatKeyed);
  const usage = read(directory, 'memory.current', parseU64);
  const limit = read(directory, 'memory.max', parseMax);
  const swap = read(directory, 'memory.swap.current', parseU64);
  const swapLimit = read(directory, 'memory.swap.max', parseMax);
  // Memory and swap together, as in runc and v1.
  const sum = (/** @type {bigint | undefined} */ a, /** @type {bigint | undefined} */ b) =>
    a === undefined || b === undefined ? undefined : a + b > MAX ? MAX : a + b;
  return {
    cache: raw?.get('file'),
    usage: { usage, limit, max: read(directory, 'memory.peak', parseU64) },
    swap: { usage: sum(usage, swap), limit: sum(limit, swapLimit) },
    raw: raw && [...raw],
  };
}

/** @param {string} directory */
function cpuUsageV1(directory) {
  const stat = read(directory, 'cpuacct.stat', parseFlatKeyed);
  const all = read(directory, 'cpuacct.usage_all', parseUsageAll);
  return {
    total: read(directory, 'cpuacct.usage', parseU64),
    // Ticks of 10 ms.
    user: times(stat?.get('user'), 10_000_000n),
    kernel: times(stat?.get('system'), 10_000_000n),
    percpu: read(directory, 'cpuacct.usage_percpu', (text) => text.trim().split(/\s+/).map(parseU64)),
    percpuUser: all?.user,
    percpuKernel: all?.system,
  };
}

/** @param {string} directory */
function cpuUsageV2(directory) {
  const stat = read(directory, 'cpu.stat', parseFlatKeyed);
  return {
    total: times(stat?.get('usage_usec'), 1000n),
    user: times(stat?.get('user_usec'), 1000n),
    kernel: times(stat?.get('system_usec'), 1000n),
  };
}

/** @param {string} directory */
function throttling(directory) {
  const stat = read(directory, 'cpu.stat', parseFlatKeyed);
  return {
    periods: stat?.get('nr_periods'),
    throttledPeriods: stat?.get('nr_throttled'),
    throttledTime: stat?.get('throttled_time') ?? times(stat?.get('throttled_usec'), 1000n),
  };
}

/**
 * Counts the tasks of a cgroup and its descendants.
 *
 * @param {string} directory
 * @param {string} file the interface file that lists those of one cgroup
 * @returns {bigint}
 */
function countTasks(directory, file) {
  const own = read(directory, file, (text) => BigInt(text.split('\n').length - 1)) ?? 0n;
  return childrenOf(directory).reduce((sum, name) => sum + countTasks(join(directory, name), file), own);
}

/**
 * Takes a sample of a cgroup, as a container that is alone in its sandbox.
 *
 * @param {string} id
 * @param {Directories} directories
 */
function sample(id, directories) {
  const v2 = directories.get(UNIFIED);
  /**
   * @template T
   * @param {string} controller
   * @param {(directory: string) => T} v1
   * @param {(directory: string) => T} unified
   */
  const either = (controller, v1, unified = v1) => {
    const directory = directories.get(controller);
    if (directory !== undefined) return v1(directory);
    return v2 === undefined ? undefined : unified(v2);
  };
  const memory = either('memory', memoryV1, memoryV2);
  const usage = either('cpuacct', cpuUsageV1, cpuUsageV2);
  const limit = either('pids', (directory) => read(directory, 'pids.max', parseMax));
  const pidsCount =
    either('pids', (directory) => read(directory, 'pids.current', parseU64)) ??
    (v2 === undefined ? countTasks([...directories.values()][0], 'tasks') : countTasks(v2, 'cgroup.threads'));
  const stats = {
    cpu: { usage, throttling: either('cpu', throttling) },
    memory,
    pids: { current: pidsCount, limit: limit === MAX ? undefined : limit },
  };
  const cpuUsage = pidsCount > 0n ? usage?.total : undefined;
  return {
    rootContainer: id,
    memoryUsage: memory?.usage?.usage,
    cgroupCpuUsage: usage?.total,
    containers: [{ id, pidsCount, cpuUsage, stats }],
  };
}

/** @param {string} path */
function trim(path) {
  return path.replace(/^\/+|\/+$/g, '') || '/';
}

/**
 * @param {Directories} root
 * @param {string} cgroup
 */
function children(root, cgroup) {
  const names = [...directoriesOf(root, cgroup).values()].flatMap(childrenOf);
  return [...new Set(names)].sort().map((name) => trim(`${cgroup}/${name}`));
}

/**
 * Prints an error of `work`, and goes on.
 *
 * @template T
 * @param {string} what
 * @param {() => T} work
 */
function attempt(what, work) {
  try {
    return work();
  } catch (e) {
    console.error(`cgroups.js: ${what}: ${e instanceof Error ? e.message : e}`);
    process.exitCode = 1;
    return undefined;
  }
}

function args() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { root: { type: 'string', default: '/sys/fs/cgroup' }, children: { type: 'boolean', default: false } },
    });
  } catch (e) {
    console.error(`cgroups.js: ${/** @type {Error} */ (e).message}\n${USAGE}`);
    return process.exit(2);
  }
}

// A closed pipe is no error.
process.stdout.on('error', (e) => process.exit(/** @type {NodeJS.ErrnoException} */ (e).code === 'EPIPE' ? 0 : 1));

const { values, positionals } = args();
const root = attempt(values.root, () => hierarchies(values.root)) ?? process.exit();
const cgroups = positionals.length > 0 ? positionals.map(trim) : ['/'];
const ids =
  values.children || positionals.length === 0
    ? cgroups.flatMap((cgroup) => attempt(cgroup, () => children(root, cgroup)) ?? [])
    : cgroups;
const host = new SampleHost();
const events = await load(host);
for (const id of ids) {
  attempt(id, () => {
    host.sample = [sample(id, directoriesOf(root, id))];
    process.stdout.write(`${events.statsJson(id, 'runc')}\n`);
  });
}
