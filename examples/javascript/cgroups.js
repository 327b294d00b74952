#!/usr/bin/env node
/**
 * Prints the stats of control groups of this machine, as `runc events --stats` prints those of its containers: a line
 * each. Memory, CPU time and tasks are read; other figures of runc's are not.
 *
 * A controller is read in v1 where the group has a folder there, and otherwise in v2. So it works with v1, v2 and both.
 */

import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { load } from './index.js';
import { SnapshotHost } from './snapshot.js';

/** @import { Snapshot } from './snapshot.js' */

const USAGE = `usage: cgroups.js [--root FOLDER] [--children] [GROUP...]

Prints the stats of each GROUP, or of the groups directly in it. GROUP is a path below FOLDER, which is
/sys/fs/cgroup or laid out like it. Without any, the groups directly in FOLDER are meant.`;

/** The largest control file, in bytes. */
const LARGEST = 16 << 20;

const MAX = 2n ** 64n - 1n;

/** The v2 hierarchy, beside the controllers of v1. */
const UNIFIED = 'unified';

/**
 * The folders of a group, by the controllers of v1, and {@link UNIFIED}.
 *
 * @typedef {Map<string, string>} Folders
 */

/**
 * The folders of the root group.
 *
 * @param {string} root
 * @returns {Folders}
 */
function hierarchies(root) {
  if (existsSync(join(root, 'cgroup.controllers'))) return new Map([[UNIFIED, root]]);
  const folders = childrenOf(root).flatMap((name) =>
    name.split(',').map((controller) => /** @type {[string, string]} */ ([controller, join(root, name)])),
  );
  return new Map(folders);
}

/**
 * The names of the folders in a folder. One with a name that is not UTF-8 can't be asked for.
 *
 * @param {string} folder
 */
function childrenOf(folder) {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const names = [];
  for (const entry of readdirSync(folder, { withFileTypes: true, encoding: 'buffer' })) {
    if (!entry.isDirectory()) continue;
    try {
      names.push(decoder.decode(entry.name));
    } catch {
      continue;
    }
  }
  return names.sort();
}

/**
 * The folders of the group of that path: those that are there.
 *
 * @param {Folders} root
 * @param {string} group
 * @returns {Folders}
 */
function foldersOf(root, group) {
  if (group.split('/').some((name) => name === '.' || name === '..' || name.includes('\0'))) {
    throw new Error('this is no path of a group');
  }
  const folders = [...root].map(([controller, folder]) => /** @type {const} */ ([controller, join(folder, group)]));
  const there = folders.filter(([, folder]) => existsSync(folder));
  if (there.length === 0) throw new Error('there is no such group');
  return new Map(there);
}

/** One folder of a group. */
class Folder {
  /** @param {string} path */
  constructor(path) {
    this.path = path;
  }

  /**
   * What `parse` makes of a control file. `undefined` where there is no such file: controllers differ, and so do kernels.
   *
   * @template T
   * @param {string} name
   * @param {(text: string) => T} parse
   */
  get(name, parse) {
    const path = join(this.path, name);
    let text;
    try {
      text = readText(path);
    } catch (e) {
      const { code, message } = /** @type {NodeJS.ErrnoException} */ (e);
      // The latter where the controller was taken away from the group.
      if (code === 'ENOENT' || code === 'ENODEV') return undefined;
      throw new Error(code ? message : `${path}: ${message}`);
    }
    try {
      return parse(text);
    } catch (e) {
      throw new Error(`${path}: ${/** @type {Error} */ (e).message}`);
    }
  }
}

/**
 * The text of a control file.
 *
 * @param {string} path
 */
function readText(path) {
  // In a folder of the user's making it could be a pipe that nobody writes to.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new Error('it is not a regular file');
    if (stat.size > LARGEST) throw new Error(`it is larger than ${LARGEST} bytes`);
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/**
 * A figure. The kernel may print counters that should be above zero as negative for a moment: they count as 0, as they do
 * in runc.
 *
 * @param {string} text
 */
function number(text) {
  const digits = text.trim();
  if (/^-[0-9]+$/.test(digits)) return 0n;
  const figure = /^[0-9]{1,20}$/.test(digits) ? BigInt(digits) : MAX + 1n;
  if (figure > MAX) throw new Error(`${JSON.stringify(digits.slice(0, 64))} is not a figure`);
  return figure;
}

/**
 * A limit of v2, or of pids. Where there is none, it is the largest number.
 *
 * @param {string} text
 */
function maximum(text) {
  return text.trim() === 'max' ? MAX : number(text);
}

/**
 * Figures with white space between them.
 *
 * @param {string} text
 */
function numbers(text) {
  return text.trim() === '' ? [] : text.trim().split(/\s+/).map(number);
}

/**
 * Lines of a name and a figure.
 *
 * @param {string} text
 */
function table(text) {
  const lines = text.split('\n').filter((line) => line !== '');
  return new Map(lines.map((line) => {
    const [name, figure, ...more] = line.split(' ');
    if (figure === undefined || more.length > 0) {
      throw new Error(`${JSON.stringify(line.slice(0, 64))} is not a name and a figure`);
    }
    return [name, number(figure)];
  }));
}

/**
 * Times that the kernel counts in another unit, in nanoseconds.
 *
 * @param {bigint | undefined} figure
 * @param {bigint} factor
 */
function nanoseconds(figure, factor) {
  return figure === undefined ? undefined : figure * factor;
}

/**
 * User and system time by CPU in a v1 `cpuacct.usage_all`, in nanoseconds.
 *
 * @param {string} text
 */
function usageAll(text) {
  const [heading, ...lines] = text.trim().split('\n').map((line) => line.split(' '));
  if (heading[1] !== 'user' || heading[2] !== 'system') throw new Error('it has no heading of cpu, user and system');
  return { user: lines.map((line) => number(line[1] ?? '')), system: lines.map((line) => number(line[2] ?? '')) };
}

/**
 * In bytes, but for the count of failures.
 *
 * @typedef {{ usage?: bigint, limit?: bigint, max?: bigint, failcnt?: bigint }} MemoryEntry
 * @typedef {object} Memory
 * @property {bigint} [cache]
 * @property {MemoryEntry} usage
 * @property {MemoryEntry} swap
 * @property {MemoryEntry} [kernel]
 * @property {MemoryEntry} [kernelTcp]
 * @property {Map<string, bigint>} [raw]
 */

/**
 * The figures of a v1 memory controller that begin so.
 *
 * @param {Folder} folder
 * @param {string} prefix
 * @returns {MemoryEntry}
 */
function memoryEntry(folder, prefix) {
  const usage = folder.get(`${prefix}.usage_in_bytes`, number);
  if (usage === undefined) return {};
  return {
    usage,
    limit: folder.get(`${prefix}.limit_in_bytes`, number),
    max: folder.get(`${prefix}.max_usage_in_bytes`, number),
    failcnt: folder.get(`${prefix}.failcnt`, number),
  };
}

/**
 * @param {Folder} folder
 * @returns {Memory}
 */
function memoryV1(folder) {
  const raw = folder.get('memory.stat', table);
  return {
    cache: raw?.get('cache'),
    usage: memoryEntry(folder, 'memory'),
    swap: memoryEntry(folder, 'memory.memsw'),
    kernel: memoryEntry(folder, 'memory.kmem'),
    kernelTcp: memoryEntry(folder, 'memory.kmem.tcp'),
    raw,
  };
}

/**
 * @param {Folder} folder
 * @returns {Memory}
 */
function memoryV2(folder) {
  const raw = folder.get('memory.stat', table);
  const usage = folder.get('memory.current', number);
  const limit = folder.get('memory.max', maximum);
  // Like runc, memory and swap together, as v1 counts them.
  const sum = (/** @type {bigint | undefined} */ a, /** @type {bigint | undefined} */ b) =>
    a === undefined || b === undefined ? undefined : a + b > MAX ? MAX : a + b;
  return {
    cache: raw?.get('file'),
    usage: { usage, limit, max: folder.get('memory.peak', number) },
    swap: {
      usage: sum(usage, folder.get('memory.swap.current', number)),
      limit: sum(limit, folder.get('memory.swap.max', maximum)),
    },
    raw,
  };
}

/** @param {Folder} folder */
function usageV1(folder) {
  const stat = folder.get('cpuacct.stat', table);
  const percpu = folder.get('cpuacct.usage_percpu', numbers);
  const all = folder.get('cpuacct.usage_all', usageAll);
  return {
    total: folder.get('cpuacct.usage', number),
    // In ticks of 1/100 s.
    user: nanoseconds(stat?.get('user'), 10_000_000n),
    kernel: nanoseconds(stat?.get('system'), 10_000_000n),
    percpu,
    percpuUser: all?.user,
    percpuKernel: all?.system,
  };
}

/** @param {Folder} folder */
function usageV2(folder) {
  const stat = folder.get('cpu.stat', table);
  return {
    total: nanoseconds(stat?.get('usage_usec'), 1000n),
    user: nanoseconds(stat?.get('user_usec'), 1000n),
    kernel: nanoseconds(stat?.get('system_usec'), 1000n),
  };
}

/** @param {Folder} folder */
function throttling(folder) {
  const stat = folder.get('cpu.stat', table);
  return {
    periods: stat?.get('nr_periods'),
    throttledPeriods: stat?.get('nr_throttled'),
    throttledTime: stat?.get('throttled_time') ?? nanoseconds(stat?.get('throttled_usec'), 1000n),
  };
}

/**
 * The number of tasks in the lists of a group and all groups in it. `undefined` where it has no such list.
 *
 * @param {string} folder
 * @param {string} list
 * @returns {bigint | undefined}
 */
function tasks(folder, list) {
  let count = new Folder(folder).get(list, (text) => BigInt(text.split('\n').length - 1));
  if (count === undefined) return undefined;
  for (const name of childrenOf(folder)) count += tasks(join(folder, name), list) ?? 0n;
  return count;
}

/**
 * One reading of a group, as a container that is alone in its sandbox.
 *
 * @param {string} id
 * @param {Folders} folders
 * @returns {Snapshot}
 */
function read(id, folders) {
  /** @param {string} controller */
  const of = (controller) => {
    const folder = folders.get(controller);
    return folder === undefined ? undefined : new Folder(folder);
  };
  const v2 = of(UNIFIED);
  /**
   * @template T
   * @param {string} controller
   * @param {(folder: Folder) => T} v1
   * @param {(folder: Folder) => T} unified
   */
  const either = (controller, v1, unified) => {
    const folder = of(controller);
    return folder ? v1(folder) : v2 && unified(v2);
  };
  const memory = either('memory', memoryV1, memoryV2);
  const usage = either('cpuacct', usageV1, usageV2);
  const count = (/** @type {Folder} */ folder) => folder.get('pids.current', number);
  const max = (/** @type {Folder} */ folder) => folder.get('pids.max', maximum);
  const counted = either('pids', count, count);
  const limit = either('pids', max, max);
  const [v1] = [...folders].filter(([controller]) => controller !== UNIFIED);
  const current = counted ?? (v1 ? tasks(v1[1], 'tasks') : tasks(/** @type {Folder} */ (v2).path, 'cgroup.threads'));
  const memoryBytes = memory?.usage.usage;
  if (memoryBytes === undefined) throw new Error('it has neither memory.usage_in_bytes (v1) nor memory.current (v2)');
  if (current === undefined) throw new Error('it has neither pids.current nor a list of tasks');
  const stats = {
    cpu: { usage, throttling: either('cpu', throttling, throttling) },
    memory,
    pids: { current, limit: limit === MAX ? undefined : limit },
  };
  const cpuNs = current > 0n ? usage?.total : undefined;
  return {
    root: id,
    memoryBytes,
    cgroupCpuNs: usage?.total,
    containers: [{ id, pids: current, cpuNs, stats }],
  };
}

/**
 * Does a part of the work. What fails is told, and the rest goes on.
 *
 * @template T
 * @param {string} what
 * @param {() => T} work
 */
function attempt(what, work) {
  try {
    return work();
  } catch (e) {
    console.error(`cgroups.js: cannot ${what}: ${e instanceof Error ? e.message : e}`);
    process.exitCode = 1;
    return undefined;
  }
}

/**
 * A path of a group without slashes around it. The root group keeps one.
 *
 * @param {string} path
 */
function trim(path) {
  return path.replace(/^\/+|\/+$/g, '') || '/';
}

/**
 * The paths of the groups directly in a group.
 *
 * @param {Folders} root
 * @param {string} group
 */
function groupsIn(root, group) {
  const names = [...foldersOf(root, group).values()].flatMap(childrenOf);
  return [...new Set(names)].sort().map((name) => trim(`${group}/${name}`));
}

/**
 * @param {string} folder
 * @param {string[]} groups
 * @param {boolean} children whether the groups in them are meant
 */
async function main(folder, groups, children) {
  const root = attempt(`find groups in ${folder}`, () => hierarchies(folder));
  if (root === undefined) return;
  const ids = children
    ? groups.flatMap((group) => attempt(`list group ${group}`, () => groupsIn(root, group)) ?? [])
    : groups;
  const host = new SnapshotHost();
  const events = (await load()).events(host);
  for (const id of ids) {
    const line = attempt(`tell of group ${id}`, () => {
      host.tell(read(id, foldersOf(root, id)));
      return events.statsJson(id, 'runc');
    });
    if (line !== undefined) process.stdout.write(`${line}\n`);
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
if (positionals.length > 0) await main(values.root, positionals.map(trim), values.children);
else await main(values.root, ['/'], true);
