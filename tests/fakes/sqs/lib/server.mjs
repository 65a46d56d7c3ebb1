/* Puts the parts together. Faces: /_fake/ (control), all else the service. */
import { AwsControl } from '../../lib/aws_control.mjs';
import { Keys, judge } from '../../lib/aws_keys.mjs';
import { LoopbackServer } from '../../lib/http.mjs';
import { Log } from '../../lib/log.mjs';
import { Random } from '../../lib/random.mjs';
import { SqsEmulator } from '../../emulators/emulators.mjs';
import { Emulator } from './emulator.mjs';
import { options } from './options.mjs';
import { faults as makeFaults, SqsService } from './service.mjs';

export class FakeSqs {
  constructor(config) {
    this.config = config;
    this.log = new Log(config.log);
    const { log } = this;
    this.emulator = config.emulator ? new SqsEmulator(config.emulator) : new Emulator({ region: config.region, urlOf: (name) => `${this.url}/000000000000/${name}` });
    const { emulator } = this;
    const keys = new Keys(config);
    const faults = makeFaults(new Random(config.seed));
    const service = new SqsService({
      config, log, faults, keys, emulator, verify: judge(keys, 'sqs'),
    });
    const control = new AwsControl({ config, options, log, faults, service, keys });
    control.add('GET', '/queues', () => emulator.queues());
    control.add('POST', '/queues', ({ body }) => this.create(body ?? {}));
    control.add('POST', '/empty', () => this.empty());
    this.server = new LoopbackServer({ port: config.port, log, control, route: (...call) => service.handle(...call) });
  }

  async create({ name, attributes = {} }) {
    const { status, body } = await this.emulator.run('CreateQueue', { QueueName: name, Attributes: attributes });
    if (status !== 200) throw new RangeError(body);
    return (await this.emulator.queues()).find((queue) => queue.name === name);
  }

  /** Purges all queues; says how many messages they had. */
  async empty() {
    const queues = await this.emulator.queues();
    for (const { url } of queues) await this.emulator.run('PurgeQueue', { QueueUrl: url });
    return { messages: queues.reduce((sum, { ready, in_flight: inFlight, delayed }) => sum + ready + inFlight + delayed, 0) };
  }

  get url() {
    return this.server.url;
  }

  async listen() {
    await this.emulator.start(this.config);
    const url = await this.server.listen();
    for (const name of this.config.queue) await this.create({ name });
    return url;
  }

  async stop() {
    await this.emulator.stop();
    await this.server.stop();
  }
}
