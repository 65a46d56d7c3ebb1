/* Puts the parts together and listens. Faces: /_fake/ (control), /_runner/ (runner protocol), all else REST. */
import http from 'node:http';
import { Auth } from './auth.mjs';
import { Control } from './control.mjs';
import { Faults } from './faults.mjs';
import { Fleet } from './fleet.mjs';
import { JitMint } from './jit.mjs';
import { Limits } from './limits.mjs';
import { Log } from './log.mjs';
import { Rest } from './rest.mjs';
import { RunnerProtocol } from './runner_protocol.mjs';
import { Webhooks } from './webhooks.mjs';
import { World } from './world.mjs';

const KEEP_ALIVE_MS = 75_000;

export class FakeGitHub {
  constructor(config, validator = null) {
    this.config = config;
    this.log = new Log(config.log);
    this.world = new World(config);
    this.faults = new Faults(config, this.log);
    this.fleet = new Fleet(this);
    this.webhooks = new Webhooks(this);
    this.limits = new Limits(config);
    this.auth = new Auth(this);
    this.mint = new JitMint();
    this.protocol = new RunnerProtocol(this);
    const { log, world, faults, fleet, webhooks, limits, auth, mint } = this;
    this.rest = new Rest({
      config, log, world, faults, fleet, webhooks, limits, auth, mint, validator, invalid: 0, runnerUrl: () => this.runnerUrl(),
    });
    this.control = new Control({ config, log, world, faults, fleet, webhooks, rest: this.rest, protocol: this.protocol });
    this.fleet.on('job', (action, job) => {
      const announced = this.webhooks.announce(action, job);
      if (action === 'queued') job.announced = announced;
    });
    this.server = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
      this.route(request, response).catch(() => request.socket.destroy());
    });
  }

  async route(request, response) {
    const target = request.url.replace(/^https?:\/\/[^/]+/, '');
    const url = new URL(target, 'http://localhost');
    if (url.pathname.startsWith('/_runner/')) return this.protocol.handle(request, response, url);
    if (url.pathname.startsWith('/_fake/')) return this.control.handle(request, response, url);
    return this.rest.handle(request, response, url);
  }

  runnerUrl() {
    return (this.config.runner_url ?? this.url).replaceAll('{PORT}', String(this.port));
  }

  listen() {
    this.mint.warm().catch(() => {});
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ port: this.config.port, host: '127.0.0.1', backlog: 4096 }, () => {
        this.port = this.server.address().port;
        this.url = `http://127.0.0.1:${this.port}`;
        this.log.write('started', { url: this.url, pid: process.pid });
        resolve(this.url);
      });
    });
  }

  async stop() {
    this.fleet.stop();
    this.webhooks.stop();
    const closed = new Promise((resolve) => {
      this.server.close(resolve);
    });
    this.server.closeAllConnections();
    await closed;
    this.log.write('stopped');
    this.log.close();
  }
}
