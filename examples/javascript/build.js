/**
 * Builds the package, and the programs and tests around it, in target/examples/javascript: installs the tools of
 * package-lock.json there, translates the component to JavaScript with jco, and generates and checks the types.
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
 * @param {string} command
 * @param {string[]} args
 */
function run(command, ...args) {
  const { error, status } = spawnSync(command, args, { cwd: target, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) process.exit(1);
}

// Only the tools are kept from the last build, if their versions are still the same.
const lock = (/** @type {string} */ directory) => readFileSync(join(directory, 'package-lock.json'), 'utf8');
const installed = existsSync(join(target, 'node_modules/.package-lock.json')) && lock(target) === lock(source);
mkdirSync(target, { recursive: true });
for (const name of readdirSync(target)) {
  if (!installed || name !== 'node_modules') rmSync(join(target, name), { recursive: true });
}
cpSync(source, target, { recursive: true, filter: (file) => file !== fileURLToPath(import.meta.url) });
cpSync(join(root, 'LICENSE'), join(target, 'LICENSE'));
if (!installed) run('npm', 'ci');

const { resolve } = createRequire(join(target, 'package.json'));
const tool = (/** @type {string} */ name) => import(pathToFileURL(resolve(name)).href);
const { generateHostTypes, transpile } = await tool('@bytecodealliance/jco-transpile');

const { files } = await transpile(join(root, 'guest/eventout.wasm'), {
  name: 'eventout',
  instantiation: 'sync',
  emitTypescriptDeclarations: false,
  nodejsCompat: false,
});

// The component has no documentation, so the types are generated from the WIT. jco reads it through WASI.
(await tool('@bytecodealliance/preview2-shim/filesystem'))._addPreopen('/', '/');
Object.assign(files, await generateHostTypes(join(root, 'wit'), {
  name: 'eventout',
  worldName: 'eventout',
  instantiation: 'sync',
  asyncMode: 'sync',
}));

// Edits of jco's output.
let module = Buffer.from(files['eventout.js']).toString();
for (const [from, to] of [
  // The decoder drops a byte order mark at the beginning of a string.
  ['new TextDecoder()', "new TextDecoder('utf-8', { ignoreBOM: true })"],
  // The variable is read some hundred times in each call, which takes three quarters of its time in Node.
  ['globalThis?.process?.env?.JCO_DEBUG', 'false'],
]) {
  if (!module.includes(from)) throw new Error(`jco's output has no ${from}`);
  module = module.replaceAll(from, to);
}
files['eventout.js'] = module;

// The URLs of the core modules, in a form that bundlers understand.
const core = Object.keys(files).filter((name) => name.endsWith('.wasm'));
const urls = core.map((name) => `  '${name}': new URL('./${name}', import.meta.url),\n`);
files['modules.js'] = `export const modules = {\n${urls.join('')}};\n`;

for (const [file, content] of Object.entries(files)) {
  const path = join(target, 'component', file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

run('npx', 'tsc');
run('npx', 'tsc', '--project', 'tsconfig.package.json');
