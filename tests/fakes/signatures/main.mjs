/*
 * A stand-in for any service of AWS that does nothing but judge signatures: what is well signed is answered with what
 * was understood, {service, region, key, method, target, bytes}; what is not, with what AWS would say.
 *
 *   node main.mjs --port 0 --key AKID:SECRET --key AKID2:SECRET:TOKEN
 */
import { AwsError, PROTOCOLS } from '../lib/aws_errors.mjs';
import { AwsControl } from '../lib/aws_control.mjs';
import { KEY_OPTIONS, Keys } from '../lib/aws_keys.mjs';
import { FaultList } from '../lib/fault_list.mjs';
import { LoopbackServer, readBody, send, sendJson } from '../lib/http.mjs';
import { Log } from '../lib/log.mjs';
import { Options } from '../lib/options.mjs';
import { run } from '../lib/program.mjs';
import { Random } from '../lib/random.mjs';
import { verify } from '../lib/signature.mjs';

const options = new Options(KEY_OPTIONS);

class Signatures {
  constructor(config) {
    this.log = new Log(config.log);
    this.keys = new Keys(config);
    this.counts = { requests: 0, refused: 0 };
    const faults = new FaultList(() => { throw new RangeError('it has no faults'); }, new Random(1));
    const service = { counts: this.counts, operations: new Map(), statuses: new Map() };
    const control = new AwsControl({ config, options, log: this.log, faults, service, keys: this.keys });
    this.server = new LoopbackServer({ port: config.port, log: this.log, control, route: (...call) => this.judge(...call) });
  }

  async judge(request, response) {
    const { method, url, headers } = request;
    const body = await readBody(request);
    const [, region, service] = /\/\d{8}\/([^/]+)\/([^/]+)\//.exec(headers.authorization ?? '') ?? [];
    const date = { Date: new Date(this.keys.now()).toUTCString() };
    this.counts.requests += 1;
    try {
      const key = await verify({ method, url, headers, body }, { keys: this.keys, service });
      sendJson(response, 200, { service, region, key, method, target: url, bytes: body.length }, date);
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      this.counts.refused += 1;
      const answer = PROTOCOLS.json(error, {});
      send(response, answer.status, { ...answer.headers, ...date }, answer.body);
    }
  }

  listen() {
    return this.server.listen();
  }

  stop() {
    return this.server.stop();
  }
}

run(options, (config) => new Signatures(config));
