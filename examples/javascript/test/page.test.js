/** The page, in a headless Chromium. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const directory = new URL('../', import.meta.url);

/** A static file server. */
function serve() {
  const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/octet-stream' };
  const server = createServer(({ url }, response) => {
    const file = new URL(`.${new URL(url, 'http://localhost').pathname}`, directory);
    const type = types[extname(file.pathname)];
    if (!type || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': type }).end(readFileSync(file));
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

const POD = (containers) => `{"root_container":"pause","memory_usage":1048576,"containers":${JSON.stringify(containers)}}`;

test('the page', async (t) => {
  if (!existsSync(CHROMIUM)) {
    const why = `NOT RUN: there is no ${CHROMIUM}`;
    console.log(why);
    assert.notEqual(process.env.CI, 'true', why);
    return t.skip(why);
  }
  const server = await serve();
  t.after(() => server.close());
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  t.after(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  const complaints = [];
  page.on('pageerror', (e) => complaints.push(String(e)));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('request', (request) => {
    if (!request.url().startsWith(`http://127.0.0.1:${server.address().port}/`) && !request.url().startsWith('data:')) {
      complaints.push(request.url());
    }
  });
  await page.goto(`http://127.0.0.1:${server.address().port}/page/index.html`);
  const text = (selector) => page.locator(selector).innerText();
  const scenario = page.getByLabel('Scenario');
  const problem = page.locator('#problem');
  /** The rows of the table: the ID, and values or an error; and the widths of the bars. */
  const rows = () => page.locator('tbody tr').evaluateAll((all) => all.map((row) => row.innerText.split(/\s*\n\s*|\t/).filter(Boolean)));
  const bars = () => page.locator('tbody rect').evaluateAll((all) => all.map((bar) => {
    const { width } = bar.getBoundingClientRect();
    return [bar.getAttribute('width'), Math.round((1000 * width) / bar.parentElement.getBoundingClientRect().width) / 10];
  }));

  await t.test('shows the events of the scenario that is there at first', async () => {
    await page.locator('#results').waitFor();
    assert.deepEqual(await rows(), [
      ['pause', '0 B', '0.0 %', '2.02 µs', '0.0 %'],
      ['web', '58.9 MiB', '50.0 %', '250 ms', '5.0 %'],
      ['db', '58.9 MiB', '50.0 %', '4.75 s', '95.0 %'],
    ]);
    assert.equal(await text('#chosen'), 'web');
    assert.equal(await text('#json'), '{"type":"stats","id":"web","data":{"cpu":{"usage":{"total":249999907}},"memory":{"usage":{"limit":0,"usage":61728394,"failcnt":0},"swap":{"limit":0,"failcnt":0},"kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"pids":{"current":3}}}');
    assert.match(await text('#typed'), /total: 249999907n/);
    for (const [name, scheme, size] of [
      ['page', 'light', { width: 1280, height: 900 }],
      ['page-dark', 'dark', { width: 1280, height: 900 }],
      ['page-narrow', 'light', { width: 360, height: 800 }],
    ]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize(size);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert(overflow <= 0, `${name} is ${overflow} pixels too wide`);
      await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, directory)), fullPage: true });
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  await t.test('follows the choice of a container, a sample and a format', async () => {
    await page.getByLabel('db').check();
    assert.equal(await text('#chosen'), 'db');
    await page.getByLabel('Event as in').selectOption("gVisor's EventOut");
    assert.match(await text('#json'), /^\{"event":\{"type":"stats","id":"db",/);
    assert.match(await text('#typed'), /containerUsage: \[\["db", 2345678901n\], /);
    await page.getByLabel('Event as in').selectOption('runc events');
    assert.match(await text('#json'), /"network_interfaces":null/);
    await page.getByLabel('Sample').selectOption('2 of 2');
    assert.equal(await text('#chosen'), 'db');
    assert.deepEqual((await rows()).at(-1), ['backup', 'unavailable: it is frozen']);
    await page.getByLabel('backup').check();
    assert.equal(await text('#failure'), 'unavailable: it is frozen');
    assert(!(await page.locator('#event').isVisible()));
  });

  await t.test('follows the scenario, exactly', async () => {
    await scenario.fill(POD([
      { id: 'pause', pids_count: 0 },
      { id: 'a', pids_count: 1, cpu_usage: 1 },
      { id: 'b', pids_count: 2, cpu_usage: 3 },
    ]).replace('"pids_count":2', '"pids_count":9007199254740993'));
    assert(!(await problem.isVisible()));
    assert.deepEqual(await rows(), [
      ['pause', '0 B', '0.0 %', '0 ns', '0.0 %'],
      ['a', '512 KiB', '50.0 %', '1 ns', '25.0 %'],
      ['b', '512 KiB', '50.0 %', '3 ns', '75.0 %'],
    ]);
    assert.deepEqual(await bars(), [['0%', 0], ['0%', 0], ['50%', 50], ['25%', 25], ['50%', 50], ['75%', 75]]);
    await page.getByLabel('b', { exact: true }).check();
    assert.match(await text('#json'), /"pids":\{"current":9007199254740993\}/);
    assert.match(await text('#typed'), /current: 9007199254740993n/);
  });

  await t.test('shows an error in a scenario, and its line', async () => {
    const valid = POD([{ id: 'pause', pids_count: 1 }]);
    const invalid = valid.replace('"pids_count"', '"pid"');
    await scenario.fill(`${valid}\n${invalid}\n${valid}`);
    assert.equal(await text('#why'), 'line 2: sandbox.containers[0] has no field "pid"');
    assert.equal(await scenario.getAttribute('aria-invalid'), 'true');
    assert(await page.locator('#stale').isVisible());
    await page.getByRole('button', { name: 'Show the line' }).click();
    const selected = await scenario.evaluate((area) => [area === document.activeElement, area.value.slice(area.selectionStart, area.selectionEnd)]);
    assert.deepEqual(selected, [true, invalid]);
    await page.screenshot({ path: fileURLToPath(new URL('page-error.png', directory)), fullPage: true });
    await scenario.fill(`${`${valid}\n`.repeat(200)}?`);
    assert.equal(await text('#why'), "line 201: JSON value expected but got '?' at position 0");
    await scenario.evaluate((area) => area.scrollTo(0, 0));
    await page.getByRole('button', { name: 'Show the line' }).click();
    assert(await scenario.evaluate((area) => area.scrollTop + area.clientHeight > area.scrollHeight - 50), 'it is out of view');
    await scenario.fill('');
    assert.equal(await text('#why'), 'line 1: the scenario has no sample');
    await scenario.fill(valid);
    assert(!(await problem.isVisible()));
    assert(!(await page.locator('#stale').isVisible()));
    assert.equal(await scenario.getAttribute('aria-invalid'), 'false');
    await scenario.fill('{"root_container":"gone","containers":[]}');
    assert.equal(await text('#failure'), 'container-not-found: container "gone" not found');
  });

  await t.test('shows hostile strings as text', async () => {
    const ids = ['<img src=x onerror="window.hacked=1">', '</pre><script>window.hacked=1</script>', '', '\u202egnp', 'a\nb', 'x'.repeat(4000)];
    await scenario.fill(POD([{ id: 'pause', pids_count: 1, error: ids[0] }, ...ids.map((id) => ({ id, pids_count: 1, cpu_usage: 1 }))]));
    assert(!(await problem.isVisible()));
    const labels = (await rows()).map(([label]) => label);
    assert.deepEqual(labels.slice(1), [JSON.stringify(ids[0]), '</pre><script>window.hacked=1</script>', '""', '"\\u{202e}gnp"', '"a\\nb"', ids[5]]);
    for (const [at] of ids.entries()) {
      await page.locator('tbody input').nth(at + 1).check();
      assert.equal(JSON.parse(await text('#json')).id, ids[at]);
    }
    await page.locator('tbody input').first().check();
    assert.equal(await text('#failure'), `unavailable: ${ids[0]}`);
    assert.equal(await page.locator('img, body script').count(), 0);
    assert.equal(await page.evaluate(() => 'hacked' in window), false);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert(overflow <= 0, `it is ${overflow} pixels too wide`);
  });

  assert.deepEqual(complaints, []);
});
