import assert from 'node:assert/strict';
import { test } from 'node:test';

import { format } from './sentence.js';

const MAX = 2n ** 64n - 1n;

/** Formats an event with these values, and returns the sentence without the ID. */
function sentence({ pids = {}, memory = {}, cpu = {}, throttling = {}, network = [] }) {
  const data = { pids, memory: { usage: memory }, cpu: { usage: cpu, throttling }, networkInterfaces: network };
  return format.format({ id: 'web', data }).slice('web: '.length);
}

/** Checks rows of values and a sentence. */
function check(...rows) {
  for (const [values, expected] of rows) assert.equal(sentence(values), expected);
}

test('all facts', () => {
  check(
    [{}, 'nothing is known'],
    [
      {
        pids: { current: 3n },
        memory: { usage: 61_728_394n, limit: 268_435_456n, failcnt: 0n },
        cpu: { total: 249_999_907n },
        throttling: { periods: 96n, throttledPeriods: 5n },
        network: [{ rxBytes: 1500n, txBytes: 0n }],
      },
      '3 tasks, 58.9 MiB of memory (23 % of its 256 MiB), 250 ms of CPU time, throttled 5 % of the time, ' +
        '1.46 KiB received, 0 B sent',
    ],
  );
});

test('tasks', () => {
  check(
    [{ pids: { current: 0n } }, '0 tasks'],
    [{ pids: { current: 1n } }, '1 task'],
    [{ pids: { current: 1n, limit: 100n } }, '1 of at most 100 tasks'],
    [{ pids: { limit: 1n } }, 'at most 1 task'],
    [{ pids: { current: 2n ** 53n + 1n } }, '9007199254740993 tasks'],
  );
});

test('memory and its limit', () => {
  check(
    [{ memory: { limit: 1024n } }, 'at most 1 KiB of memory'],
    [{ memory: { usage: 5n, limit: 0n } }, '5 B of memory (its limit is 0 B)'],
    [{ memory: { usage: 1n, limit: 1000n } }, '1 B of memory (under 1 % of its 1000 B)'],
    [{ memory: { usage: 999n, limit: 1000n } }, '999 B of memory (over 99 % of its 1000 B)'],
    [{ memory: { usage: MAX, limit: 1n } }, '16 EiB of memory (1844674407370955161500 % of its 1 B)'],
    [{ memory: { failcnt: 1n } }, 'ran into its memory limit once'],
    [{ memory: { failcnt: MAX } }, 'ran into its memory limit 18446744073709551615 times'],
  );
});

test('limits that mean "no limit"', () => {
  for (const limit of [undefined, 2n ** 63n - 2n ** 16n, 9_223_372_036_854_771_712n, MAX]) {
    check([{ memory: { limit } }, 'nothing is known'], [{ memory: { usage: 1n, limit } }, '1 B of memory']);
  }
  check([{ memory: { limit: 2n ** 63n - 2n ** 16n - 1n } }, 'at most 8 EiB of memory']);
});

test('sizes are rounded to three digits', () => {
  const sizes = [
    [1023n, '1023 B'],
    [1024n, '1 KiB'],
    [1_044n, '1.02 KiB'],
    [10_291n, '10 KiB'],
    [10_292n, '10.1 KiB'],
    [1_048_063n, '1023 KiB'],
    [1_048_064n, '1 MiB'],
    [MAX, '16 EiB'],
  ];
  check(...sizes.map(([usage, size]) => [{ memory: { usage } }, `${size} of memory`]));
});

test('durations', () => {
  const second = 1_000_000_000n;
  const durations = [
    [0n, '0 s'],
    [999n, '999 ns'],
    [1234n, '1.23 µs'],
    [999_499n, '999 µs'],
    [999_500n, '1 ms'],
    [59n * second, '59 s'],
    [59_950_000_000n, '1 min'],
    [65n * second, '1 min 5 s'],
    [3600n * second - 1n, '1 h'],
    [11_520n * second, '3 h 12 min'],
    [90_000n * second, '1 d 1 h'],
    [MAX, '213504 d'],
  ];
  check(...durations.map(([total, time]) => [{ cpu: { total } }, `${time} of CPU time`]));
});

test('throttling', () => {
  check(
    [{ throttling: { periods: 0n, throttledPeriods: 0n } }, 'nothing is known'],
    [{ throttling: { periods: 9n, throttledPeriods: 0n } }, 'never throttled'],
    [{ throttling: { periods: MAX, throttledPeriods: MAX - 1n } }, 'throttled over 99 % of the time'],
  );
});

test('the traffic of all interfaces is added up', () => {
  const network = [{ rxBytes: MAX, txBytes: 1n }, { rxBytes: MAX, txBytes: 2n }];
  check([{ network }, '32 EiB received, 3 B sent']);
});

test('an ID has no effect on a terminal', () => {
  const data = { pids: {}, memory: { usage: {} }, cpu: { usage: {}, throttling: {} }, networkInterfaces: [] };
  const id = 'a\0\u001b[2J\n\u009b\u202e\u2028b\u{e0041}é😀';
  assert.equal(format.format({ id, data }), 'a��[2J����b�é😀: nothing is known');
});
