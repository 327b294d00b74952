/**
 * The page of `eventout serve`, in a headless Chromium. `EVENTOUT` is the program; the packages are in
 * `target/examples/page` (see `tests/run`), and so are screenshots.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const target = fileURLToPath(new URL('../../target/examples/page/', import.meta.url));
const require = createRequire(join(target, 'package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const directory = mkdtempSync(join(tmpdir(), 'eventout-page-'));
test.after(() => rmSync(directory, { recursive: true }));

/** Starts the server with that source, on a port that is free or the one it had before. */
function serve(source, port = 0) {
  const args = ['--source', source, 'serve', '--listen', `127.0.0.1:${port}`, '--interval', '200ms'];
  const child = spawn(process.env.EVENTOUT, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const stop = () => {
    child.kill();
    return ended;
  };
  return new Promise((resolve, reject) => {
    let text = '';
    child.stderr.on('data', (more) => {
      text += more;
      const [, url] = /serving (http:\S+)/.exec(text) ?? [];
      if (url) resolve({ url: `${url}/`, port: new URL(url).port, stop });
    });
    ended.then(() => reject(new Error(`it has ended: ${text}`)));
  });
}

const launch = () => chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});

/** Writes a scenario of that many samples. */
function scenario(name, samples, sandboxesOf) {
  const file = join(directory, name);
  const lines = Array.from({ length: samples }, (_, at) => JSON.stringify(sandboxesOf(at)));
  writeFileSync(file, lines.join('\n'));
  return `scenario:${file}`;
}

const HOSTILE = [
  '<img src=x onerror="window.hacked=1">',
  '</script><script>window.hacked=1</script>',
  '\u202egnp.exe',
  'a\nb\u0007',
  '"; drop table containers',
  'x'.repeat(4000),
];

const pressure = (avg10) => {
  const data = { avg10, avg60: 0, avg300: 0, total: avg10 };
  return { some: data, full: data };
};

/** A counter that grows by `step` for each sample, and by a quarter more or less in turns, so that its rate never stays. */
const uneven = (step, at) => step * at + (at % 2) * step / 4;

/** A pod of gVisor, one of runc with everything, and containers with hostile names. */
const POD = scenario('pod.jsonl', 3000, (at) => [
  {
    root_container: 'pause',
    memory_usage: (100 << 20) + 4096 * at,
    containers: [
      { id: 'pause', pids_count: 1, cpu_usage: 1000 },
      {
        id: 'f00d',
        pids_count: 3,
        cpu_usage: uneven(20e6, at),
        details: { name: 'web', pod: 'web-0', namespace: 'shop', image: 'example/web:1', started: 1764000000000000000 },
      },
    ],
  },
  {
    format: 'runc',
    root_container: 'db',
    memory_usage: 50 << 20,
    cgroup_cpu_usage: uneven(60e6, at),
    containers: [{
      id: 'db',
      pids_count: 12,
      cpu_usage: uneven(60e6, at),
      details: { pod: 'db-0', namespace: 'shop' },
      stats: {
        cpu: {
          usage: { total: uneven(60e6, at), user: 40e6 * at, kernel: 20e6 * at },
          throttling: { periods: 2 * at, throttled_periods: at, throttled_time: 1e6 * at },
          psi: pressure(1234),
        },
        memory: { usage: { usage: 50 << 20, limit: 100 << 20 }, psi: pressure(0) },
        pids: { current: 12, limit: 100 },
        blkio: { entries: [{ major: 8, minor: 0, op: 'Read', io_service_bytes: 4096 * at, io_serviced: at }] },
        network_interfaces: [{
          name: 'eth0', rx_bytes: 1e5 * at, rx_packets: at, rx_errors: 0, rx_dropped: 0, tx_bytes: 1e4 * at, tx_packets: at, tx_errors: 0, tx_dropped: 0,
        }],
      },
    }],
  },
  ...HOSTILE.map((name, number) => ({
    format: 'runc',
    root_container: `hostile-${number}`,
    containers: [{ id: `hostile-${number}`, pids_count: 1, details: { name, pod: name, namespace: name, image: name } }],
  })),
  { format: 'runc', root_container: 'frozen', containers: [{ id: 'frozen', pids_count: 1, error: 'it is <b>frozen</b>' }] },
]);

test('the page', async (t) => {
  let server = await serve(POD);
  t.after(() => server.stop());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  page.setDefaultTimeout(60_000);
  // An error, a violation of the content security policy, or a request to somebody else.
  let complaints = [];
  page.on('pageerror', (e) => complaints.push(String(e)));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('request', (request) => {
    if (!request.url().startsWith(server.url) && !request.url().startsWith('data:')) complaints.push(request.url());
  });

  const text = (selector) => page.locator(selector).innerText();
  const names = () => page.locator('#containers tbody a span').allInnerTexts();
  const row = (name) => page.locator('#containers tbody tr').filter({ has: page.locator(`a[title=${JSON.stringify(name)}]`) });
  /** The cells of a container, by their headings. */
  const cells = async (name) => {
    const headings = await page.locator('#containers thead th').allInnerTexts();
    const values = await row(name).locator('th, td').allInnerTexts();
    return Object.fromEntries(headings.map((heading, at) => [heading, values[at]]));
  };
  const until = (selector, wanted) => page.locator(selector).filter({ hasText: wanted }).waitFor();
  /** What axe finds, in both colour schemes. */
  const faults = async () => {
    const found = [];
    for (const colorScheme of ['dark', 'light']) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      found.push(...violations.map(({ id, nodes }) => [colorScheme, id, nodes.map(({ html }) => html)]));
    }
    return found;
  };
  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

  const response = await page.goto(server.url);
  assert.match(response.headers()['content-security-policy'], /default-src 'none'/);

  await t.test('shows what containers use, live', async () => {
    await row('db').getByText('CPU 12.3 %').waitFor();
    assert.equal((await names()).length, 9);
    const cpu = row('web').locator('td').first();
    await cpu.getByText('%').waitFor();
    const before = await cpu.innerText();
    await page.waitForFunction(([cell, before]) => cell.innerText !== before, [await cpu.elementHandle(), before]);
    const { Memory, Limit, Used, Tasks, Received, Throttled, Pressure } = await cells('db');
    assert.deepEqual({ Memory, Limit, Used, Tasks, Throttled, Pressure }, {
      Memory: '50.0 MiB', Limit: '100 MiB', Used: '50.0 %', Tasks: '12 / 100', Throttled: '50.0 %', Pressure: 'CPU 12.3 %',
    });
    assert.match(Received, /^\d+(\.\d)? [KM]iB\/s$/);
    assert.match(await row('db').locator('path').getAttribute('d'), /^M.*L/);
  });

  await t.test('has a dash for what is not known', async () => {
    const web = await cells('web');
    const { Limit, Used, Received, Read, Throttled, Pressure } = web;
    assert.deepEqual(new Set([Limit, Used, Received, Read, Throttled, Pressure]), new Set(['–']));
    assert.equal(web.Tasks, '3 / –');
    assert.equal((await cells('db')).Written, '–');
  });

  await t.test('shows hostile names and errors as text', async () => {
    const shown = await page.locator('#containers tbody a').evaluateAll((links) => links.map((link) => link.querySelector('bdi').textContent));
    const visible = (name) => name.replace('\u202e', '\\u{202e}').replace('\n', '\\u{a}').replace('\u0007', '\\u{7}');
    for (const name of HOSTILE) assert(shown.includes(visible(name)), name);
    await until('#problem summary', 'One error in the last sample');
    await page.locator('#problem summary').click();
    assert.match(await text('#problem li'), /it is <b>frozen<\/b>/);
    await page.locator('#problem summary').click();
    await until('#state', 'Connected, some values are missing');
    assert.equal(await page.locator('img, b, body script:not(:last-of-type)').count(), 0);
    assert.equal(await page.evaluate(() => 'hacked' in globalThis), false);
  });

  await t.test('sorts', async () => {
    const heading = (name) => page.getByRole('columnheader', { name, exact: true });
    assert.equal(await heading('CPU').getAttribute('aria-sort'), 'descending');
    await page.waitForFunction(() => document.querySelector('#containers tbody bdi').textContent === 'db');
    assert.deepEqual((await names()).slice(0, 2), ['db', 'web']);
    await heading('Container').getByRole('button').click();
    assert.equal(await heading('Container').getAttribute('aria-sort'), 'ascending');
    assert.equal(await heading('CPU').getAttribute('aria-sort'), null);
    const ascending = await names();
    await heading('Container').getByRole('button').press('Enter');
    assert.equal(await heading('Container').getAttribute('aria-sort'), 'descending');
    assert.deepEqual(await names(), ascending.toReversed());
    // What is not known comes last in both directions.
    for (const direction of ['descending', 'ascending']) {
      await heading('Limit').getByRole('button').click();
      assert.equal(await heading('Limit').getAttribute('aria-sort'), direction);
      assert.equal((await names())[0], 'db');
    }
    await heading('CPU').getByRole('button').click();
  });

  await t.test('filters by names, pods and images', async () => {
    await page.getByLabel('Filter').fill('SHOP example/');
    assert.deepEqual(await names(), ['web']);
    await until('#shown', '1 shown');
    await page.getByLabel('Filter').fill('nothing like that');
    assert.deepEqual(await names(), []);
    await until('#shown', 'Nothing to show');
    await page.getByLabel('Filter').fill('');
    assert.equal((await names()).length, 9);
  });

  await t.test('keeps the focus and stops when it is paused', async () => {
    await row('web').getByRole('link').focus();
    const before = await row('db').locator('path').getAttribute('d');
    await page.waitForFunction(([path, before]) => path.getAttribute('d') !== before, [await row('db').locator('path').elementHandle(), before]);
    assert.equal(await page.evaluate(() => document.activeElement.title), 'web');
    await page.getByRole('button', { name: 'Pause' }).click();
    await until('#state', 'paused');
    const still = await cells('db');
    await page.waitForTimeout(1000);
    assert.deepEqual(await cells('db'), still);
    await page.getByRole('button', { name: 'Pause' }).click();
  });

  await t.test('shows a container with charts and their values', async () => {
    await row('db').getByRole('link').focus();
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: 'db' });
    await dialog.waitFor();
    assert.match(await text('.facts'), /Pod\s+shop\/db-0/);
    const chart = page.getByRole('img', { name: /^Memory in the last/ });
    assert.match(await chart.locator('title').textContent(), /working set: 50.0 MiB, limit: 100 MiB; highest 100 MiB$/);
    const memory = page.locator('figure').filter({ has: page.getByRole('heading', { name: 'Memory' }) });
    await memory.getByText('Values').click();
    const latest = memory.locator('tbody tr').first().locator('td');
    // A browser says in a task of its own that details have been opened.
    await latest.first().waitFor();
    assert.deepEqual((await latest.allInnerTexts()).slice(1), ['50.0 MiB', '100 MiB']);
    const lines = await memory.locator('.chart path').evaluateAll((paths) => paths.map((path) => path.getAttribute('d')));
    // Half as high as the limit, which is at the top.
    assert.match(lines[0], /^M0\.0 70\.0/);
    assert.match(lines[1], /^M0\.0 1\.0/);
    assert.deepEqual(await faults(), []);
    await page.screenshot({ path: join(target, 'container.png') });
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    assert.equal(await page.evaluate(() => document.activeElement.title), 'db');
    await page.waitForURL(server.url);
  });

  await t.test('can be used by everybody, and on a phone', async () => {
    assert.deepEqual(await faults(), []);
    for (const [name, colorScheme, size] of [
      ['page-dark', 'dark', { width: 1400, height: 900 }],
      ['page-phone', 'light', { width: 360, height: 740 }],
      ['page', 'light', { width: 1400, height: 900 }],
    ]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(size);
      assert(await overflow() <= 0, `${name} is too wide`);
      const small = await page.locator('button, input, summary, tbody a').evaluateAll((all) => all
        .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 48).map((each) => each.outerHTML));
      assert.deepEqual(small, []);
      await page.screenshot({ path: join(target, `${name}.png`) });
    }
  });

  assert.deepEqual(complaints, []);

  await t.test('survives a restart of the server', async () => {
    await server.stop();
    await until('#lost', 'No connection to the server, trying again. The values are those of');
    await until('#state', 'No new values');
    assert.deepEqual(await faults(), []);
    await page.screenshot({ path: join(target, 'page-lost.png') });
    server = await serve(POD, server.port);
    await page.locator('#lost').waitFor({ state: 'hidden' });
    await until('#state', 'Connected');
    const others = complaints.filter((complaint) => !/net::ERR_/.test(complaint));
    assert.deepEqual(others, []);
    complaints = [];
  });

  await t.test('knows no rate of a counter that fell, nor of a container that began again', async () => {
    const rates = await page.evaluate(() => {
      paused = true;
      const found = [];
      const next = (milliseconds, change) => {
        const copy = structuredClone(sample);
        // The times of samples say nothing of the time between readings.
        copy.time += milliseconds > 0 ? 2 * milliseconds : milliseconds;
        const container = copy.containers.find(({ id }) => id === 'db');
        container.read += 1e6 * Math.abs(milliseconds);
        change(container, container.usage.cpu);
        take(copy);
        found.push([...tracks.values()].find((track) => track.container.id === 'db').points.at(-1).cpu);
      };
      next(1000, (_, cpu) => { cpu.total += 250e6; });
      next(2000, (_, cpu) => { cpu.total += 250e6; });
      next(1000, (_, cpu) => { cpu.total -= 1; });
      next(1000, (_, cpu) => { cpu.total += 1e9; });
      next(1000, (container, cpu) => { container.started = 1; cpu.total += 1e9; });
      next(1000, (_, cpu) => { cpu.total += 1e9; });
      next(1000, (_, cpu) => { delete cpu.total; });
      next(1000, (_, cpu) => { cpu.total = 1e12; });
      // The clock was set back.
      next(-3600_000, (_, cpu) => { cpu.total += 1e9; });
      next(1000, (_, cpu) => { cpu.total += 1e9; });
      return found.map((rate) => rate ?? null);
    });
    assert.deepEqual(rates, [25, 12.5, null, 100, null, 100, null, null, null, 100]);
  });
  assert.deepEqual(complaints, []);
});

test('a source that cannot be read', async (t) => {
  const cgroups = join(directory, 'cgroups');
  const away = join(directory, 'away');
  mkdirSync(join(cgroups, 'c'), { recursive: true });
  for (const [file, content] of [['../cgroup.controllers', 'memory\n'], ['memory.current', '4096\n'], ['pids.current', '3\n']]) {
    writeFileSync(join(cgroups, 'c', file), content);
  }
  const server = await serve(`cgroup:${cgroups}`);
  t.after(() => server.stop());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(server.url);
  const memory = page.locator('#containers tbody').getByText('4.0 KiB');
  await memory.waitFor();
  renameSync(cgroups, away);
  await page.getByText(/^The source cannot be read: cannot list cgroup:.* The values are those of /).waitFor();
  await memory.waitFor();
  renameSync(away, cgroups);
  await page.locator('#problem').waitFor({ state: 'hidden' });
});

test('10,000 containers', async (t) => {
  const many = (at) => Array.from({ length: 100 }, (_, pod) => ({
    root_container: `${pod}-0`,
    containers: Array.from({ length: 100 }, (_, number) => ({ id: `${pod}-${number}`, pids_count: number, cpu_usage: at * 1e6 * number })),
  }));
  const server = await serve(scenario('many.jsonl', 3, many));
  t.after(() => server.stop());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(120_000);
  await page.goto(server.url);
  const shown = (range) => page.locator('#shown').filter({ hasText: range }).waitFor();
  await shown('1 to 100 of 10,000 shown');
  assert.equal(await page.locator('#containers tbody tr').count(), 100);
  // Otherwise, samples come faster than a busy machine draws them.
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Next' }).click();
  await shown('101 to 200 of 10,000 shown');
  await page.getByLabel('Filter').fill('77-77');
  await shown(/^1 shown$/);
  assert.equal(await page.locator('nav').isVisible(), false);
});
