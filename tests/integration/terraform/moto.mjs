// moto, an emulator of AWS that others wrote, as the provider hashicorp/aws needs it.
import http from 'node:http';
import path from 'node:path';
import { Emulator } from '../../fakes/emulators/emulators.mjs';
import { ROOT } from './terraform.mjs';

const OF_THE_CONNECTION = ['host', 'connection', 'content-length', 'transfer-encoding', 'content-encoding', 'keep-alive', 'expect'];
const endToEnd = (headers) => Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_THE_CONNECTION.includes(name)));

/**
 * moto behind an address that stands before it: there ListTagsForResource of Application Auto Scaling, which moto refuses, returns the tags
 * that a target was registered with.
 */
export class Moto extends Emulator {
  constructor() {
    super('moto', 'sqs');
    this.command = path.join(ROOT, 'build/terraform/moto/bin/moto_server'); // with what API Gateway needs
    this.tags = new Map();
  }

  async start(options) {
    await super.start(options);
    this.behind = this.url;
    this.server = http.createServer((request, response) => {
      this.respond(request, response).catch((error) => response.writeHead(502).end(String(error)));
    });
    await new Promise((resolve) => { this.server.listen(0, '127.0.0.1', resolve); });
    this.url = `http://127.0.0.1:${this.server.address().port}`;
  }

  async respond(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const target = request.headers['x-amz-target'];
    if (target === 'AnyScaleFrontendService.ListTagsForResource') {
      response.writeHead(200, { 'Content-Type': 'application/x-amz-json-1.1' }).end(JSON.stringify({ Tags: this.tags.get(JSON.parse(body).ResourceARN) ?? {} }));
      return;
    }
    const hasBody = !['GET', 'HEAD'].includes(request.method);
    const told = await fetch(this.behind + request.url, { method: request.method, headers: endToEnd(request.headers), body: hasBody ? body : undefined, redirect: 'manual' });
    const answer = Buffer.from(await told.arrayBuffer());
    if (target === 'AnyScaleFrontendService.RegisterScalableTarget' && told.ok) this.tags.set(JSON.parse(answer).ScalableTargetARN, JSON.parse(body).Tags ?? {});
    response.writeHead(told.status, endToEnd(Object.fromEntries(told.headers))).end(answer);
  }

  async stop() {
    this.server?.close();
    this.server?.closeAllConnections();
    await super.stop();
  }
}
