/** The page, in a headless Chromium. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const folder = new URL('../', import.meta.url);

/** A static file server, as simple as they come. */
function serve() {
  const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/octet-stream' };
  const server = createServer(({ url }, response) => {
    const file = new URL(`.${new URL(url, 'http://localhost').pathname}`, folder);
    const type = types[extname(file.pathname)];
    if (!type || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': type }).end(readFileSync(file));
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

const POD = (containers, more = '') => `{"root":"pause","memory_bytes":1048576${more},"containers":${JSON.stringify(containers)}}`;

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
  /** The rows of the chart: the ID, and figures or an error; and the widths of the bars. */
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
      await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, folder)), fullPage: true });
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  await t.test('follows the choice of a container, an instant and a format', async () => {
    await page.getByLabel('db').check();
    assert.equal(await text('#chosen'), 'db');
    await page.getByLabel('Event as in').selectOption("gVisor's EventOut");
    assert.match(await text('#json'), /^\{"event":\{"type":"stats","id":"db",/);
    assert.match(await text('#typed'), /containerUsage: \[\["db", 2345678901n\], /);
    await page.getByLabel('Event as in').selectOption('runc events');
    assert.match(await text('#json'), /"network_interfaces":null/);
    await page.getByLabel('Instant').selectOption('2 of 2');
    assert.equal(await text('#chosen'), 'db');
    assert.deepEqual((await rows()).at(-1), ['backup', 'unavailable: it is frozen']);
    await page.getByLabel('backup').check();
    assert.equal(await text('#refusal'), 'unavailable: it is frozen');
    assert(!(await page.locator('#event').isVisible()));
  });

  await t.test('follows the scenario, exactly', async () => {
    await scenario.fill(POD([
      { id: 'pause', pids: 0 },
      { id: 'a', pids: 1, cpu_ns: 1 },
      { id: 'b', pids: 2, cpu_ns: 3 },
    ]).replace('"pids":2', '"pids":9007199254740993'));
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

  await t.test('says what is wrong with a scenario, and where', async () => {
    const valid = POD([{ id: 'pause', pids: 1 }]);
    await scenario.fill(`${valid}\n${valid.replace('"pids"', '"pid"')}`);
    const column = valid.indexOf('"pids"') + 1;
    assert.equal(await text('#why'), `Line 2, column ${column}: an item of containers has no key "pid"`);
    assert.equal(await scenario.getAttribute('aria-invalid'), 'true');
    assert(await page.locator('#stale').isVisible());
    await page.getByRole('button', { name: 'Show where' }).click();
    const selected = await scenario.evaluate((area) => [area === document.activeElement, area.value.slice(area.selectionStart).slice(0, 5)]);
    assert.deepEqual(selected, [true, '"pid"']);
    await page.screenshot({ path: fileURLToPath(new URL('page-error.png', folder)), fullPage: true });
    // However far down that is.
    await scenario.fill(`${`${valid}\n`.repeat(200)}?`);
    assert.equal(await text('#why'), 'Line 201, column 1: expected a value, found "?"');
    await scenario.evaluate((area) => area.scrollTo(0, 0));
    await page.getByRole('button', { name: 'Show where' }).click();
    assert(await scenario.evaluate((area) => area.scrollTop + area.clientHeight > area.scrollHeight - 50), 'it is out of view');
    await scenario.fill('');
    assert.equal(await text('#why'), 'there is no instant in it');
    await scenario.fill(valid);
    assert(!(await problem.isVisible()));
    assert(!(await page.locator('#stale').isVisible()));
    assert.equal(await scenario.getAttribute('aria-invalid'), 'false');
    // It is not the scenario's fault, but an answer all the same.
    await scenario.fill('{"root":"gone","memory_bytes":1,"containers":[]}');
    assert.equal(await text('#refusal'), 'container-not-found: container "gone" not found');
  });

  await t.test('takes hostile texts as texts', async () => {
    const ids = ['<img src=x onerror="window.hacked=1">', '</pre><script>window.hacked=1</script>', '', '\u202egnp', 'a\nb', 'x'.repeat(4000)];
    await scenario.fill(POD([{ id: 'pause', pids: 1, error: ids[0] }, ...ids.map((id) => ({ id, pids: 1, cpu_ns: 1 }))]));
    assert(!(await problem.isVisible()));
    const labels = (await rows()).map(([label]) => label);
    assert.deepEqual(labels.slice(1), [JSON.stringify(ids[0]), '</pre><script>window.hacked=1</script>', '""', '"\\u{202e}gnp"', '"a\\nb"', ids[5]]);
    for (const [at] of ids.entries()) {
      await page.locator('tbody input').nth(at + 1).check();
      assert.equal(JSON.parse(await text('#json')).id, ids[at]);
    }
    await page.locator('tbody input').first().check();
    assert.equal(await text('#refusal'), `unavailable: ${ids[0]}`);
    assert.equal(await page.locator('img, body script').count(), 0);
    assert.equal(await page.evaluate(() => 'hacked' in window), false);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert(overflow <= 0, `it is ${overflow} pixels too wide`);
  });

  assert.deepEqual(complaints, []);
});
