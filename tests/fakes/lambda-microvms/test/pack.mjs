/*
 * Packs a payload without taking any layer off (style "none" of the C code): enough for tests that need a payload
 * which unpacks, and no second implementation of the packer.
 */
import zlib from 'node:zlib';

function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push(rest >= 128 ? (rest % 128) | 128 : rest);
    if (rest < 128) return Buffer.from(bytes);
  }
}

const crc32 = (bytes) => zlib.gzipSync(bytes).readUInt32LE(zlib.gzipSync(bytes).length - 8);

export function pack({ jit_config: jit, idle_seconds: idle = 60, max_duration_seconds: max = 600, texts = ['', '', '', 'runner'] }) {
  const options = texts.flatMap((text) => [varint(Buffer.byteLength(text)), Buffer.from(text)]);
  const config = Buffer.from(jit);
  const plan = Buffer.concat([varint(idle), varint(max), ...options, varint(config.length * 4), config]);
  const header = Buffer.alloc(5);
  header[0] = 1;
  header.writeUInt32BE(crc32(plan), 1);
  return Buffer.concat([header, zlib.deflateRawSync(plan, { level: 9 })]).toString('base64');
}
