#!/usr/bin/env node
/**
 * Prints what the component computes for a scenario: for each container of each sample, and for one that does not
 * exist, `eventJson`, and `statsJson` in both formats.
 */

import { readFileSync } from 'node:fs';
import { EventoutError, load } from './index.js';
import { readScenario, SampleHost } from './scenario.js';

/** @param {string} file */
async function replay(file) {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(file));
  const samples = readScenario(text);
  const host = new SampleHost();
  const events = await load(host);

  /** @param {() => string} call */
  function print(call) {
    let line;
    try {
      line = call();
    } catch (e) {
      if (!(e instanceof EventoutError)) throw e;
      line = `error ${e.code}: ${e.message}`;
    }
    process.stdout.write(`${line}\n`);
  }

  for (const sample of samples) {
    host.sample = sample;
    const ids = sample.flatMap(({ containers }) => containers.map(({ id }) => id));
    for (const id of [...ids, 'no such "container"']) {
      print(() => events.eventJson(id));
      print(() => events.statsJson(id, 'gvisor'));
      print(() => events.statsJson(id, 'runc'));
    }
  }
}

// A closed pipe is no error.
process.stdout.on('error', (e) => process.exit(/** @type {NodeJS.ErrnoException} */ (e).code === 'EPIPE' ? 0 : 1));

const [file, ...rest] = process.argv.slice(2);
if (file === undefined || rest.length > 0) {
  console.error('usage: replay.js SCENARIO');
  process.exitCode = 2;
} else {
  try {
    await replay(file);
  } catch (e) {
    console.error(`replay.js: ${file}: ${e instanceof Error ? e.message : e}`);
    process.exitCode = 1;
  }
}
