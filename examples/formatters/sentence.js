/**
 * A component of the world `formatter` that formats events as sentences for people.
 *
 * Values that are not known, and limits that mean "no limit", are left out. Integers are bigints, so they are exact
 * until they are rounded.
 */

/**
 * The fields of `stats-event` that a sentence contains. `undefined` is `none`.
 *
 * @typedef {object} Event
 * @property {string} id
 * @property {object} data
 * @property {{ current?: bigint, limit?: bigint }} data.pids
 * @property {{ usage: MemoryEntry }} data.memory
 * @property {{ usage: { total?: bigint }, throttling: Throttling }} data.cpu
 * @property {{ rxBytes: bigint, txBytes: bigint }[]} data.networkInterfaces
 *
 * @typedef {{ limit?: bigint, usage?: bigint, failcnt?: bigint }} MemoryEntry
 * @typedef {{ periods?: bigint, throttledPeriods?: bigint }} Throttling
 */

/** The interface `format`. */
export const format = {
  /** @param {Event} event */
  format({ id, data }) {
    const facts = [
      tasks(data.pids),
      memory(data.memory.usage),
      failures(data.memory.usage),
      cpu(data.cpu.usage),
      throttling(data.cpu.throttling),
      network(data.networkInterfaces),
    ];
    const known = facts.filter((fact) => fact !== undefined);
    return `${visible(id)}: ${known.join(', ') || 'nothing is known'}`;
  },
};

/** @param {Event['data']['pids']} pids */
function tasks({ current, limit }) {
  const most = limit === undefined ? undefined : `at most ${count(limit, 'task')}`;
  if (current === undefined) return most;
  return most === undefined ? count(current, 'task') : `${current} of ${most}`;
}

/** @param {MemoryEntry} entry */
function memory({ limit, usage }) {
  // "Unlimited" on cgroup v1 is 2^63 - 1 rounded down to whole pages, and a page has up to 64 KiB. On cgroup v2 it is
  // 2^64 - 1.
  const limited = limit !== undefined && limit < 2n ** 63n - 2n ** 16n;
  if (usage === undefined) return limited ? `at most ${size(limit)} of memory` : undefined;
  const used = `${size(usage)} of memory`;
  if (!limited) return used;
  return limit === 0n ? `${used} (its limit is 0 B)` : `${used} (${percent(usage, limit)} of its ${size(limit)})`;
}

/** @param {MemoryEntry} entry */
function failures({ failcnt }) {
  if (!failcnt) return undefined;
  return `ran into its memory limit ${failcnt === 1n ? 'once' : `${failcnt} times`}`;
}

/** @param {{ total?: bigint }} usage */
function cpu({ total }) {
  return total === undefined ? undefined : `${duration(total)} of CPU time`;
}

/** @param {Throttling} throttling */
function throttling({ periods, throttledPeriods }) {
  // Without a quota there are no periods.
  if (!periods || throttledPeriods === undefined) return undefined;
  return throttledPeriods === 0n ? 'never throttled' : `throttled ${percent(throttledPeriods, periods)} of the time`;
}

/** @param {Event['data']['networkInterfaces']} interfaces */
function network(interfaces) {
  if (interfaces.length === 0) return undefined;
  let [received, sent] = [0n, 0n];
  for (const { rxBytes, txBytes } of interfaces) {
    received += rxBytes;
    sent += txBytes;
  }
  return `${size(received)} received, ${size(sent)} sent`;
}

/**
 * @param {bigint} number
 * @param {string} thing
 */
function count(number, thing) {
  return `${number} ${thing}${number === 1n ? '' : 's'}`;
}

/** @param {bigint} bytes */
function size(bytes) {
  let unit = 1n;
  for (const name of ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']) {
    const text = digits(bytes, unit);
    if (Number(text) < 1024) return `${text} ${name}`;
    unit *= 1024n;
  }
  return `${digits(bytes, unit)} EiB`;
}

/** @param {bigint} ns */
function duration(ns) {
  if (ns === 0n) return '0 s';
  let unit = 1n;
  for (const name of ['ns', 'µs', 'ms']) {
    const text = digits(ns, unit);
    if (Number(text) < 1000) return `${text} ${name}`;
    unit *= 1000n;
  }
  const text = digits(ns, unit);
  if (Number(text) < 60) return `${text} s`;
  const seconds = nearest(ns, unit);
  if (seconds < 3600n) return both(seconds, 60n, 'min', 's');
  const minutes = nearest(ns, 60n * unit);
  if (minutes < 1440n) return both(minutes, 60n, 'h', 'min');
  return both(nearest(ns, 3600n * unit), 24n, 'd', 'h');
}

/**
 * Formats a number of small units with two units.
 *
 * @param {bigint} number
 * @param {bigint} size the number of small units in a large one
 * @param {string} large
 * @param {string} small
 */
function both(number, size, large, small) {
  const rest = number % size;
  return `${number / size} ${large}${rest === 0n ? '' : ` ${rest} ${small}`}`;
}

/**
 * @param {bigint} part
 * @param {bigint} whole
 */
function percent(part, whole) {
  const rounded = nearest(100n * part, whole);
  if (rounded === 0n && part > 0n) return 'under 1 %';
  if (rounded === 100n && part < whole) return 'over 99 %';
  return `${rounded} %`;
}

/**
 * Formats a quotient with three digits, or an integer if that has more. Zeros at the end of the fraction are left out.
 *
 * @param {bigint} dividend
 * @param {bigint} divisor
 */
function digits(dividend, divisor) {
  for (const decimals of [2, 1]) {
    const scaled = nearest(dividend * 10n ** BigInt(decimals), divisor);
    if (scaled < 1000n) {
      const text = String(scaled).padStart(decimals + 1, '0');
      return `${text.slice(0, -decimals)}.${text.slice(-decimals)}`.replace(/\.?0+$/, '');
    }
  }
  return String(nearest(dividend, divisor));
}

/**
 * Divides, and rounds to the nearest integer, a half up.
 *
 * @param {bigint} dividend
 * @param {bigint} divisor
 */
function nearest(dividend, divisor) {
  return (2n * dividend + divisor) / (2n * divisor);
}

/**
 * Replaces the characters that a terminal would act on or not show: control and format characters, and line
 * separators. They are listed, since the engine has no Unicode classes (`\p{Cf}`).
 *
 * @param {string} id
 */
function visible(id) {
  return id.replace(
    /[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu,
    '\u{fffd}',
  );
}
