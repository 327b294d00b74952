/** Scenarios, and their replay. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from '../json.js';
import { readScenario } from '../scenario.js';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

function replay(...args) {
  return spawnSync(process.execPath, [fileURLToPath(new URL('../replay.js', import.meta.url)), ...args]);
}

test('a replay prints what Go prints', () => {
  const folder = join(root, 'tests/goldens');
  const names = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  assert(names.length >= 10);
  for (const name of names) {
    const { stdout, stderr, status } = replay(join(folder, name));
    assert.equal(stderr.toString(), '');
    assert.equal(status, 0);
    const lines = stdout.toString().split('\n');
    ['event-out', 'stats', 'runc'].forEach((kind, nth) => {
      // Go's program leaves out the containers that play a failure.
      const printed = lines.filter((line, at) => at % 3 === nth && line !== '' && !line.startsWith('error '));
      const golden = readFileSync(join(folder, name.replace('jsonl', kind)), 'utf8');
      assert.equal(printed.map((line) => `${line}\n`).join(''), golden, `${name}, ${kind}`);
    });
    assert.deepEqual(lines.slice(-4), [...Array(3).fill('error container-not-found: container "no such \\"container\\"" not found'), '']);
  }
});

test('a replay says why it failed', () => {
  const folder = mkdtempSync(join(tmpdir(), 'eventout-'));
  const file = (name, content) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  for (const [args, status, text] of [
    [[], 2, 'usage: replay.js SCENARIO'],
    [['a', 'b'], 2, 'usage: replay.js SCENARIO'],
    [[join(folder, 'none')], 1, /^replay.js: cannot read scenario .*none: ENOENT/],
    [[folder], 1, /^replay.js: cannot read scenario .*: EISDIR/],
    [[file('empty', ' \n\t\r\n')], 1, /empty: there is no instant in it$/],
    [[file('latin1', Buffer.from([0x22, 0xe9, 0x22]))], 1, /^replay.js: cannot read scenario .*latin1: .*utf-8/],
    [[file('broken', '{"root":"a","memory_bytes":1,"containers":[]}\n{"root" "b"}')], 1, /broken:2:9: expected a colon, found "\\""$/],
  ]) {
    const result = replay(...args);
    assert.equal(result.status, status);
    assert.equal(result.stdout.toString(), '');
    assert.match(result.stderr.toString().trim(), new RegExp(text));
  }
  rmSync(folder, { recursive: true });
});

const line = (containers = '[]', more = '') => `{"root":"a","memory_bytes":1,"containers":${containers}${more}}`;
const one = (stats) => line(`[{"id":"a","pids":1,"stats":${stats}}]`);

test('a figure is exact, or it is refused', () => {
  const [instant] = readScenario('s', line('[{"id":"a","pids":9007199254740993,"cpu_ns":18446744073709551615}]', ',"cgroup_cpu_ns":0'));
  assert.deepEqual(instant.containers, [{ id: 'a', pids: 2n ** 53n + 1n, cpuNs: 2n ** 64n - 1n, stats: undefined, error: undefined }]);
  assert.equal(instant.cgroupCpuNs, 0n);
  for (const figure of ['-1', '-0', '1.0', '1e3', '18446744073709551616', '"1"', 'true', 'null', '[1]', '9'.repeat(1e6)]) {
    assert.throws(() => readScenario('s', line(`[{"id":"a","pids":${figure}}]`)), {
      name: 'ScenarioError',
      message: 's:1:61: pids must be a whole number from 0 to 2^64-1',
    });
  }
});

test('what is wrong is named with its place', () => {
  // Each text has a mark where its error is.
  for (const [marked, why] of [
    [`${line()}\n\n  {▸]`, 'expected a key, found "]"'],
    ['▸[]', 'an instant must be an object'],
    ['{"root":"é😀",▸"x":1}', 'an instant has no key "x"'],
    ['▸{"root":"a","containers":[]}', 'an instant lacks the key memory_bytes'],
    [line('[]', ',"dialect":▸"docker"'), 'dialect must be "runsc" or "runc"'],
    [line('[]', ',▸"root":"b"'), 'an instant has the key root twice'],
    [line('▸{}'), 'containers must be a list'],
    [line('[▸5]'), 'an item of containers must be an object'],
    [line('[▸{"id":"a"}]'), 'an item of containers lacks the key pids'],
    [line('▸[{"id":"b","pids":1}]'), 'root container "a" is not among the containers'],
    [line('[{"id":"a","pids":1},▸{"id":"a","pids":1}]'), 'duplicate container ID "a"'],
    [line('[▸{"id":"a\\u0000","pids":1}]'), 'container ID "a\\u0000" has a NUL in it'],
    [one('{"cpu":{"usage":{▸"totl":1}}}'), 'usage has no key "totl"'],
    [one('{"cpu":{"throttling":{▸"throttled_periods":1}}}'), 'throttling has no key "throttled_periods"'],
    [one('{"memory":{▸"kernel_tcp":{}}}'), 'memory has no key "kernel_tcp"'],
    [one('{"network_interfaces":[▸{}]}'), 'an item of network_interfaces lacks the key Name'],
    [one('{"cpu":{"psi":{"some":{"avg10":▸1.234}}}}'), 'avg10 must be a per cent with up to two decimal places'],
    [one('{"cpuset":{"cpus":[▸65536]}}'), 'an item of cpus must be a whole number from 0 to 65535'],
    ['{"root":▸"\\ud800"}', 'a lone surrogate is no character'],
    ['{"root":"▸\t"}', 'a control character must be escaped'],
    ['{"root":"▸\\x"}', 'this is no escape'],
    ['{"root":"a▸', 'expected the end of a string, found the end of the text'],
    ['{"root":"a",▸}', 'expected a key, found "}"'],
    ['{"root":0▸1}', 'expected a comma or }, found "1"'],
    ['▸\ufeff{}', 'expected a value, found "\ufeff"'],
    [`${'['.repeat(128)}▸${'['.repeat(1e6)}`, 'there are more than 128 values in each other'],
  ]) {
    const at = marked.indexOf('▸');
    const before = marked.slice(0, at).split('\n');
    const place = { line: before.length, column: [...before.at(-1)].length + 1, at };
    assert.throws(
      () => readScenario('s', marked.replace('▸', '')),
      { name: 'ScenarioError', message: `s:${place.line}:${place.column}: ${why}`, why, place },
      marked.slice(0, 200),
    );
  }
  assert.throws(() => readScenario('s', ''), { name: 'ScenarioError', message: 's: there is no instant in it', place: undefined });
});

test('the stats of a container have the names of runc', () => {
  const stats = `{"cpu":{"usage":{"percpu_kernel":[1]},"throttling":{"throttledTime":2},"psi":{"some":{"avg10":0.07}}},
    "memory":{"kernelTCP":{"failcnt":3},"raw":{"b":4,"__proto__":5,"b":6}},"intel_rdt":{"l3_cache_info":{"cbm_mask":"f"},
    "mbm_stats":null},"network_interfaces":[{"Name":"eth0","RxBytes":7}],"blkio":{"ioServiceBytesRecursive":
    [{"major":8,"op":"Read","value":1},{"major":8,"op":"Write"}],"ioServicedRecursive":[{"major":8,"op":"Write","value":2},
    {"major":8,"op":"Read","value":3}],"psi":null}}`.replaceAll('\n', ' ');
  const [instant] = readScenario('s', one(stats));
  const { cpu, memory, intelRdt, networkInterfaces, blkio } = instant.containers[0].stats;
  assert.deepEqual(cpu.usage.percpuKernel, [1n]);
  assert.equal(cpu.throttling.throttledTime, 2n);
  assert.deepEqual(cpu.psi.some, { avg10: 7, avg60: 0, avg300: 0, total: 0n });
  assert.equal(memory.kernelTcp.failcnt, 3n);
  assert.deepEqual(memory.raw, [['b', 4n], ['__proto__', 5n], ['b', 6n]]);
  assert.deepEqual(intelRdt.l3CacheInfo, { cbmMask: 'f', minCbmBits: 0n, numClosids: 0n });
  assert.deepEqual(intelRdt.mbmStats, []);
  assert.equal(networkInterfaces[0].rxBytes, 7n);
  assert.deepEqual(blkio.entries, [
    { major: 8n, minor: 0n, op: 'Read', ioServiceBytes: 1n },
    { major: 8n, minor: 0n, op: 'Write', ioServiceBytes: 0n, ioServiced: 2n },
    { major: 8n, minor: 0n, op: 'Read', ioServiced: 3n },
  ]);
});

test('JSON is what JSON.parse takes', () => {
  const plain = (json) =>
    json.type === 'list' ? json.value.map(plain)
    : json.type === 'object' ? Object.fromEntries(json.value.map(([key, value]) => [key.value, plain(value)]))
    : json.type === 'number' ? Number(json.value)
    : json.type === 'null' ? null
    : json.value;
  const read = (text) => {
    try {
      return plain(parse(text));
    } catch {
      return undefined;
    }
  };
  const parsed = (text) => {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  };
  const sample = '{"a":[1,-2.5e+3,true,null,"x\\u00e9\\n"],"b":{} , "c" : "😀"}';
  const pieces = ['0', '1', '-', '.', 'e', ',', ':', '"', '{', '}', '[', ']', '\\', 'u', 'null', ' ', '\t', '\u00a0', 'é'];
  // A fixed sequence without a pattern (xorshift).
  let seed = 0x9e3779b9;
  const random = (below) => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % below;
  };
  assert.deepEqual(read(sample), JSON.parse(sample));
  let valid = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const from = random(sample.length);
    const text = sample.slice(0, from) + (random(2) ? pieces[random(pieces.length)] : '') + sample.slice(from + random(4));
    if (!text.isWellFormed()) continue;
    assert.deepEqual(read(text), parsed(text), text);
    valid += parsed(text) !== undefined;
  }
  assert(valid > 500);
});
