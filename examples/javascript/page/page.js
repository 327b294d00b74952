/**
 * The page: reads the scenario on each change, asks the component, and shows what it says. Texts of the scenario get
 * into the page as text alone.
 */

import { EventoutError, load } from '../index.js';
import { readScenario, ScenarioError } from '../scenario.js';
import { SnapshotHost } from '../snapshot.js';

/**
 * @import { StatsEvent } from '../index.js'
 * @import { Instant } from '../scenario.js'
 */

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
const instant = part('instant', HTMLSelectElement);
const format = part('format', HTMLSelectElement);
const shares = part('shares', HTMLElement);
const chosen = part('chosen', HTMLElement);
const refusal = part('refusal', HTMLElement);
const event = part('event', HTMLElement);
const json = part('json', HTMLElement);
const typed = part('typed', HTMLElement);

/**
 * A container's ID in the page: quoted where it could be taken for something else.
 *
 * @param {string} id
 */
function label(id) {
  if (/^[\p{L}\p{M}\p{N}\p{P}\p{S}]+$/u.test(id) && !id.includes('"')) return id;
  const invisible = /(?! )[\p{C}\p{Z}]/gu;
  return JSON.stringify(id).replace(invisible, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
}

/**
 * A figure with three digits and the largest unit that fits.
 *
 * @param {bigint} figure
 * @param {[number, string][]} units from the largest
 */
function inUnits(figure, units) {
  const [size, unit] = units.find(([size]) => Number(figure) >= size) ?? units[units.length - 1];
  const value = Number(figure) / size;
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
 * A typed value as source text, without what is `undefined` or empty.
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
 * A cell with a figure, the part that it is of all, and a bar of that length.
 *
 * @param {'memory' | 'cpu'} kind
 * @param {bigint | undefined} figure in bytes or nanoseconds
 * @param {bigint} all
 */
function cell(kind, figure, all) {
  if (figure === undefined) return element('td', '', element('span', 'part', 'not known'));
  // In hundredths of a per cent.
  const share = all === 0n ? 0 : Number((figure * 10_000n) / all) / 100;
  const text = element('span', '', inUnits(figure, kind === 'memory' ? BYTES : TIMES));
  text.title = `${figure.toLocaleString('en')} ${kind === 'memory' ? 'bytes' : 'ns'}`;
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const bar = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
  bar.setAttribute('width', `${share}%`);
  bar.setAttribute('height', '100%');
  bar.setAttribute('rx', '3');
  // The figures beside it say the same.
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', `bar ${kind}`);
  svg.append(bar);
  return element('td', '', element('div', 'figure', text, element('span', 'part', `${share.toFixed(1)} %`)), svg);
}

/** @param {EventoutError} e */
const refused = (e) => `${e.case}: ${e.message}`;

/**
 * @template T
 * @param {() => T} ask
 * @returns {T | EventoutError}
 */
function answer(ask) {
  try {
    return ask();
  } catch (e) {
    if (e instanceof EventoutError) return e;
    throw e;
  }
}

const host = new SnapshotHost();

/** @type {import('../index.js').Events} */
let events;

/** @type {Instant[]} */
let instants = [];

/** The ID of the container whose event is shown. */
let container = '';

function showEvent() {
  const answers = answer(() =>
    format.value === 'event-out'
      ? { line: events.eventJson(container), value: events.event(container) }
      : {
          line: events.statsJson(container, format.value === 'runc' ? 'runc' : 'runsc'),
          value: events.stats(container),
        },
  );
  const failed = answers instanceof EventoutError;
  chosen.textContent = label(container);
  refusal.hidden = !failed;
  event.hidden = failed;
  refusal.textContent = failed ? refused(answers) : '';
  json.textContent = failed ? '' : answers.line;
  typed.textContent = failed ? '' : (show(answers.value) ?? '');
}

/** Shows the chosen instant. */
function showInstant() {
  const now = instants[instant.selectedIndex];
  host.tell(now);
  const ids = now.containers.map(({ id }) => id);
  if (!ids.includes(container)) container = ids.find((id) => id !== now.root) ?? now.root;
  const rows = ids.map((id) => ({ id, stats: answer(() => events.stats(id)) }));
  const sum = (/** @type {(event: StatsEvent) => bigint | undefined} */ figure) =>
    rows.reduce((all, { stats }) => all + (stats instanceof EventoutError ? 0n : (figure(stats) ?? 0n)), 0n);
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
    why.className = 'refused';
    why.colSpan = 2;
    why.textContent = refused(stats);
    return element('tr', '', head, why);
  });
  shares.replaceChildren(...made);
  showEvent();
}

/** Reads the scenario anew. */
function showScenario() {
  instants = readScenario('scenario', scenario.value);
  const before = Math.max(instant.selectedIndex, 0);
  const options = instants.map((_, at) => new Option(`${at + 1} of ${instants.length}`));
  instant.replaceChildren(...options);
  instant.selectedIndex = Math.min(before, instants.length - 1);
  showInstant();
}

/**
 * Shows something, or else what is wrong.
 *
 * @param {() => void} show
 */
function guard(show) {
  /** @type {unknown} */
  let wrong;
  try {
    show();
    results.hidden = false;
  } catch (e) {
    wrong = e;
  }
  const place = wrong instanceof ScenarioError ? wrong.place : undefined;
  const text = wrong instanceof ScenarioError ? wrong.why : wrong instanceof Error ? wrong.message : String(wrong);
  problem.hidden = wrong === undefined;
  why.textContent = place ? `Line ${place.line}, column ${place.column}: ${text}` : wrong === undefined ? '' : text;
  where.hidden = place === undefined;
  where.onclick = () => {
    const at = place?.at ?? 0;
    scenario.focus();
    scenario.setSelectionRange(at, at + 1);
  };
  scenario.setAttribute('aria-invalid', String(wrong instanceof ScenarioError));
  results.classList.toggle('stale', wrong !== undefined);
  stale.hidden = wrong === undefined;
}

try {
  events = (await load()).events(host);
  scenario.addEventListener('input', () => guard(showScenario));
  instant.addEventListener('change', () => guard(showInstant));
  format.addEventListener('change', () => guard(showEvent));
  guard(showScenario);
} catch (e) {
  guard(() => {
    throw e;
  });
}
