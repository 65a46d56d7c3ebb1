/* Puts the parts together. Faces: /_fake/ (control), all else the service. */
import { AwsControl } from '../../lib/aws_control.mjs';
import { Keys, judge } from '../../lib/aws_keys.mjs';
import { LoopbackServer } from '../../lib/http.mjs';
import { Log } from '../../lib/log.mjs';
import { Random } from '../../lib/random.mjs';
import { DynamoEmulator } from '../../emulators/emulators.mjs';
import { Engine } from './engine.mjs';
import { options } from './options.mjs';
import { faults as makeFaults, DynamoService } from './service.mjs';

export class FakeDynamo {
  /** `engine`: one that runs already, and goes on; else one of its own. */
  constructor(config, engine = null) {
    this.config = config;
    this.log = new Log(config.log);
    this.own = engine === null;
    this.engine = engine ?? (config.emulator ? new DynamoEmulator(config.emulator) : new Engine());
    const { log } = this;
    const keys = new Keys(config);
    const faults = makeFaults(new Random(config.seed));
    const service = new DynamoService({
      config, log, faults, keys, engine: this.engine, verify: judge(keys, 'dynamodb'),
    });
    const control = new AwsControl({ config, options, log, faults, service, keys });
    control.add('POST', '/empty', async () => JSON.parse((await this.engine.run('empty', 0, '')).body));
    this.server = new LoopbackServer({ port: config.port, log, control, route: (...call) => service.handle(...call) });
  }

  get url() {
    return this.server.url;
  }

  async listen() {
    if (this.own) await this.engine.start(this.config);
    return this.server.listen();
  }

  async stop() {
    await this.server.stop();
    if (this.own) await this.engine.stop();
  }
}
