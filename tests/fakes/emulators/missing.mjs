#!/usr/bin/env node
// usage: missing.mjs [--emulator NAME]      With the name of an emulator that is not installed: a sentence and exit code 77.
import { EMULATORS, missing } from './emulators.mjs';

const name = process.argv[process.argv.indexOf('--emulator', 2) + 1];
const reason = process.argv.includes('--emulator') && EMULATORS[name] ? missing(name) : null;
if (reason) {
  console.error(reason);
  process.exit(77);
}
