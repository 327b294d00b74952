/** The package, as others get it: packed, installed in an empty folder, and used by JavaScript and TypeScript. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('..', import.meta.url));

const USER = `
import { ContainerNotFound, EventoutError, Unavailable, load, type Dialect, type Host, type Stats } from 'eventout';

const host: Host = {
  pidsCount(container) {
    if (container !== 'web') throw new ContainerNotFound();
    return 3n;
  },
  updateMemoryUsage() {},
  usage: () => ({ memory: 1000n, containerCount: 1n, cpu: new Map([['web', 9007199254740993n]]) }),
  cgroupCpuUsage: () => undefined,
  containerStats: () => ({
    cpu: { usage: { percpu: [1n, 2n], user: null } },
    memory: { raw: new Map([['rss', 5n]]) },
    blkio: { entries: [{ major: 8n, minor: 0n, op: 'Read', ioServiced: 1n }] },
  }),
};
const events = (await load()).events(host);
const dialect: Dialect = 'runc';
const line: string = events.statsJson('web', dialect);
const stats: Stats = events.stats('web').data;
const total: bigint | undefined = stats.cpu.usage.total;
const sweep: (string | EventoutError)[] = events.sweepJson(['web', 'db'], 'runsc');
let why = '';
try {
  events.event('db');
} catch (e) {
  if (e instanceof EventoutError) why = e.case;
  if (e instanceof Unavailable) e.case satisfies 'unavailable';
}
console.log([line.slice(0, 27), total, sweep.length, why, stats.cpu.usage.percpu].join(' '));

// @ts-expect-error a number is no u64
host.usage = () => ({ memory: 5, containerCount: 1n, cpu: [] });
// @ts-expect-error there is no such figure
const wrong: ReturnType<Host['containerStats']> = { cpu: { usage: { totl: 1n } } };
// @ts-expect-error what must be there is not
host.containerStats = () => ({ networkInterfaces: [{ name: 'eth0' }] });
// @ts-expect-error there is no such dialect
() => events.statsJson('web', 'docker');
`;

test('the package works where it is installed', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'eventout-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const run = (command, ...args) => {
    const { stdout, stderr, status } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' });
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

  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  run('npm', 'install', '--offline', '--no-audit', '--no-fund', `./${packed.filename}`);
  writeFileSync(join(folder, 'user.ts'), USER);
  const tsc = join(source, 'node_modules/typescript/bin/tsc');
  run(process.execPath, tsc, '--strict', '--target', 'es2023', '--module', 'nodenext', 'user.ts');
  assert.equal(run(process.execPath, 'user.js'), '{"type":"stats","id":"web", 9007199254740993 2 container-not-found 1,2\n');
});
