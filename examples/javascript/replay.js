#!/usr/bin/env node
/**
 * Prints what the component makes of a scenario: for each instant of it, for each container of that instant, and for
 * one that there is not, the lines of `eventJson` and of `statsJson` in both dialects.
 */

import { open } from 'node:fs/promises';
import { EventoutError, load } from './index.js';
import { readScenario } from './scenario.js';
import { SnapshotHost } from './snapshot.js';

/** The largest scenario file, in bytes: it is held in memory. */
const LIMIT = 256 << 20;

/** @param {string} file */
async function readText(file) {
  const handle = await open(file);
  const chunks = [];
  let length = 0;
  for await (const chunk of handle.createReadStream()) {
    length += chunk.length;
    if (length > LIMIT) throw new Error(`it is larger than ${LIMIT} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
}

/**
 * The line, or else why there is none.
 *
 * @param {() => string} ask
 */
function lineOf(ask) {
  try {
    return ask();
  } catch (e) {
    if (!(e instanceof EventoutError)) throw e;
    return `error ${e.case}: ${e.message}`;
  }
}

/** @param {string} file */
async function replay(file) {
  const scenario = await readText(file).catch((e) => {
    throw new Error(`cannot read scenario ${file}: ${e.message}`);
  });
  const instants = readScenario(file, scenario);
  const host = new SnapshotHost();
  const events = (await load()).events(host);
  for (const instant of instants) {
    host.tell(instant);
    for (const id of [...instant.containers.map((container) => container.id), 'no such "container"']) {
      const lines = [
        lineOf(() => events.eventJson(id)),
        lineOf(() => events.statsJson(id, 'runsc')),
        lineOf(() => events.statsJson(id, 'runc')),
      ];
      process.stdout.write(`${lines.join('\n')}\n`);
    }
  }
}

// A closed pipe is no error.
process.stdout.on('error', (e) => process.exit(/** @type {NodeJS.ErrnoException} */ (e).code === 'EPIPE' ? 0 : 1));

const [file, ...more] = process.argv.slice(2);
if (file === undefined || more.length > 0) {
  console.error('usage: replay.js SCENARIO');
  process.exitCode = 2;
} else {
  try {
    await replay(file);
  } catch (e) {
    console.error(`replay.js: ${e instanceof Error ? e.message : e}`);
    process.exitCode = 1;
  }
}
