/* Puts the parts together and listens. Faces: /_fake/ (control), all else the service. */
import http from 'node:http';
import { Api } from './api.mjs';
import { Control } from './control.mjs';
import { Faults } from './faults.mjs';
import { Fleet } from './fleet.mjs';
import { Images } from './images.mjs';
import { Log } from './log.mjs';
import { Quotas } from './quotas.mjs';
import { Random } from './random.mjs';
import { Service } from './service.mjs';

const KEEP_ALIVE_MS = 75_000;

export class FakeLambda {
  /** `verify`: see service.mjs. */
  constructor(config, { verify } = {}) {
    this.config = config;
    this.log = new Log(config.log);
    this.quotas = new Quotas(config);
    this.images = new Images(config);
    /* Each source of chance has its own sequence, so that one more VM does not change which call fails. */
    this.faults = new Faults(config, new Random(config.seed));
    this.fleet = new Fleet({ config, log: this.log, quotas: this.quotas, faults: this.faults, random: new Random(config.seed + 1) });
    this.api = new Api({ config, fleet: this.fleet, images: this.images, log: this.log });
    const { log, quotas, images, faults, fleet, api } = this;
    this.service = new Service({ config, log, faults, quotas, api, verify });
    this.control = new Control({ config, log, quotas, images, faults, fleet, service: this.service });
    this.server = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) => {
      this.route(request, response).catch((error) => {
        this.log.write('internal_error', { path: request.url, error: String(error.stack) });
        request.socket.destroy();
      });
    });
  }

  async route(request, response) {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname.startsWith('/_fake/')) return this.control.handle(request, response, url);
    return this.service.handle(request, response, url);
  }

  listen() {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ port: this.config.port, host: '127.0.0.1', backlog: 4096 }, () => {
        this.url = `http://127.0.0.1:${this.server.address().port}`;
        this.log.write('started', { url: this.url, pid: process.pid });
        resolve(this.url);
      });
    });
  }

  async stop() {
    this.fleet.stop();
    this.images.stop();
    const closed = new Promise((resolve) => {
      this.server.close(resolve);
    });
    this.server.closeAllConnections();
    await closed;
    this.log.write('stopped');
    this.log.close();
  }
}
