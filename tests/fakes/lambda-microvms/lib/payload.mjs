/*
 * Unpacks the payload of a runner, version 1, as the agent does: base64 of a version byte, a CRC-32 of plan and
 * tail, the plan (raw deflate with a dictionary), the tail. The plan holds idle seconds, maximum seconds, four
 * texts, and the JIT configuration with its layers of base64 taken off. test/payload.test.mjs holds it against
 * what the C code packs and refuses.
 */
import zlib from 'node:zlib';

const VERSION = 1;
const HEADER_BYTES = 5;
const CONFIG_MAX = 65536;
const PLAN_MAX = CONFIG_MAX + 16384;
const OPTION_MAX = 1024;
const SECONDS_MAX = 31_622_400;
const DEPTH_MAX = 4;
const [TEXT, , TAIL, NESTED] = [0, 1, 2, 3];

const DICTIONARY = Buffer.from(
  'http://10.0.2.2:https://localhost,127.0.0.1,.internal'
  + '"RequireFipsCryptography":"SkipSessionRecover":"MonitorSocketAddress":'
  + '"AuthorizationUrlV2":"AuthMigration":"gitHubUrl":"IsHostedServer":"True""False"'
  + '{"exponent":"AQAB","modulus":"","d":"","dp":"","dq":"","inverseQ":"",'
  + '"p":"","q":""}{"d":"","dp":"","dq":"","exponent":"AQAB","inverseQ":'
  + '"'
  + '","modulus":"","p":"","q":""}'
  + '{"Scheme":"OAuth","Data":{"ClientId":"","AuthorizationUrl":"'
  + '{"scheme":"OAuth","data":{"clientId":"","authorizationUrl":"https://'
  + 'vstoken.actions.githubusercontent.com/_apis/oauth2/token/https://'
  + 'tokenghub.actions.githubusercontent.com/_apis/oauth2/token/",'
  + '"requireFipsCryptography":"True"}}'
  + '{"AgentId":"","AgentName":"","DisableUpdate":"false","Ephemeral":"True",'
  + '"GitHubUrl":"https://github.com/","PoolId":"1","PoolName":"Default",'
  + '"ServerUrl":"https://pipelinesghubeus20.actions.githubusercontent.com/",'
  + '"ServerUrlV2":"https://broker.actions.githubusercontent.com/","UseV2Flow":"true",'
  + '"WorkFolder":"_work"}'
  + '{".runner":"",".credentials":"",".credentials_rsaparams":""}',
);

export class PayloadError extends Error {}

const damaged = () => new PayloadError('the payload is damaged');

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

function crc32(...parts) {
  let crc = 0xffffffff;
  for (const part of parts) for (const byte of part) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Reads from the front of a buffer; every read is checked. */
class Reader {
  constructor(buffer) {
    Object.assign(this, { buffer, at: 0 });
  }

  get left() {
    return this.buffer.length - this.at;
  }

  /** Unsigned LEB128 of at most 5 bytes: below 2^35, hence no bitwise arithmetic. */
  varint() {
    let value = 0;
    for (let i = 0; i < 5 && this.left > 0; i++) {
      const byte = this.buffer[this.at++];
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    throw damaged();
  }

  bytes(n) {
    if (n > this.left) throw damaged();
    this.at += n;
    return this.buffer.subarray(this.at - n, this.at);
  }
}

function bounded(buffer) {
  if (buffer.length > CONFIG_MAX) throw damaged();
  return buffer;
}

const base64 = (bytes) => Buffer.from(bytes.toString('base64'), 'latin1');

function expandSegments(plan, tail, count, depth) {
  if (count > plan.left) throw damaged();
  const parts = [];
  let size = 0;
  for (let i = 0; i < count; i++) {
    const part = expandSegment(plan, tail, depth);
    size += part.length;
    if (size > CONFIG_MAX) throw damaged();
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function expandSegment(plan, tail, depth) {
  const head = plan.varint();
  const kind = head % 4;
  const length = Math.floor(head / 4);
  if (kind === NESTED) {
    if (depth + 1 > DEPTH_MAX) throw damaged();
    return bounded(base64(expandSegments(plan, tail, length, depth + 1)));
  }
  const bytes = (kind === TAIL ? tail : plan).bytes(length);
  return bounded(kind === TEXT ? bytes : base64(bytes));
}

function expand(plan, tail) {
  const head = plan.varint();
  const length = Math.floor(head / 4);
  if (head % 4 === NESTED) return expandSegments(plan, tail, length, 0);
  if (head % 4 !== TEXT) throw damaged();
  return bounded(plan.bytes(length));
}

function inflate(bytes) {
  try {
    const { buffer, engine } = zlib.inflateRawSync(bytes, { dictionary: DICTIONARY, maxOutputLength: PLAN_MAX, info: true });
    return { plan: buffer, used: engine.bytesWritten };
  } catch {
    throw damaged();
  }
}

function seconds(plan) {
  const value = plan.varint();
  if (value > SECONDS_MAX) throw damaged();
  return value;
}

function option(plan) {
  const length = plan.varint();
  if (length > OPTION_MAX) throw damaged();
  return plan.bytes(length).toString('utf8');
}

/** Canonical base64 only, as the C decoder takes it. */
function decode(text) {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new PayloadError(`not a payload: ${text.length} bytes that are no base64`);
  return bytes;
}

/** Returns {jit_config, idle_seconds, max_duration_seconds, http_proxy, https_proxy, no_proxy, runner_name}. */
export function unpack(packed) {
  const bytes = decode(packed);
  if (bytes.length < HEADER_BYTES) throw new PayloadError(`not a payload: ${bytes.length} bytes are too few`);
  if (bytes[0] !== VERSION) throw new PayloadError(`payload of version ${bytes[0]}; this program reads version ${VERSION}`);
  const rest = bytes.subarray(HEADER_BYTES);
  const { plan: text, used } = inflate(rest);
  if (crc32(text, rest.subarray(used)) !== bytes.readUInt32BE(1)) throw damaged();
  const plan = new Reader(text);
  const tail = new Reader(rest.subarray(used));
  const idleSeconds = seconds(plan);
  const maxSeconds = seconds(plan);
  const [httpProxy, httpsProxy, noProxy, runnerName] = [option(plan), option(plan), option(plan), option(plan)];
  const config = expand(plan, tail);
  if (plan.left > 0 || tail.left > 0) throw damaged();
  return {
    jit_config: config.toString('utf8'), idle_seconds: idleSeconds, max_duration_seconds: maxSeconds, http_proxy: httpProxy,
    https_proxy: httpsProxy, no_proxy: noProxy, runner_name: runnerName,
  };
}
