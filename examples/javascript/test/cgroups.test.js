/** Control groups: recorded files of v1 and v2 machines against what runc printed, and what may be wrong with files. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const recorded = fileURLToPath(new URL('../../../../tests/recorded', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'eventout-'));
test.after(() => rmSync(folder, { recursive: true }));

function cgroups(...args) {
  return spawnSync(process.execPath, [fileURLToPath(new URL('../cgroups.js', import.meta.url)), ...args], { encoding: 'utf8' });
}

/** Writes control files, by their paths. */
function files(name, contents) {
  for (const [path, text] of Object.entries(contents)) {
    const file = join(folder, name, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return join(folder, name);
}

function line(root, id) {
  const { stdout, stderr, status } = cgroups('--root', root, id);
  assert.deepEqual([stderr, status], ['', 0]);
  return JSON.parse(stdout);
}

/** Each figure with its place. */
function flat(value, path = '') {
  if (typeof value !== 'object' || value === null) return [[path, value]];
  return Object.entries(value).flatMap(([name, item]) => flat(item, `${path}.${name}`));
}

test('recorded control files give what runc printed', () => {
  let fixed = 0;
  for (const name of readdirSync(recorded)) {
    const { printed, before, after } = JSON.parse(readFileSync(join(recorded, name), 'utf8'));
    const runc = JSON.parse(printed);
    const of = (when, files) => new Map(flat(line(recording(`${name}/${when}`, runc.id, files), runc.id)));
    const [first, last] = [of('before', before), of('after', after)];
    for (const [path, figure] of flat(runc)) {
      if (!/^\.(id|type)|^\.data\.(cpu\.(usage|throttling)|memory\.(?!psi)|pids)/.test(path)) continue;
      // What runc 1.1.5 doesn't have yet, it prints as 0 or not at all.
      const [low, high] = [first.get(path) ?? 0, last.get(path) ?? 0];
      if (low === high) {
        assert.equal(low, figure, `${name}: ${path}`);
        fixed += 1;
      } else {
        const [from, to] = low < high ? [low, high] : [high, low];
        assert(from <= figure && figure <= to, `${name}: ${path}: ${from} <= ${figure} <= ${to}`);
      }
    }
  }
  assert(fixed > 150, `only ${fixed} figures that say something`);
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

test('groups are named one by one or by the group that they are in', () => {
  const root = files('v2', V2);
  const web = cgroups('--root', root, '/pod/web/').stdout;
  assert.match(web, /^\{"type":"stats","id":"pod\/web",.*"pids":\{"current":3\}/);
  assert.equal(cgroups('--root', root, '--children', 'pod').stdout, web);
  const { stdout, stderr, status } = cgroups('--root', root);
  assert.deepEqual([stdout, status], ['', 1]);
  assert.equal(stderr, 'cgroups.js: cannot tell of group pod: it has neither memory.usage_in_bytes (v1) nor memory.current (v2)\n');
  // One that fails does not end the rest.
  const some = cgroups('--root', root, 'none', 'pod/web');
  assert.deepEqual([some.stdout, some.stderr, some.status], [web, 'cgroups.js: cannot tell of group none: there is no such group\n', 1]);
});

test('figures beyond 2^53 are exact, and units are converted', () => {
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
    ['memory.current', '', '"" is not a figure'],
    ['memory.current', '18446744073709551616', '"18446744073709551616" is not a figure'],
    ['memory.current', '1.5\n', '"1.5" is not a figure'],
    ['memory.stat', 'anon 1\nfile\n', '"file" is not a name and a figure'],
    ['pids.max', 'maximum', '"maximum" is not a figure'],
  ]) {
    const root = files('broken', { ...V2, [`pod/web/${file}`]: text });
    const { stdout, stderr, status } = cgroups('--root', root, 'pod/web');
    assert.deepEqual([stdout, status], ['', 1]);
    assert.equal(stderr, `cgroups.js: cannot tell of group pod/web: ${join(root, 'pod/web', file)}: ${why}\n`);
    rmSync(root, { recursive: true });
  }
  // Too large by the unit alone.
  const wraps = files('wraps', { ...V2, 'pod/web/cpu.stat': 'usage_usec 18446744073709551615\n' });
  assert.match(cgroups('--root', wraps, 'pod/web').stderr, /is 18446744073709551615000n, and must be a bigint from 0 to/);
  const pipe = files('pipe', V2);
  rmSync(join(pipe, 'pod/web/memory.current'));
  execFileSync('mkfifo', [join(pipe, 'pod/web/memory.current')]);
  assert.match(cgroups('--root', pipe, 'pod/web').stderr, /memory.current: it is not a regular file$/m);
});

test('no path leads out of the root', () => {
  const root = files('out', V2);
  for (const group of ['..', 'pod/../..', './pod']) {
    const { stderr, status } = cgroups('--root', root, group);
    assert.deepEqual([stderr, status], [`cgroups.js: cannot tell of group ${group}: this is no path of a group\n`, 1]);
  }
  assert.equal(cgroups('--nonsense').status, 2);
});

test('the groups of this machine can be read', () => {
  const { stdout, stderr, status } = cgroups();
  if (stderr.includes('cannot find groups')) return test.skip(stderr);
  for (const text of stdout.split('\n').slice(0, -1)) assert.equal(JSON.parse(text).type, 'stats');
  assert.equal(status, stderr === '' ? 0 : 1, stderr);
});
