/** The package: what a host can do, and what a caller gets. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { EventoutError, load } from '../index.js';
import { readScenario, SampleHost } from '../scenario.js';

/** A pod of two containers. Some functions can be replaced. */
function pod(replaced = {}) {
  return {
    pidsCount(id) {
      if (!['pause', 'web'].includes(id)) throw new EventoutError('container-not-found');
      return 3n;
    },
    memoryUsage: () => 1000n,
    containerCount: () => 2n,
    rootContainer: () => 'pause',
    cpuUsage: () => [['pause', 10n], ['web', 20n]],
    cgroupCpuUsage: () => 300n,
    containerStats: () => undefined,
    ...replaced,
  };
}

const WEB = (await load(pod())).statsJson('web', 'gvisor');

const host = pod();
const events = await load(host);

/** Calls a host with a replaced function, then with the original one. */
function recovers(name, replacement, check) {
  host[name] = replacement;
  check(() => events.stats('web'));
  host[name] = pod()[name];
  assert.equal(events.statsJson('web', 'gvisor'), WEB);
}

test('an event is computed from the facts of the host', () => {
  assert.match(WEB, /^\{"type":"stats","id":"web","data":\{"cpu":\{"usage":\{"total":200\}\},"memory":\{"usage":\{"limit":0,"usage":1000,/);
  assert.deepEqual(events.event('web'), { id: 'web', pids: 3n, memory: 1000n, containerUsage: [['pause', 10n], ['web', 20n]] });
  assert.match(events.eventJson('web'), /^\{"event":\{"type":"stats","id":"web",/);
  assert.match(events.statsJson('web', 'runc'), /"network_interfaces":null/);
  assert.equal(events.oomJson('a"b'), '{"type":"oom","id":"a\\"b"}');
});

test('memory that is not accounted is not known', () => {
  recovers('memoryUsage', () => undefined, (call) => assert.equal(call().data.memory.usage.usage, undefined));
});

test('errors have the codes and messages of the component', () => {
  assert.throws(() => events.event('no "such"'), (e) => {
    assert(e instanceof EventoutError && e instanceof Error);
    assert.equal(String(e), 'EventoutError: container "no \\"such\\"" not found');
    assert.equal(e.code, 'container-not-found');
    return true;
  });
  recovers('containerCount', () => 0n, (call) =>
    assert.throws(call, { name: 'EventoutError', code: 'no-container', message: 'no container was found' }));
});

test('whatever a host throws is an error of the contract, and the next call works', () => {
  for (const [thrown, message] of [
    [new Error('the disk is on fire'), 'the disk is on fire'],
    [new TypeError('x is not a function'), 'x is not a function'],
    [new WebAssembly.RuntimeError('unreachable'), 'unreachable'],
    ['a string', 'a string'],
    [undefined, 'undefined'],
    [Symbol('s'), 'Symbol(s)'],
    [{ tag: 'container-not-found' }, '[object Object]'],
    [Object.assign(new Error('inner'), { payload: { tag: 'nonsense' } }), 'inner'],
    [new Error('lone \ud800 surrogate'), 'lone \ufffd surrogate'],
    [new EventoutError('no-container'), 'no-container'],
  ]) {
    for (const name of Object.keys(host).filter((name) => name !== 'cgroupCpuUsage')) {
      recovers(name, () => { throw thrown; }, (call) => assert.throws(call, (e) => {
        assert.deepEqual([e.code, e.message, e.cause], ['unavailable', message, thrown], name);
        return true;
      }));
    }
  }
  // As the contract says.
  recovers('cgroupCpuUsage', () => { throw new Error('no'); }, (call) => assert.equal(call().data.cpu.usage.total, 20n));
});

test('a result of another type is unavailable, and the message says what is wrong', () => {
  const u64 = 'a bigint from 0 to 18446744073709551615';
  const string = 'a string without lone surrogates';
  for (const [name, value, message] of [
    ['pidsCount', -1n, `is -1n, and must be ${u64}`],
    ['pidsCount', 2n ** 64n, `is 18446744073709551616n, and must be ${u64}`],
    ['pidsCount', 3, `is 3, and must be ${u64}`],
    ['pidsCount', Promise.resolve(3n), `is an object, and must be ${u64}`],
    ['pidsCount', { tag: 'ok', val: 2n }, `is an object, and must be ${u64}`],
    ['memoryUsage', '3', `is "3", and must be ${u64}`],
    ['containerCount', true, `is true, and must be ${u64}`],
    ['rootContainer', undefined, `is undefined, and must be ${string}`],
    ['rootContainer', 'a\udc00', `is "a\\udc00", and must be ${string}`],
    ['cpuUsage', undefined, 'is undefined, and must be an array'],
    ['cpuUsage', new Map(), 'is an object, and must be an array'],
    ['cpuUsage', ['ab'], '[0] is "ab", and must be a pair'],
    ['cpuUsage', [['a', 1n, 2n]], '[0] is an object, and must be a pair'],
    ['cpuUsage', [['a', 1n], ['b', -5n]], `[1][1] is -5n, and must be ${u64}`],
    ['containerStats', 5, 'is 5, and must be a record'],
    ['containerStats', { cpu: { usages: {} } }, '.cpu has no field "usages"'],
    ['containerStats', { cpu: { usage: { total: 1 } } }, `.cpu.usage.total is 1, and must be ${u64}`],
    ['containerStats', { cpu: { usage: { percpu: [1n, 2] } } }, `.cpu.usage.percpu[1] is 2, and must be ${u64}`],
    ['containerStats', { cpu: { psi: {} } }, '.cpu.psi.some.avg10 is undefined, and must be an integer from 0 to 4294967295'],
    ['containerStats', { cpuset: { cpus: [65536] } }, '.cpuset.cpus[0] is 65536, and must be an integer from 0 to 65535'],
    ['containerStats', { cpuset: { cpuExclusive: 1 } }, '.cpuset.cpuExclusive is 1, and must be a boolean'],
    ['containerStats', { cpuset: { schedRelaxDomainLevel: -(2n ** 63n) - 1n } },
      '.cpuset.schedRelaxDomainLevel is -9223372036854775809n, and must be a bigint from -9223372036854775808 to 9223372036854775807'],
    ['containerStats', { memory: { raw: [['\ud800', 1n]] } }, `.memory.raw[0][0] is "\\ud800", and must be ${string}`],
    ['containerStats', { networkInterfaces: [{ name: 'eth0' }] }, `.networkInterfaces[0].rxBytes is undefined, and must be ${u64}`],
  ]) {
    const infix = /^[.[]/.test(message) ? '' : ' ';
    recovers(name, () => value, (call) =>
      assert.throws(call, { code: 'unavailable', message: `the result of ${name}${infix}${message}` }));
  }
});

test('integers are exact over their range', async () => {
  for (const value of [0n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const events = await load(pod({
      pidsCount: () => value,
      memoryUsage: () => value,
      containerCount: () => 1n,
      cpuUsage: () => [['web', value]],
      containerStats: () => ({
        cpu: { usage: { total: value, percpu: BigUint64Array.of(value, 1n) } },
        cpuset: { schedRelaxDomainLevel: -(2n ** 63n), cpus: [65535] },
        memory: { raw: [['x', value]], usage: { limit: value } },
      }),
    }));
    assert.deepEqual(events.event('web'), { id: 'web', pids: value, memory: value, containerUsage: [['web', value]] });
    const { data } = events.stats('web');
    assert.deepEqual(data.cpu.usage.percpu, BigUint64Array.of(value, 1n));
    assert.deepEqual(data.cpuset.cpus, Uint16Array.of(65535));
    assert.equal(data.cpuset.schedRelaxDomainLevel, -(2n ** 63n));
    assert.deepEqual([data.cpu.usage.total, data.memory.usage.limit, data.memory.raw], [value, value, [['x', value]]]);
    const line = events.statsJson('web', 'runc');
    assert(line.includes(`"percpu":[${value},1]`) && line.includes(`"raw":{"x":${value}}`), line);
    assert(line.includes('"sched_relax_domain_level":-9223372036854775808'), line);
  }
});

test('strings are passed unchanged', async () => {
  for (const id of ['', '\ufeffbom', '\ufeff\ufeff', '😀é', '__proto__', 'constructor', '\0\u2028\n"\\', '<b>']) {
    const ids = [];
    const events = await load(pod({
      pidsCount: (container) => BigInt(ids.push(container)),
      containerCount: () => 1n,
      cpuUsage: () => [[id, 7n]],
      containerStats: (container) => ({ memory: { raw: [[ids[ids.push(container) - 1], 1n]] } }),
    }));
    assert.deepEqual(events.event(id).containerUsage, [[id, 7n]]);
    assert.deepEqual(events.stats(id).data.memory.raw, [[id, 1n]]);
    assert.deepEqual(ids, [id, id, id]);
  }
});

test('what a host measures comes back', async () => {
  const file = new URL('../../../../tests/goldens/every-field-of-runc.jsonl', import.meta.url);
  const host = new SampleHost();
  [host.sample] = readScenario(readFileSync(file, 'utf8'));
  const [{ id, stats }] = host.sample[0].containers;
  const plain = (value) => JSON.parse(JSON.stringify(value, (_, item) =>
    ArrayBuffer.isView(item) ? [...item] : typeof item === 'bigint' ? `${item}` : item));
  assert(stats.memory.raw.length > 10 && stats.blkio.entries.length > 1);
  // The component sorts these.
  stats.hugetlb.sort();
  assert.deepEqual(plain((await load(host)).stats(id).data), plain(stats));
});

test('a function of the host can make a call itself', () => {
  recovers('memoryUsage', () => {
    host.memoryUsage = () => 5n;
    return events.event('web').memory + 1n;
  }, (call) => assert.equal(call().data.memory.usage.usage, 6n));
});

test('an instance that traps is replaced', async (t) => {
  // (module (func (export "f") unreachable))
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11];
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes))).exports;
  const { Instance } = WebAssembly;
  t.mock.method(WebAssembly, 'Instance', function (module, imports) {
    const { exports } = new Instance(module, imports);
    return { exports: { ...exports, 'eventout:stats/events@0.1.0#stats': f } };
  });
  const events = await load(pod());
  assert.equal(events.statsJson('web', 'gvisor'), WEB);
  t.mock.restoreAll();
  assert.throws(() => events.stats('web'), WebAssembly.RuntimeError);
  assert.equal(events.stats('web').id, 'web');
  assert.equal(events.statsJson('web', 'gvisor'), WEB);
});

test('a stack overflow has no effect on the next call', () => {
  // Wherever it occurs: each level of the recursion leaves more stack to the call.
  let line;
  let failed = 0;
  const deep = () => {
    try {
      deep();
    } catch (e) {
      if (!(e instanceof RangeError)) throw e;
    }
    try {
      line ??= events.statsJson('web', 'gvisor');
    } catch {
      failed += 1;
    }
  };
  deep();
  assert.equal(line, WEB);
  assert(failed > 10, `only ${failed} calls failed`);
});

test('an argument of another type is a TypeError', async () => {
  for (const call of [
    () => events.event(5),
    () => events.eventJson(undefined),
    () => events.statsJson('web'),
    () => events.statsJson('web', 'docker'),
    () => events.oomJson(),
  ]) {
    assert.throws(call, TypeError);
    assert.equal(events.statsJson('web', 'gvisor'), WEB);
  }
  await assert.rejects(load(pod({ cpuUsage: undefined })), { name: 'TypeError', message: 'the host has no cpuUsage' });
});

test('functions of a class have their object', async () => {
  class Host {
    memory = 1000n;
    memoryUsage() {
      return this.memory;
    }
  }
  const { memoryUsage, ...rest } = pod();
  const events = await load(Object.assign(new Host(), rest));
  assert.equal(events.statsJson('web', 'gvisor'), WEB);
});
