/*
 * Runs the tests: node lib/run_tests.mjs [FOLDER …], all stand-ins' without a word. `node --test FILES` is the form
 * that all versions of Node understand.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const has = (folder) => fs.existsSync(path.join(root, folder, 'test'));
const wanted = process.argv.slice(2);
const folders = wanted.length > 0 ? wanted : fs.readdirSync(root).filter(has);
const files = folders.flatMap((folder) => fs.readdirSync(path.join(root, folder, 'test'))
  .filter((name) => name.endsWith('.test.mjs')).map((name) => path.join(root, folder, 'test', name)));
/* Most of a test is waiting: more files at once than there are processors, where Node can be told so. */
const [major, minor] = process.versions.node.split('.').map(Number);
const together = major > 20 || (major === 20 && minor >= 10) ? ['--test-concurrency=3'] : [];
const { status } = spawnSync(process.execPath, ['--test', ...together, ...files], { stdio: 'inherit' });
process.exit(status ?? 1);
