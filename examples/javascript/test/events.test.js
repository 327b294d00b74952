/** The wrapper: what a host may do, and what a caller gets. */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { ContainerNotFound, EventoutError, NoContainer, Trap, Unavailable, load } from '../index.js';
import { readScenario } from '../scenario.js';
import { SnapshotHost } from '../snapshot.js';

const component = await load();

/** What the containers of a pod share, with some figures replaced. */
function usage(changes = {}) {
  const cpu = new Map([['pause', 10n], ['web', 20n]]);
  return () => ({ memory: 1000n, containerCount: 2n, rootContainer: 'pause', cpu, ...changes });
}

/** A pod of two containers, some functions of which are replaced. */
function pod(changes = {}) {
  return {
    pidsCount(id) {
      if (!['pause', 'web'].includes(id)) throw new ContainerNotFound();
      return 3n;
    },
    updateMemoryUsage() {},
    usage: usage(),
    cgroupCpuUsage: () => 300n,
    containerStats: () => undefined,
    ...changes,
  };
}

const WEB = component.events(pod()).statsJson('web', 'runsc');

/** Asks a host whose answer is wrong, sets it right, and asks again. */
function recovers(name, replacement, check, ask = (events) => events.stats('web')) {
  const host = pod({ [name]: replacement });
  const events = component.events(host);
  check(() => ask(events));
  host[name] = pod()[name];
  assert.equal(events.statsJson('web', 'runsc'), WEB);
}

test('an event is computed of what the host tells', () => {
  const events = component.events(pod());
  assert.match(WEB, /^\{"type":"stats","id":"web","data":\{"cpu":\{"usage":\{"total":200\}\},"memory":\{"usage":\{"limit":0,"usage":1000,/);
  assert.deepEqual(events.event('web'), { id: 'web', pids: 3n, memory: 1000n, containerUsage: [['pause', 10n], ['web', 20n]] });
  assert.deepEqual(events.sweepJson(['web', 'pause'], 'runc'), [events.statsJson('web', 'runc'), events.statsJson('pause', 'runc')]);
  assert.equal(events.oomJson('a"b'), '{"type":"oom","id":"a\\"b"}');
});

test('errors are of the case that the component tells', () => {
  const events = component.events(pod());
  assert.throws(() => events.event('no "such"'), (e) => {
    assert(e instanceof ContainerNotFound && e instanceof EventoutError && e instanceof Error);
    assert.equal(String(e), 'ContainerNotFound: container "no \\"such\\"" not found');
    assert.equal(e.case, 'container-not-found');
    return true;
  });
  recovers('usage', usage({ containerCount: 0n }), (ask) =>
    assert.throws(ask, (e) => e instanceof NoContainer && e.case === 'no-container' && e.message === 'no container was found'));
  const [web, none] = events.sweepJson(['web', 'none'], 'runsc');
  assert.equal(web, WEB);
  assert(none instanceof ContainerNotFound);
});

test('whatever a host throws is the error of the contract, and the next call works', () => {
  const evil = { get message() { throw new Error('no'); }, toString() { throw new Error('no'); } };
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  for (const [thrown, text] of [
    [new Error('the disk is on fire'), 'the disk is on fire'],
    [new TypeError('x is not a function'), 'x is not a function'],
    [new WebAssembly.RuntimeError('unreachable'), 'unreachable'],
    ['a text', 'a text'],
    [undefined, 'undefined'],
    [Symbol('s'), 'Symbol(s)'],
    [{ tag: 'err', val: { tag: 'container-not-found' } }, '[object Object]'],
    [Object.assign(new Error('inner'), { payload: { tag: 'nonsense' } }), 'inner'],
    [new Error('lone \ud800 surrogate'), 'lone \ufffd surrogate'],
    [new NoContainer('of another sandbox'), 'of another sandbox'],
    [evil, 'the host threw something without a text'],
    [revoked.proxy, 'the host threw something without a text'],
    [Object.create(null), 'the host threw something without a text'],
  ]) {
    for (const name of ['pidsCount', 'usage', 'containerStats']) {
      recovers(name, () => { throw thrown; }, (ask) => assert.throws(ask, (e) => {
        assert(e instanceof Unavailable, `${name}: ${e}`);
        assert.deepEqual([e.message, e.case], [text, 'unavailable']);
        assert.equal(e.cause, thrown);
        return true;
      }));
    }
  }
  // As the contract has it.
  for (const name of ['updateMemoryUsage', 'cgroupCpuUsage']) {
    recovers(name, () => { throw new Error('no'); }, (ask) => assert.equal(ask().id, 'web'));
  }
});

test('a wrong answer is unavailable, and the text says what is wrong', () => {
  const u64 = 'a bigint from 0 to 18446744073709551615';
  const stats = (value) => () => value;
  for (const [name, wrong, text] of [
    ['pidsCount', () => -1n, `the host's pidsCount is -1n, and must be ${u64}`],
    ['pidsCount', () => 2n ** 64n, `the host's pidsCount is 18446744073709551616n, and must be ${u64}`],
    ['pidsCount', () => 3, `the host's pidsCount is 3, and must be ${u64}`],
    ['pidsCount', async () => 3n, `the host's pidsCount is an object, and must be ${u64}`],
    ['pidsCount', () => ({ tag: 'ok', val: 2n }), `the host's pidsCount is an object, and must be ${u64}`],
    ['usage', () => null, "the host's usage is null, and must be an object"],
    ['usage', () => undefined, `the host's usage.memory is undefined, and must be ${u64}`],
    ['usage', async () => usage()(), `the host's usage.memory is undefined, and must be ${u64}`],
    ['usage', usage({ memory: '3' }), `the host's usage.memory is "3", and must be ${u64}`],
    ['usage', usage({ memory: NaN }), `the host's usage.memory is NaN, and must be ${u64}`],
    ['usage', usage({ containerCount: true }), `the host's usage.containerCount is true, and must be ${u64}`],
    ['usage', usage({ rootContainer: 5 }), `the host's usage.rootContainer is 5, and must be a string`],
    ['usage', usage({ rootContainer: 'a\udc00' }), `the host's usage.rootContainer is "a\\udc00", and must be a string without lone surrogates`],
    ['usage', usage({ rootContainer: undefined }), "the host's usage names no root container among several"],
    ['usage', usage({ cpu: undefined }), `the host's usage.cpu is undefined, and must be a Map or a list of pairs`],
    ['usage', usage({ cpu: 'ab' }), `the host's usage.cpu is "ab", and must be a Map or a list of pairs`],
    ['usage', usage({ cpu: ['ab'] }), `the host's usage.cpu[0] is "ab", and must be a pair`],
    ['usage', usage({ cpu: [['a', 1n, 2n]] }), `the host's usage.cpu[0] is a list, and must be a pair`],
    ['usage', usage({ cpu: [['a', 1n], ['b', -5n]] }), `the host's usage.cpu["b"] is -5n, and must be ${u64}`],
    ['usage', usage({ cpu: [['a\0b', 1n]] }), `an ID in the host's usage.cpu is "a\\u0000b", and must be a string without a NUL`],
    ['containerStats', stats(5), `the host's containerStats is 5, and must be an object`],
    ['containerStats', stats({ cpu: { usages: {} } }), `the host's containerStats.cpu has no field "usages"`],
    ['containerStats', stats({ cpu: { usage: { total: 1 } } }), `the host's containerStats.cpu.usage.total is 1, and must be ${u64}`],
    ['containerStats', stats({ cpu: { usage: { percpu: [1n, 2] } } }), `the host's containerStats.cpu.usage.percpu[1] is 2, and must be ${u64}`],
    ['containerStats', stats({ cpu: { psi: {} } }), `the host's containerStats.cpu.psi.some.avg10 is undefined, and must be a whole number from 0 to 4294967295`],
    ['containerStats', stats({ cpuset: { cpus: [65536] } }), `the host's containerStats.cpuset.cpus[0] is 65536, and must be a whole number from 0 to 65535`],
    ['containerStats', stats({ cpuset: { schedRelaxDomainLevel: -(2n ** 63n) - 1n } }), `the host's containerStats.cpuset.schedRelaxDomainLevel is -9223372036854775809n, and must be a bigint from -9223372036854775808 to 9223372036854775807`],
    ['containerStats', stats({ memory: { raw: [['\ud800', 1n]] } }), `the name of the host's containerStats.memory.raw[0] is "\\ud800", and must be a string without lone surrogates`],
    ['containerStats', stats({ networkInterfaces: [{ name: 'eth0' }] }), `the host's containerStats.networkInterfaces[0].rxBytes is undefined, and must be ${u64}`],
    ['containerStats', stats({ get cpu() { throw new Error('a getter'); } }), 'a getter'],
    ['containerStats', stats(new Proxy({}, { ownKeys() { throw new Error('a trap'); } })), 'a trap'],
  ]) {
    recovers(name, wrong, (ask) => assert.throws(ask, (e) => {
      assert(e instanceof Unavailable, String(e));
      assert.equal(e.message, text);
      return true;
    }));
  }
});

test('whole numbers are exact over their range', () => {
  for (const figure of [0n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const events = component.events(pod({
      pidsCount: () => figure,
      usage: usage({ memory: figure, containerCount: 1n, cpu: [['web', figure]] }),
      containerStats: () => ({
        cpu: { usage: { total: figure, percpu: [figure, 1n] } },
        cpuset: { schedRelaxDomainLevel: -(2n ** 63n), cpus: [65535] },
        memory: { raw: new Map([['x', figure]]), usage: { limit: figure } },
      }),
    }));
    const { pids, memory, containerUsage } = events.event('web');
    assert.deepEqual([pids, memory, containerUsage], [figure, figure, [['web', figure]]]);
    const { data } = events.stats('web');
    assert.deepEqual(data.cpu.usage.percpu, BigUint64Array.of(figure, 1n));
    assert.deepEqual(data.cpuset.cpus, Uint16Array.of(65535));
    assert.equal(data.cpuset.schedRelaxDomainLevel, -(2n ** 63n));
    assert.deepEqual([data.cpu.usage.total, data.memory.usage.limit, data.memory.raw], [figure, figure, [['x', figure]]]);
    const line = events.statsJson('web', 'runc');
    assert(line.includes(`"percpu":[${figure},1]`) && line.includes(`"raw":{"x":${figure}}`), line);
    assert(line.includes('"sched_relax_domain_level":-9223372036854775808'), line);
  }
});

test('IDs cross as they are', () => {
  for (const id of ['', '\ufeffbom', '\ufeff\ufeff', '😀é', '__proto__', 'constructor', '\u2028\n"\\', '<b>']) {
    const events = component.events(pod({
      pidsCount: (asked) => {
        assert.equal(asked, id);
        return 1n;
      },
      containerStats: (asked) => {
        assert.equal(asked, id);
        return { memory: { raw: [[id, 1n]] } };
      },
      usage: usage({ rootContainer: id, cpu: [[id, 7n]] }),
    }));
    assert.deepEqual(events.event(id), { id, pids: 1n, memory: 0n, containerUsage: [[id, 7n]] });
    assert.deepEqual(events.stats(id).data.memory.raw, [[id, 1n]]);
  }
});

test('typed events say what the lines say', () => {
  /** A list of all figures that are not 0, and of all texts, with their places: JSON has no more. */
  const flat = (value, path = '') => {
    if (value === undefined || value === 0n || value === 0 || value === '') return [];
    if (typeof value !== 'object') return [`${path} ${value}`];
    const pairs = Array.isArray(value) && value.every((item) => Array.isArray(item));
    return (pairs ? value : Object.entries(value)).flatMap(([name, item]) => flat(item, `${path}.${name}`)).sort();
  };
  const folder = new URL('../../../../tests/goldens/', import.meta.url);
  const scenarios = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  assert(scenarios.length >= 10);
  const host = new SnapshotHost();
  const events = component.events(host);
  let compared = 0;
  for (const name of scenarios) {
    for (const instant of readScenario(name, readFileSync(new URL(name, folder), 'utf8'))) {
      host.tell(instant);
      for (const { id } of instant.containers.filter(({ error }) => error === undefined)) {
        const { type, ...line } = JSON.parse(events.statsJson(id, 'runc'), (key, value) => (key === 'data' ? null : value));
        const typed = events.stats(id);
        assert.deepEqual([type, line.id, typed.id], ['stats', id, id]);
        // The data of a line are those of a scenario.
        const data = events.statsJson(id, 'runc').slice('{"type":"stats","id":,"data":'.length + goString(events, id).length, -1);
        const [read] = readScenario(name, `{"root":"","memory_bytes":0,"containers":[{"id":"","pids":0,"stats":${data}}]}`);
        assert.deepEqual(flat(typed.data), flat(read.containers[0].stats));
        compared += 1;
      }
    }
  }
  assert(compared > 50);
});

/** An ID as Go's JSON has it. */
function goString(events, id) {
  return events.oomJson(id).slice('{"type":"oom","id":'.length, -1);
}

test('a host that asks for an event while it is asked gets an error', () => {
  const host = pod({ usage: () => usage({ memory: BigInt(events.eventJson('web').length) })() });
  const events = component.events(host);
  assert.throws(() => events.event('web'), { name: 'Unavailable', message: 'a function of the host asked for an event of the same host' });
  host.usage = usage();
  assert.equal(events.statsJson('web', 'runsc'), WEB);
  // Of another it may.
  host.usage = () => usage({ memory: component.events(pod()).event('web').memory })();
  assert.equal(events.statsJson('web', 'runsc'), WEB);
});

test('a component that breaks down is replaced', (t) => {
  // (module (func (export "f") unreachable))
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11];
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes))).exports;
  const { Instance } = WebAssembly;
  t.mock.method(WebAssembly, 'Instance', function (module, imports) {
    const { exports } = new Instance(module, imports);
    return { exports: { ...exports, 'eventout:stats/events@0.1.0#stats': f } };
  });
  const events = component.events(pod());
  assert.equal(events.statsJson('web', 'runsc'), WEB);
  t.mock.restoreAll();
  assert.throws(() => events.stats('web'), (e) => {
    assert(e instanceof Trap && !(e instanceof EventoutError) && e.cause instanceof WebAssembly.RuntimeError);
    assert.match(e.message, /^the component broke down: wasm trap: wasm `unreachable` instruction executed$/);
    return true;
  });
  assert.equal(events.stats('web').id, 'web');
  assert.equal(events.statsJson('web', 'runsc'), WEB);
});

test('running out of stack leaves nothing behind', () => {
  // Wherever that is: each level of the recursion leaves the call a bit more.
  const events = component.events(pod());
  let line;
  let failed = 0;
  const deep = () => {
    try {
      deep();
    } catch (e) {
      if (!(e instanceof RangeError)) throw e;
    }
    try {
      line ??= events.statsJson('web', 'runsc');
    } catch {
      failed += 1;
    }
  };
  deep();
  assert.equal(line, WEB);
  assert(failed > 10, `only ${failed} calls failed`);
});

test('wrong arguments are told before anything is asked', () => {
  const host = pod({ pidsCount: () => assert.fail('asked') });
  const events = component.events(host);
  for (const ask of [
    () => events.event(5),
    () => events.eventJson(undefined),
    () => events.stats('\ud800'),
    () => events.statsJson('web'),
    () => events.statsJson('web', 'docker'),
    () => events.sweepJson(['web', null], 'runc'),
    () => events.sweepJson(5, 'runc'),
    () => events.oomJson(),
    () => component.events(undefined),
    () => component.events({ ...host, usage: undefined }),
  ]) {
    assert.throws(ask, TypeError);
  }
});

test('functions of a class see their object', () => {
  class Host {
    shared = usage()();
    usage() {
      return this.shared;
    }
  }
  const { usage: _, ...rest } = pod();
  const events = component.events(Object.assign(new Host(), rest));
  assert.equal(events.statsJson('web', 'runsc'), WEB);
});
