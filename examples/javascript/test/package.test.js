/** The package as users get it: packed, installed in an empty directory, and used in TypeScript and JavaScript. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { transpile } from '@bytecodealliance/jco-transpile';
import { load } from '../index.js';
import { readScenario, SampleHost } from '../scenario.js';

const source = fileURLToPath(new URL('..', import.meta.url));

const USER = `
import { EventoutError, load, type Events, type Format, type Host, type Stats } from 'eventout';

const host: Host = {
  pidsCount(container) {
    if (container !== 'web') throw new EventoutError('container-not-found');
    return 3n;
  },
  memoryUsage: () => 1000n,
  containerCount: () => 1n,
  rootContainer: () => 'web',
  cpuUsage: () => [['web', 9007199254740993n]],
  cgroupCpuUsage: () => undefined,
  containerStats: () => ({
    cpu: { usage: { percpu: [1n, 2n], user: undefined } },
    cpuset: { cpuExclusive: true },
    memory: { raw: [['rss', 5n]] },
    blkio: { entries: [{ major: 8n, minor: 0n, op: 'Read', ioServiced: 1n }] },
  }),
};
const events: Events = await load(host);
const format: Format = 'runc';
const line: string = events.statsJson('web', format);
const stats: Stats = events.stats('web').data;
const total: bigint | undefined = stats.cpu.usage.total;
let why = '';
try {
  events.event('db');
} catch (e) {
  if (e instanceof EventoutError) why = e.code;
}
console.log([line.slice(0, 27), total, why, stats.cpu.usage.percpu, stats.cpuset.cpuExclusive].join(' '));

// @ts-expect-error a number is no u64
host.memoryUsage = () => 5;
// @ts-expect-error there is no such field
const wrong: ReturnType<Host['containerStats']> = { cpu: { usage: { totl: 1n } } };
// @ts-expect-error required fields are missing
host.containerStats = () => ({ networkInterfaces: [{ name: 'eth0' }] });
// @ts-expect-error there is no such format
() => events.statsJson('web', 'docker');
`;

test('the package works where it is installed', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'eventout-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const run = (command, ...args) => {
    const { stdout, stderr, status } = spawnSync(command, args, { cwd: directory, encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
    return stdout;
  };

  const [packed] = JSON.parse(run('npm', 'pack', '--json', source));
  assert.deepEqual([packed.name, packed.version], ['eventout', '0.1.0']);
  const files = packed.files.map(({ path }) => path).filter((path) => !path.startsWith('component/interfaces/'));
  assert.deepEqual(files.sort(), [
    'LICENSE', 'README.md', 'component/eventout.core.wasm', 'component/eventout.core2.wasm', 'component/eventout.core3.wasm',
    'component/eventout.d.ts', 'component/eventout.js', 'component/modules.d.ts', 'component/modules.js', 'contract.js',
    'host.d.ts', 'index.d.ts', 'index.js', 'package.json',
  ]);

  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  run('npm', 'install', '--offline', '--no-audit', '--no-fund', `./${packed.filename}`);
  writeFileSync(join(directory, 'user.ts'), USER);
  const tsc = join(source, 'node_modules/typescript/bin/tsc');
  run(process.execPath, tsc, '--strict', '--target', 'es2023', '--module', 'nodenext', 'user.ts');
  assert.equal(run(process.execPath, 'user.js'), '{"type":"stats","id":"web", 9007199254740993 container-not-found 1,2 true\n');
});

test('the host in the documentation works with the bindings of jco alone', async (t) => {
  const root = join(source, '../../..');
  const [, program] = /```js\n(\/\/ host\.mjs\n.*?)```/s.exec(readFileSync(join(root, 'docs/embedding.md'), 'utf8'));
  assert(program.split('\n').length <= 40 + 1);
  const directory = mkdtempSync(join(tmpdir(), 'eventout-'));
  t.after(() => rmSync(directory, { recursive: true }));
  // As the program `jco` calls it.
  const options = { name: 'eventout', instantiation: 'async', noComponentErrorWrapping: false };
  const { files } = await transpile(join(root, 'guest/eventout.wasm'), options);
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, 'bindings', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'host.mjs'), program);
  const run = (id) => {
    const { stdout, stderr, status } = spawnSync(process.execPath, ['host.mjs', id], { cwd: directory, encoding: 'utf8' });
    return { stdout, stderr, status };
  };
  const host = new SampleHost();
  [host.sample] = readScenario(`{"root_container":"pause","memory_usage":123456789,"cgroup_cpu_usage":5000000000,
    "containers":[{"id":"pause","pids_count":1,"cpu_usage":1000},{"id":"web","pids_count":3,"cpu_usage":123456789},
    {"id":"db","pids_count":12,"cpu_usage":2345678901}]}`.replaceAll('\n', ''));
  const events = await load(host);
  for (const id of ['pause', 'web', 'db']) {
    assert.deepEqual(run(id), { stdout: `${events.eventJson(id)}\n`, stderr: '', status: 0 });
  }
  const stderr = `{ tag: 'container-not-found', val: 'container "nobody" not found' }\n`;
  assert.deepEqual(run('nobody'), { stdout: '', stderr, status: 1 });
});
