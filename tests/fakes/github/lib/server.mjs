/* Puts the parts together and listens. Faces: /_fake/ (control), /_runner/ (the runner's side), /_actions/ (scale sets), all else REST. */
import { LoopbackServer } from '../../lib/http.mjs';
import { Log } from '../../lib/log.mjs';
import { Random } from '../../lib/random.mjs';
import { Auth } from './auth.mjs';
import { Control } from './control.mjs';
import { Faults } from './faults.mjs';
import { Fleet } from './fleet.mjs';
import { JitMint } from './jit.mjs';
import { Limits } from './limits.mjs';
import { Manifests } from './manifest.mjs';
import { Rest } from './rest.mjs';
import { RunnerProtocol } from './runner/protocol.mjs';
import { ScaleSetProtocol } from './sets/protocol.mjs';
import { ScaleSets } from './sets/sets.mjs';
import { Webhooks } from './webhooks.mjs';
import { World } from './world.mjs';

export class FakeGitHub {
  constructor(config, validator = null) {
    this.config = config;
    this.log = new Log(config.log);
    this.world = new World(config);
    this.faults = new Faults(config, new Random(1));
    this.fleet = new Fleet(this);
    this.webhooks = new Webhooks(this);
    this.limits = new Limits(config);
    this.auth = new Auth(this);
    this.mint = new JitMint();
    this.protocol = new RunnerProtocol({ config, fleet: this.fleet, log: this.log, faults: this.faults, baseUrl: () => this.runnerUrl() });
    const { log, world, faults, fleet, webhooks, limits, auth, mint, protocol } = this;
    this.sets = new ScaleSets({ config, fleet, log });
    this.setProtocol = new ScaleSetProtocol({ config, world, fleet, log, faults, sets: this.sets, mint, protocol, baseUrl: () => this.url });
    this.manifests = new Manifests({ config, log, world, webhooks, auth });
    this.rest = new Rest({
      manifests: this.manifests,
      config, log, world, faults, fleet, webhooks, limits, auth, mint, protocol, setProtocol: this.setProtocol, validator, invalid: 0,
    });
    this.control = new Control({ config, log, world, faults, fleet, webhooks, rest: this.rest, auth, protocol: this.protocol, sets: this.sets, setProtocol: this.setProtocol });
    this.fleet.on('job', (action, job) => {
      const announced = this.webhooks.announce(action, job);
      if (action === 'queued') job.announced = announced;
    });
    this.server = new LoopbackServer({
      port: config.port, log, control: this.control, route: (...call) => this.route(...call),
    });
  }

  route(request, response, url) {
    if (url.pathname.startsWith('/_runner/')) return this.protocol.handle(request, response, url);
    if (this.setProtocol.concerns(url)) return this.setProtocol.handle(request, response, url);
    if (this.manifests.concerns(url)) return this.manifests.handle(request, response, url);
    return this.rest.handle(request, response, url);
  }

  get url() {
    return this.server.url;
  }

  runnerUrl() {
    return (this.config.runner_url ?? this.url).replaceAll('{PORT}', String(this.server.port)).replace(/\/+$/, '');
  }

  listen() {
    this.mint.warm().catch(() => {});
    return this.server.listen();
  }

  stop() {
    this.fleet.stop();
    this.sets.stop();
    this.webhooks.stop();
    return this.server.stop();
  }
}
