/* Runs every test file next to this one; `node --test FILES` is the form that all versions of Node understand. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const files = fs.readdirSync(here).filter((name) => name.endsWith('.test.mjs')).map((name) => here + name);
const { status } = spawnSync(process.execPath, ['--test', ...files], { stdio: 'inherit' });
process.exit(status ?? 1);
