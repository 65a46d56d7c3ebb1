/* Puts the parts together and listens. Faces: /_fake/ (control), all else the service. */
import { Keys, judge } from '../../lib/aws_keys.mjs';
import { LoopbackServer } from '../../lib/http.mjs';
import { Log } from '../../lib/log.mjs';
import { Random } from '../../lib/random.mjs';
import { Control } from './control.mjs';
import { Faults } from './faults.mjs';
import { options } from './options.mjs';
import { Places } from './places.mjs';
import { Service } from './service.mjs';

export class FakeLambda {
  constructor(config) {
    this.keys = new Keys(config);
    this.config = config;
    this.log = new Log(config.log);
    this.faults = new Faults(config, new Random(config.seed));
    const { log, faults, keys } = this;
    this.places = new Places({ config, log, faults, keys }, options);
    const { places } = this;
    this.service = new Service({ config, log, faults, places, keys, verify: judge(keys, 'lambda') });
    this.control = new Control({ config, log, faults, places, keys, service: this.service });
    this.server = new LoopbackServer({
      port: config.port, log, control: this.control, route: (...call) => this.service.handle(...call),
    });
  }

  /** Of the only account and region, or the first. */
  get fleet() {
    return this.places.first.fleet;
  }

  get images() {
    return this.places.first.images;
  }

  get url() {
    return this.server.url;
  }

  listen() {
    return this.server.listen();
  }

  stop() {
    for (const { fleet, images } of this.places.all) {
      fleet.stop();
      images.stop();
    }
    return this.server.stop();
  }
}
