/** Scenarios, and their replay. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { load } from '../index.js';
import { readScenario, SampleHost } from '../scenario.js';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

function replay(...args) {
  return spawnSync(process.execPath, [fileURLToPath(new URL('../replay.js', import.meta.url)), ...args], { encoding: 'utf8' });
}

test('a replay prints what Go prints', () => {
  const directory = join(root, 'tests/goldens');
  const names = readdirSync(directory).filter((name) => name.endsWith('.jsonl'));
  assert(names.length >= 10);
  for (const name of names) {
    const { stdout, stderr, status } = replay(join(directory, name));
    assert.deepEqual([stderr, status], ['', 0]);
    const lines = stdout.split('\n');
    ['event-out', 'stats', 'runc'].forEach((kind, nth) => {
      // The Go program leaves out containers with an error.
      const printed = lines.filter((line, at) => at % 3 === nth && line !== '' && !line.startsWith('error '));
      const golden = readFileSync(join(directory, name.replace('jsonl', kind)), 'utf8');
      assert.equal(printed.map((line) => `${line}\n`).join(''), golden, `${name}, ${kind}`);
    });
    assert.deepEqual(lines.slice(-4), [...Array(3).fill('error container-not-found: container "no such \\"container\\"" not found'), '']);
  }
});

test('a replay reports errors', () => {
  const directory = mkdtempSync(join(tmpdir(), 'eventout-'));
  const file = (name, content) => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  for (const [args, status, message] of [
    [[], 2, 'usage: replay.js SCENARIO'],
    [['a', 'b'], 2, 'usage: replay.js SCENARIO'],
    [[join(directory, 'none')], 1, /^replay.js: .*none: ENOENT/],
    [[file('empty', ' \n\t\r\n')], 1, /empty: line 1: the scenario has no sample$/],
    [[file('latin1', Buffer.from([0x22, 0xe9, 0x22]))], 1, /latin1: .*utf-8/],
    [[file('broken', '{"root_container":"a","containers":[]}\n{"id" 1}')], 1, /broken: line 2: Colon ':' expected .* at position 6$/],
  ]) {
    const result = replay(...args);
    assert.deepEqual([result.stdout, result.status], ['', status]);
    assert.match(result.stderr.trim(), new RegExp(message));
  }
  rmSync(directory, { recursive: true });
});

const line = (containers = '[]', more = '') => `{"root_container":"a","containers":${containers}${more}}`;
const one = (stats) => line(`[{"id":"a","pids_count":1,"stats":${stats}}]`);

test('an integer is exact, or an error', () => {
  const containers = '[{"id":"a","pids_count":9007199254740993,"cpu_usage":18446744073709551615,"stats":null}]';
  const [[sandbox]] = readScenario(line(containers, ',"cgroup_cpu_usage":0'));
  const absent = { stats: undefined, error: undefined, details: undefined };
  const container = { id: 'a', pidsCount: 2n ** 53n + 1n, cpuUsage: 2n ** 64n - 1n, ...absent };
  assert.deepEqual(sandbox.containers, [container]);
  assert.deepEqual([sandbox.memoryUsage, sandbox.cgroupCpuUsage], [undefined, 0n]);
  for (const value of ['-1', '1.0', '1e3', '18446744073709551616', '"1"', 'true', 'null', '[1]', '9'.repeat(1e6)]) {
    assert.throws(
      () => readScenario(line(`[{"id":"a","pids_count":${value}}]`)),
      /^Error: line 1: sandbox\.containers\[0\]\.pids_count is .{1,70}, and must be a bigint from 0 to 18446744073709551615$/,
    );
  }
});

test('an error names its line and place', () => {
  for (const [text, message] of [
    ['', 'line 1: the scenario has no sample'],
    [`${line()}\n\n  {]`, "line 3: Quoted object key expected but got ']' at position 3"],
    ['5', 'line 1: sandbox is 5n, and must be a record'],
    ['{"root_container":"a","x":1,"containers":[]}', 'line 1: sandbox has no field "x"'],
    ['{"root_container":"a"}', 'line 1: sandbox.containers is undefined, and must be an array'],
    ['{"containers":[]}', 'line 1: sandbox.root_container is undefined, and must be a string without lone surrogates'],
    ['{"root_container":"\\ud800","containers":[]}', 'line 1: sandbox.root_container is "\\ud800", and must be a string without lone surrogates'],
    [line('[]', ',"format":"docker"'), 'line 1: format must be "gvisor" or "runc"'],
    [line('[]', ',"root_container":"b"'), "line 1: Duplicate key 'root_container' encountered at position 39"],
    [line('{}'), 'line 1: sandbox.containers is an object, and must be an array'],
    [line('[5]'), 'line 1: sandbox.containers[0] is 5n, and must be a record'],
    [line('[{"id":"b","pids_count":1}]'), 'line 1: the root container "a" is not among the containers'],
    [line('[{"id":"a","pids_count":1},{"id":"a","pids_count":1}]'), 'line 1: the container ID "a" occurs twice'],
    [one('{"cpu":{"usage":{"totl":1}}}'), 'line 1: sandbox.containers[0].stats.cpu.usage has no field "totl"'],
    [one('{"cpu":{"throttling":{"throttledPeriods":1}}}'), 'line 1: sandbox.containers[0].stats.cpu.throttling has no field "throttledPeriods"'],
    [one('{"__proto__":{}}'), 'line 1: sandbox.containers[0].stats has no field "__proto__"'],
    [one('{"memory":{"raw":{"anon":1}}}'), 'line 1: sandbox.containers[0].stats.memory.raw is an object, and must be an array'],
    [one('{"cpuset":{"cpus":[65536]}}'), 'line 1: sandbox.containers[0].stats.cpuset.cpus[0] is 65536, and must be an integer from 0 to 65535'],
    [one('{"cpuset":{"mem_exclusive":0}}'), 'line 1: sandbox.containers[0].stats.cpuset.mem_exclusive is 0n, and must be a boolean'],
    ['[5]', 'line 1: sandboxes[0] is 5n, and must be a record'],
    ['['.repeat(1e6), 'line 1: Maximum call stack size exceeded'],
  ]) {
    assert.throws(() => readScenario(text), { message }, text.slice(0, 200));
  }
});

test('the names are those of the contract in snake case', () => {
  const [[{ containers: [{ stats }] }]] = readScenario(one(`{
    "cpu":{"usage":{"percpu_kernel":[1]},"throttling":{"throttled_time":2},
      "psi":{"some":{"avg10":7,"avg60":0,"avg300":0,"total":0},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},
    "cpuset":{"mem_hardwall":true},
    "memory":{"kernel_tcp":{"failcnt":3},"raw":[["b",4],["__proto__",5],["b_c",6]]},
    "blkio":{"entries":[{"major":8,"minor":0,"op":"Read","io_service_bytes":1}]},
    "hugetlb":[["2MB",{"max":7}]]}`.replaceAll('\n', ' ')));
  assert.deepEqual(stats.cpu.usage.percpuKernel, [1n]);
  assert.equal(stats.cpu.throttling.throttledTime, 2n);
  assert.deepEqual(stats.cpu.psi.some, { avg10: 7, avg60: 0, avg300: 0, total: 0n });
  assert.equal(stats.cpuset.memHardwall, true);
  assert.equal(stats.memory.kernelTcp.failcnt, 3n);
  assert.deepEqual(stats.memory.raw, [['b', 4n], ['__proto__', 5n], ['b_c', 6n]]);
  assert.equal(stats.blkio.entries[0].ioServiceBytes, 1n);
  assert.deepEqual(stats.hugetlb, [['2MB', { usage: undefined, max: 7n, failcnt: undefined }]]);
  assert.deepEqual(stats.networkInterfaces, []);
});

test('a sample can have several sandboxes', async () => {
  const pod = (id, memory) => `{"root_container":"${id}","memory_usage":${memory},"containers":[{"id":"${id}","pids_count":1}]}`;
  const host = new SampleHost();
  [host.sample] = readScenario(`[${pod('a', 1)},${pod('b', 2)}]`);
  const events = await load(host);
  assert.deepEqual(['a', 'b'].map((id) => events.event(id).memory), [1n, 2n]);
  assert.throws(() => events.event('c'), { code: 'container-not-found' });
  assert.throws(() => readScenario(`[${pod('a', 1)},${pod('a', 2)}]`), { message: 'line 1: the container ID "a" occurs twice' });
});
