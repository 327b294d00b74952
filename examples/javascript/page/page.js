/**
 * The page: reads the scenario on each change, calls the component, and shows the results. Strings of the scenario are
 * inserted as text, never as HTML.
 *
 * @import { StatsEvent } from '../index.js'
 */

import { EventoutError, load } from '../index.js';
import { readScenario, SampleHost, ScenarioError } from '../scenario.js';

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 */
function part(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${id}`);
  return element;
}

const scenario = part('scenario', HTMLTextAreaElement);
const problem = part('problem', HTMLElement);
const why = part('why', HTMLElement);
const where = part('where', HTMLButtonElement);
const results = part('results', HTMLElement);
const stale = part('stale', HTMLElement);
const sample = part('sample', HTMLSelectElement);
const format = part('format', HTMLSelectElement);
const shares = part('shares', HTMLElement);
const chosen = part('chosen', HTMLElement);
const failure = part('failure', HTMLElement);
const event = part('event', HTMLElement);
const json = part('json', HTMLElement);
const typed = part('typed', HTMLElement);

/**
 * Returns a container's ID, quoted if it could be mistaken for another.
 *
 * @param {string} id
 */
function label(id) {
  if (/^[\p{L}\p{M}\p{N}\p{P}\p{S}]+$/u.test(id) && !id.includes('"')) return id;
  const invisible = /(?! )[\p{C}\p{Z}]/gu;
  return JSON.stringify(id).replace(invisible, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
}

/**
 * Formats a number with three digits and the largest unit that fits.
 *
 * @param {bigint} number
 * @param {[number, string][]} units from the largest
 */
function inUnits(number, units) {
  const [size, unit] = units.find(([size]) => Number(number) >= size) ?? units[units.length - 1];
  const value = Number(number) / size;
  const digits = size === 1 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
}

/** @type {[number, string][]} */
const BYTES = [
  [2 ** 60, 'EiB'],
  [2 ** 50, 'PiB'],
  [2 ** 40, 'TiB'],
  [2 ** 30, 'GiB'],
  [2 ** 20, 'MiB'],
  [2 ** 10, 'KiB'],
  [1, 'B'],
];

/** @type {[number, string][]} */
const TIMES = [
  [1e9, 's'],
  [1e6, 'ms'],
  [1e3, 'µs'],
  [1, 'ns'],
];

/**
 * Formats a value as source code, without fields that are `undefined` or empty.
 *
 * @param {any} value
 * @param {string} [indent]
 * @returns {string | undefined}
 */
function show(value, indent = '') {
  if (value === undefined) return undefined;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object') return JSON.stringify(value);
  const deeper = `${indent}  `;
  const list = Array.isArray(value) || ArrayBuffer.isView(value);
  const items = Object.entries(value).flatMap(([name, item]) => {
    const shown = show(item, deeper);
    return shown === undefined ? [] : list ? shown : `${name}: ${shown}`;
  });
  if (items.length === 0) return undefined;
  const line = items.join(', ');
  if (line.length < 60 && !line.includes('\n')) return list ? `[${line}]` : `{ ${line} }`;
  const [open, close] = list ? '[]' : '{}';
  return `${open}\n${items.map((item) => `${deeper}${item},\n`).join('')}${indent}${close}`;
}

/**
 * @param {string} name
 * @param {string} className
 * @param {(string | Node)[]} content
 */
function element(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

/**
 * Makes a cell with a value, its share of the total, and a bar of that length.
 *
 * @param {'memory' | 'cpu'} kind
 * @param {bigint | undefined} value in bytes or nanoseconds
 * @param {bigint} total
 */
function cell(kind, value, total) {
  if (value === undefined) return element('td', '', element('span', 'part', 'not known'));
  const share = total === 0n ? 0 : Number((value * 10_000n) / total) / 100;
  const text = element('span', '', inUnits(value, kind === 'memory' ? BYTES : TIMES));
  text.title = `${value.toLocaleString('en')} ${kind === 'memory' ? 'bytes' : 'ns'}`;
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
  bar.setAttribute('width', `${share}%`);
  bar.setAttribute('height', '100%');
  bar.setAttribute('rx', '3');
  // A screen reader reads the numbers beside it.
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', `bar ${kind}`);
  svg.append(bar);
  return element('td', '', element('div', 'value', text, element('span', 'part', `${share.toFixed(1)} %`)), svg);
}

/** @param {EventoutError} e */
const message = (e) => `${e.code}: ${e.message}`;

/**
 * Returns the result of a call, or the error of the contract.
 *
 * @template T
 * @param {() => T} call
 * @returns {T | EventoutError}
 */
function attempt(call) {
  try {
    return call();
  } catch (e) {
    if (e instanceof EventoutError) return e;
    throw e;
  }
}

const host = new SampleHost();

/** @type {import('../index.js').Events} */
let events;

/** @type {ReturnType<typeof readScenario>} */
let samples = [];

/** The ID of the container whose event is shown. */
let container = '';

function showEvent() {
  const result = attempt(() =>
    format.value === 'event-out'
      ? { line: events.eventJson(container), value: events.event(container) }
      : {
          line: events.statsJson(container, format.value === 'runc' ? 'runc' : 'gvisor'),
          value: events.stats(container),
        },
  );
  const failed = result instanceof EventoutError;
  chosen.textContent = label(container);
  failure.hidden = !failed;
  event.hidden = failed;
  failure.textContent = failed ? message(result) : '';
  json.textContent = failed ? '' : result.line;
  typed.textContent = failed ? '' : (show(result.value) ?? '');
}

/** Shows the chosen sample. */
function showSample() {
  host.sample = samples[sample.selectedIndex];
  const ids = host.sample.flatMap(({ containers }) => containers.map(({ id }) => id));
  const roots = host.sample.map(({ rootContainer }) => rootContainer);
  if (!ids.includes(container)) container = ids.find((id) => !roots.includes(id)) ?? roots[0] ?? '';
  const rows = ids.map((id) => ({ id, stats: attempt(() => events.stats(id)) }));
  const sum = (/** @type {(event: StatsEvent) => bigint | undefined} */ value) =>
    rows.reduce((all, { stats }) => all + (stats instanceof EventoutError ? 0n : (value(stats) ?? 0n)), 0n);
  const memory = (/** @type {StatsEvent} */ event) => event.data.memory.usage.usage;
  const cpu = (/** @type {StatsEvent} */ event) => event.data.cpu.usage.total;
  const [allMemory, allCpu] = [sum(memory), sum(cpu)];
  const made = rows.map(({ id, stats }) => {
    const choice = document.createElement('input');
    choice.type = 'radio';
    choice.name = 'container';
    choice.checked = id === container;
    choice.addEventListener('change', () => {
      container = id;
      guard(showEvent);
    });
    const head = element('th', '', element('label', '', choice, element('bdi', '', label(id))));
    head.setAttribute('scope', 'row');
    if (!(stats instanceof EventoutError)) {
      return element('tr', '', head, cell('memory', memory(stats), allMemory), cell('cpu', cpu(stats), allCpu));
    }
    const why = document.createElement('td');
    why.className = 'failed';
    why.colSpan = 2;
    why.textContent = message(stats);
    return element('tr', '', head, why);
  });
  shares.replaceChildren(...made);
  showEvent();
}

/** Reads the scenario, and shows the sample with the number that is chosen. */
function showScenario() {
  samples = readScenario(scenario.value);
  const before = Math.max(sample.selectedIndex, 0);
  const options = samples.map((_, at) => new Option(`${at + 1} of ${samples.length}`));
  sample.replaceChildren(...options);
  sample.selectedIndex = Math.min(before, samples.length - 1);
  showSample();
}

/**
 * Shows something, or the error.
 *
 * @param {() => void} show
 */
function guard(show) {
  /** @type {any} */
  let error;
  try {
    show();
    results.hidden = false;
  } catch (e) {
    error = e;
  }
  const line = error instanceof ScenarioError ? error.line : undefined;
  why.textContent = error === undefined ? '' : (error.message ?? String(error));
  problem.hidden = error === undefined;
  where.hidden = line === undefined;
  where.onclick = () => {
    const before = scenario.value.split('\n').slice(0, line);
    const end = before.join('\n').length;
    scenario.focus();
    scenario.setSelectionRange(end - (before.at(-1)?.length ?? 0), end);
  };
  scenario.setAttribute('aria-invalid', String(line !== undefined));
  results.classList.toggle('stale', error !== undefined);
  stale.hidden = error === undefined;
}

try {
  events = await load(host);
  scenario.addEventListener('input', () => guard(showScenario));
  sample.addEventListener('change', () => guard(showSample));
  format.addEventListener('change', () => guard(showEvent));
  guard(showScenario);
} catch (e) {
  guard(() => {
    throw e;
  });
}
