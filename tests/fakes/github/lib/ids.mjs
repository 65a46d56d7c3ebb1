/*
 * Identifiers as GitHub makes them: job and run ids beyond 32 bits, small runner ids, GUIDs, request ids.
 * Large ids start from the clock, so that a fake started again on the same day repeats none of them.
 */
import crypto from 'node:crypto';

const START = Math.floor((Date.now() - 1.7e12) / 10);

export class Sequence {
  constructor(start, step = 1) {
    this.last = start;
    this.step = step;
  }

  next() {
    this.last += this.step;
    return this.last;
  }
}

export const jobIds = () => new Sequence(100_000_000_000 + START, 7);
export const runIds = () => new Sequence(33_000_000_000 + START, 3);
export const deliveryIds = () => new Sequence(200_000_000_000_000 + START * 100, 11);
export const runnerIds = () => new Sequence((START % 1_000_000) + 20);

export const guid = () => crypto.randomUUID();
export const hex = (bytes) => crypto.randomBytes(bytes).toString('hex');

let serial = 0;

/** Five colon-separated groups of hexadecimal digits, as in x-github-request-id. */
export function requestId() {
  serial += 1;
  const upper = (number, width) => (number >>> 0).toString(16).toUpperCase().padStart(width, '0');
  return [
    upper(process.pid & 0xffff, 4), upper(serial, 6), upper(serial * 2654435761, 7),
    upper(serial * 40503, 7), upper(Math.floor(Date.now() / 1000), 8),
  ].join(':');
}

/** Node ids are opaque text; only that they differ matters. */
export const nodeId = (prefix, number) => `${prefix}_kwDO${Buffer.from(String(number)).toString('base64url')}`;

/** A stable 32-bit number for a name, used for ids of owners and repositories. */
export function stableId(name) {
  return (crypto.createHash('sha256').update(name).digest().readUInt32BE(0) % 900_000_000) + 1_000_000;
}

export const isoTime = (ms) => new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
