/**
 * Builds the package, and what is around it, in target/examples/javascript: installs the tools that
 * package-lock.json lists there, translates the component to JavaScript by jco, and makes and checks the types.
 */

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const source = fileURLToPath(new URL('.', import.meta.url));
const root = join(source, '../..');
const target = join(root, 'target/examples/javascript');

/**
 * Runs a command, which says itself what is wrong.
 *
 * @param {string} command
 * @param {string[]} args
 */
function run(command, ...args) {
  const { error, status } = spawnSync(command, args, { cwd: target, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(1);
}

/** @param {string} folder */
function locked(folder) {
  const file = join(folder, 'package-lock.json');
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

// Everything is made anew but for the tools, where the right ones are there.
const installed = existsSync(join(target, 'node_modules')) && locked(target) === locked(source);
mkdirSync(target, { recursive: true });
for (const name of readdirSync(target)) {
  if (!installed || name !== 'node_modules') rmSync(join(target, name), { recursive: true });
}
cpSync(source, target, { recursive: true, filter: (file) => file !== fileURLToPath(import.meta.url) });
cpSync(join(root, 'LICENSE'), join(target, 'LICENSE'));
if (!installed) run('npm', 'ci');

// The tools are not where this file is.
const { resolve } = createRequire(join(target, 'package.json'));
const { transpile } = await import(pathToFileURL(resolve('@bytecodealliance/jco-transpile')).href);
const jco = await import(pathToFileURL(resolve('@bytecodealliance/jco-transpile/component')).href);

const { files } = await transpile(join(root, 'guest/eventout.wasm'), {
  name: 'eventout',
  // Each set of imports has an instance of its own, made without waiting.
  instantiation: 'sync',
  emitTypescriptDeclarations: false,
  nodejsCompat: false,
});

// What has to be otherwise in jco's module.
const edits = [
  // Its decoder drops a byte order mark at the beginning of a text, so a container whose ID begins with one would not
  // be found.
  [/new TextDecoder\(\)/g, "new TextDecoder('utf-8', { ignoreBOM: true })"],
  // It looks for a variable of the environment some hundred times a call: half of a call's time in Node.
  [/globalThis\?\.process\?\.env\?\.JCO_DEBUG/g, 'false'],
  // It prepares for promises, which nothing here waits for. Where there is no such function, as in Node 20, each error
  // takes 5 ms, since V8 parses the whole module again to word it.
  [/WebAssembly\.promising\(/g, '('],
];
let module = Buffer.from(files['eventout.js']).toString();
for (const [from, to] of edits) {
  const edited = module.replace(from, to);
  if (edited === module) throw new Error(`jco's module has nothing like ${from} any more`);
  module = edited;
}
files['eventout.js'] = module;

// Where the core modules are, in a form that bundlers understand.
const core = Object.keys(files).filter((name) => name.endsWith('.wasm'));
const urls = core.map((name) => `  '${name}': new URL('./${name}', import.meta.url),\n`);
files['modules.js'] = `export const modules = {\n${urls.join('')}};\n`;

// The types are made from the contract and not from the component, which has no docs in it.
const folder = join(root, 'wit');
const wit = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
const [name] = /^package .*;$/m.exec(wit[0]);
await jco.$init;
const types = jco.generateTypes('eventout', {
  wit: { tag: 'source', val: [name, ...wit.map((text) => text.replace(name, ''))].join('\n') },
  world: 'eventout',
  instantiation: { tag: 'sync' },
  asyncMode: { tag: 'sync' },
  features: { tag: 'all' },
  tlaCompat: false,
  guest: false,
  flagsAsBigint: false,
  variantsInlineCases: false,
  useNamespaceObjects: false,
  enumValuesScreamingSnakeCase: false,
});

for (const [file, content] of [...Object.entries(files), ...types]) {
  const path = join(target, 'component', file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

run('npx', 'tsc');
run('npx', 'tsc', '--project', 'tsconfig.package.json');
