/*
 * Questions to a broker in Kafka's own protocol: a Java tool takes a second for each. A broker that does not respond
 * is an error.
 */
import net from 'node:net';

const GIVE_UP_MS = 2000;
const METADATA = { key: 3, version: 4 };
const DESCRIBE_QUORUM = { key: 55, version: 0, flexible: true };
const QUORUM_TOPIC = '__cluster_metadata';

const int16 = (value) => { const b = Buffer.alloc(2); b.writeInt16BE(value); return b; };
const int32 = (value) => { const b = Buffer.alloc(4); b.writeInt32BE(value); return b; };
const string = (text) => Buffer.concat([int16(Buffer.byteLength(text)), Buffer.from(text)]);

class Reader {
  constructor(buffer) { Object.assign(this, { buffer, at: 0 }); }
  take(size) { this.at += size; return this.at - size; }
  int8() { return this.buffer.readInt8(this.take(1)); }
  int16() { return this.buffer.readInt16BE(this.take(2)); }
  int32() { return this.buffer.readInt32BE(this.take(4)); }
  bytes(size) { return this.buffer.subarray(this.at, this.at += size); }
  string() { const size = this.int16(); return size < 0 ? null : this.bytes(size).toString(); }
  array(read) { return Array.from({ length: this.int32() }, read); }
  // The short lengths of the flexible versions: all that occur here are below 127.
  compact() { return this.int8() - 1; }
}

function ask(port, { key, version, flexible }, body) {
  const request = Buffer.concat([int16(key), int16(version), int32(1), string('test'), Buffer.alloc(flexible ? 1 : 0), body]);
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    let received = Buffer.alloc(0);
    socket.setTimeout(GIVE_UP_MS, () => socket.destroy(new Error(`the broker on port ${port} does not respond`)));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`the broker on port ${port} closed the connection`)));
    socket.on('data', (data) => {
      received = Buffer.concat([received, data]);
      if (received.length < 4 || received.length < 4 + received.readInt32BE(0)) return;
      resolve(new Reader(received.subarray(flexible ? 9 : 8)));
      socket.destroy();
    });
    socket.write(Buffer.concat([int32(request.length), request]));
  });
}

/*
 * {brokers: [id], topics: {name: [{leader, whole}, …]}}, by partition; leader -1: there is none; whole: all copies are in sync.
 * Brokers that are down are not listed.
 */
export async function metadata(port) {
  const r = await ask(port, METADATA, Buffer.concat([int32(-1), Buffer.from([0])]));
  r.int32(); // throttle time
  const brokers = r.array(() => { const id = r.int32(); r.string(); r.int32(); r.string(); return id; });
  r.string(); // cluster id
  r.int32(); // any broker, in KRaft mode
  const topics = r.array(() => {
    r.int16();
    const name = r.string();
    r.int8();
    const partitions = [];
    r.array(() => {
      r.int16();
      const partition = r.int32();
      const leader = r.int32();
      const copies = r.array(() => r.int32());
      partitions[partition] = { leader, whole: r.array(() => r.int32()).length === copies.length };
    });
    return [name, partitions];
  });
  return { brokers, topics: Object.fromEntries(topics) };
}

/* The active controller's id, or -1. */
export async function controller(port) {
  const compact = (text) => Buffer.concat([Buffer.from([text.length + 1]), Buffer.from(text)]);
  const r = await ask(port, DESCRIBE_QUORUM, Buffer.concat([Buffer.from([2]), compact(QUORUM_TOPIC), Buffer.from([2]), int32(0), Buffer.alloc(3)]));
  if (r.int16() !== 0 || r.compact() < 1) return -1;
  r.bytes(r.compact());
  r.compact();
  r.int32();
  return r.int16() === 0 ? r.int32() : -1;
}
