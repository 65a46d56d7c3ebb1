/* Puts the parts together and listens. Faces: /_fake/ (control), all else the service. */
import { Keys, judge } from '../../lib/aws_keys.mjs';
import { LoopbackServer } from '../../lib/http.mjs';
import { Log } from '../../lib/log.mjs';
import { Random } from '../../lib/random.mjs';
import { Api } from './api.mjs';
import { Control } from './control.mjs';
import { Faults } from './faults.mjs';
import { Fleet } from './fleet.mjs';
import { Images } from './images.mjs';
import { Quotas } from './quotas.mjs';
import { Service } from './service.mjs';

export class FakeLambda {
  constructor(config) {
    this.keys = new Keys(config);
    this.config = config;
    this.log = new Log(config.log);
    this.quotas = new Quotas(config);
    this.images = new Images(config);
    /* Each source of chance has its own sequence, so that one more VM does not change which call fails. */
    this.faults = new Faults(config, new Random(config.seed));
    this.fleet = new Fleet({ config, log: this.log, quotas: this.quotas, faults: this.faults, random: new Random(config.seed + 1) });
    this.api = new Api({ config, fleet: this.fleet, images: this.images, log: this.log });
    const { log, quotas, images, faults, fleet, api, keys } = this;
    this.service = new Service({
      config, log, faults, quotas, api, fleet, keys, verify: judge(keys, 'lambda'),
    });
    this.control = new Control({
      config, log, quotas, images, faults, fleet, api, keys, service: this.service,
    });
    this.server = new LoopbackServer({
      port: config.port, log, control: this.control, route: (...call) => this.service.handle(...call),
    });
  }

  get url() {
    return this.server.url;
  }

  listen() {
    return this.server.listen();
  }

  stop() {
    this.fleet.stop();
    this.images.stop();
    return this.server.stop();
  }
}
