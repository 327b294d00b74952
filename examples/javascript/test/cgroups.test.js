/** Cgroups: recorded interface files of v1 and v2 machines against what runc printed, and errors in files. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const recorded = fileURLToPath(new URL('../../../../tests/recorded', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'eventout-'));
test.after(() => rmSync(directory, { recursive: true }));

function cgroups(...args) {
  return spawnSync(process.execPath, [fileURLToPath(new URL('../cgroups.js', import.meta.url)), ...args], { encoding: 'utf8' });
}

/** Writes interface files, given by their paths. */
function files(name, contents) {
  for (const [path, text] of Object.entries(contents)) {
    const file = join(directory, name, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return join(directory, name);
}

function line(root, id) {
  const { stdout, stderr, status } = cgroups('--root', root, id);
  assert.deepEqual([stderr, status], ['', 0]);
  return JSON.parse(stdout);
}

/** Lists all values with their paths. */
function flat(value, path = '') {
  if (typeof value !== 'object' || value === null) return [[path, value]];
  return Object.entries(value).flatMap(([name, item]) => flat(item, `${path}.${name}`));
}

test('recorded interface files give what runc printed', () => {
  let fixed = 0;
  for (const name of readdirSync(recorded)) {
    const { printed, before, after } = JSON.parse(readFileSync(join(recorded, name), 'utf8'));
    const runc = JSON.parse(printed);
    const of = (when, files) => new Map(flat(line(recording(`${name}/${when}`, runc.id, files), runc.id)));
    const [first, last] = [of('before', before), of('after', after)];
    for (const [path, value] of flat(runc)) {
      if (!/^\.(id|type)|^\.data\.(cpu\.(usage|throttling)|memory\.(?!psi)|pids)/.test(path)) continue;
      // runc 1.1.5 prints 0 or nothing for what it does not know yet.
      const [low, high] = [first.get(path) ?? 0, last.get(path) ?? 0];
      if (low === high) {
        assert.equal(low, value, `${name}: ${path}`);
        fixed += 1;
      } else {
        const [from, to] = low < high ? [low, high] : [high, low];
        assert(from <= value && value <= to, `${name}: ${path}: ${from} <= ${value} <= ${to}`);
      }
    }
  }
  assert(fixed > 150, `only ${fixed} values did not change`);
});

function recording(name, id, contents) {
  return files(name, Object.fromEntries(
    Object.entries(contents).map(([path, text]) => [path.replace('/', `/${id}/`), text]),
  ));
}

const V2 = {
  'cgroup.controllers': 'cpu memory pids\n',
  'pod/web/memory.current': '4096\n',
  'pod/web/cgroup.threads': '1\n2\n',
  'pod/web/inner/cgroup.threads': '3\n',
};

test('cgroups are given by their paths, or by that of their parent', () => {
  const root = files('v2', V2);
  const web = cgroups('--root', root, '/pod/web/').stdout;
  assert.match(web, /^\{"type":"stats","id":"pod\/web",.*"pids":\{"current":3\}/);
  assert.equal(cgroups('--root', root, '--children', 'pod').stdout, web);
  const { stdout, stderr, status } = cgroups('--root', root);
  assert.deepEqual([stderr, status], ['', 0]);
  // The memory and the CPU time of `pod` are not accounted.
  assert.match(stdout, /^\{"type":"stats","id":"pod",.*"pids":\{"current":3\}/);
  // An error does not end the others.
  const some = cgroups('--root', root, 'none', 'pod/web');
  assert.deepEqual([some.stdout, some.stderr, some.status], [web, 'cgroups.js: none: there is no such cgroup\n', 1]);
});

test('values beyond 2^53 are exact, and units are converted', () => {
  const root = files('exact', {
    ...V2,
    'pod/web/memory.current': '18446744073709551614\n',
    'pod/web/memory.max': 'max\n',
    'pod/web/memory.swap.current': '5\n',
    'pod/web/cpu.stat': 'usage_usec 9007199254741\nuser_usec 1\nsystem_usec 2\nnr_periods 3\nnr_throttled 4\nthrottled_usec 5\n',
    'pod/web/pids.current': '7\n',
    'pod/web/pids.max': 'max\n',
  });
  const { stdout } = cgroups('--root', root, 'pod/web');
  assert(stdout.includes('"usage":{"total":9007199254741000,"kernel":2000,"user":1000}'), stdout);
  assert(stdout.includes('"throttling":{"periods":3,"throttledPeriods":4,"throttledTime":5000}'), stdout);
  assert(stdout.includes('"usage":{"limit":18446744073709551615,"usage":18446744073709551614,"failcnt":0}'), stdout);
  assert(stdout.includes('"swap":{"limit":0,"usage":18446744073709551615,"failcnt":0}'), stdout);
  assert(stdout.includes('"pids":{"current":7}'), stdout);
});

test('a broken file is named', () => {
  for (const [file, text, why] of [
    ['memory.current', '', '"" is not a u64'],
    ['memory.current', '18446744073709551616', '"18446744073709551616" is not a u64'],
    ['memory.current', '1.5\n', '"1.5" is not a u64'],
    ['memory.stat', 'anon 1\nfile\n', '"file" is not a name and a value'],
    ['pids.max', 'maximum', '"maximum" is not a u64'],
  ]) {
    const root = files('broken', { ...V2, [`pod/web/${file}`]: text });
    const { stdout, stderr, status } = cgroups('--root', root, 'pod/web');
    assert.deepEqual([stdout, status], ['', 1]);
    assert.equal(stderr, `cgroups.js: pod/web: ${join(root, 'pod/web', file)}: ${why}\n`);
    rmSync(root, { recursive: true });
  }
  // Too large in nanoseconds.
  const wraps = files('wraps', { ...V2, 'pod/web/cpu.stat': 'usage_usec 18446744073709551615\n' });
  assert.match(cgroups('--root', wraps, 'pod/web').stderr, /is 18446744073709551615000n, and must be a bigint from 0 to/);
});

test('no path leads out of the root', () => {
  const root = files('out', V2);
  for (const cgroup of ['..', 'pod/../..', './pod']) {
    const { stderr, status } = cgroups('--root', root, cgroup);
    assert.deepEqual([stderr, status], [`cgroups.js: ${cgroup}: the path has . or .. in it\n`, 1]);
  }
  assert.equal(cgroups('--nonsense').status, 2);
});

test('the cgroups of this machine can be read', () => {
  const { stdout, stderr, status } = cgroups();
  if (stdout === '' && stderr.startsWith('cgroups.js: /sys/fs/cgroup: ')) return test.skip(stderr);
  for (const text of stdout.split('\n').slice(0, -1)) assert.equal(JSON.parse(text).type, 'stats');
  assert.equal(status, stderr === '' ? 0 : 1, stderr);
});
