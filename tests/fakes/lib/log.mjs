/*
 * The log of all that happened: JSON lines, written before the answer that tells of them goes out, so that
 * a test which has seen an answer also finds its line. Events are listed in README.md. Never a credential.
 */
import fs from 'node:fs';

export class Log {
  constructor(file) {
    this.fd = file ? fs.openSync(file, 'a') : null;
    this.listeners = new Set();
  }

  write(event, fields = {}) {
    const entry = { ts_ms: Date.now(), event, ...fields };
    if (this.fd !== null) fs.writeSync(this.fd, JSON.stringify(entry) + '\n');
    for (const listener of this.listeners) listener(entry);
  }

  close() {
    if (this.fd !== null) fs.closeSync(this.fd);
    this.fd = null;
  }
}
