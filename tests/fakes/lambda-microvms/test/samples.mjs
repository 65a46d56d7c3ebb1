/* Payloads of GitHub's shape and of none, with random numbers where GitHub has keys; and ways to damage them. */

const bytes = (random, n) => Buffer.from(Array.from({ length: n }, () => Math.floor(random.next() * 256)));
const pick = (random, list) => list[Math.floor(random.next() * list.length)];

/** As GitHub makes it: base64 of JSON of base64 of JSON, with an RSA key's numbers in base64 again. */
export function jitConfig(random, name) {
  const number = (n) => bytes(random, n).toString('base64');
  const layer = (value) => Buffer.from(JSON.stringify(value)).toString('base64');
  return layer({
    '.runner': layer({
      AgentId: String(Math.floor(random.next() * 1e5)), AgentName: name, PoolId: '1', PoolName: 'Default', DisableUpdate: 'False',
      Ephemeral: 'True', ServerUrl: 'http://127.0.0.1:8080', GitHubUrl: 'https://github.com/acme', WorkFolder: '_work',
      ServerUrlV2: 'https://broker.actions.githubusercontent.com/', UseV2Flow: 'True',
    }),
    '.credentials': layer({
      scheme: 'OAuth',
      data: {
        clientId: bytes(random, 16).toString('hex'), requireFipsCryptography: 'True',
        authorizationUrl: `https://vstoken.actions.githubusercontent.com/_apis/oauth2/token/${bytes(random, 16).toString('hex')}`,
      },
    }),
    '.credentials_rsaparams': layer({
      d: number(256), dp: number(128), dq: number(128), exponent: 'AQAB', inverseQ: number(128), modulus: number(256), p: number(128), q: number(128),
    }),
  });
}

function anyText(random) {
  const layered = (text, n) => (n === 0 ? text : layered(Buffer.from(text).toString('base64'), n - 1));
  return pick(random, [
    () => '', () => 'plain', () => 'grüße ✓'.repeat(9), () => layered('x'.repeat(Math.floor(random.next() * 300)), Math.floor(random.next() * 7)),
    () => bytes(random, Math.floor(random.next() * 900)).toString('base64'), () => `{"a":"${bytes(random, 60).toString('base64')}"}`,
  ])();
}

export function samples(random, count) {
  return Array.from({ length: count }, (_, i) => {
    const runner = `mf-test-small-${bytes(random, 5).toString('hex')}`;
    return {
      jit_config: i % 2 === 0 ? jitConfig(random, runner) : anyText(random), idle_seconds: pick(random, [0, 1, 120, 31_622_400]),
      max_duration_seconds: pick(random, [0, 600, 3600, 28800]), http_proxy: pick(random, ['', 'http://10.0.2.2:3128']),
      https_proxy: pick(random, ['', 'http://proxy.example:8080']), no_proxy: pick(random, ['', 'localhost,127.0.0.1', 'x'.repeat(1024)]),
      runner_name: runner,
    };
  });
}

/** Never equal to what it was. */
export function damage(packed, random) {
  const raw = Buffer.from(packed, 'base64');
  const at = Math.floor(random.next() * raw.length);
  return pick(random, [
    () => { raw[at] ^= 1 << Math.floor(random.next() * 8); return raw.toString('base64'); },
    () => raw.subarray(0, at).toString('base64'),
    () => Buffer.concat([raw, bytes(random, 3)]).toString('base64'),
    () => Buffer.concat([raw.subarray(0, at), bytes(random, 1), raw.subarray(at)]).toString('base64'),
    () => packed.slice(0, -1),
    () => `${packed.slice(0, at)} ${packed.slice(at)}`,
  ])();
}
