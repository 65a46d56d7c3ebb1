// What a load balancer does in front of several ingresses: each delivery to the next one that accepts a connection;
// 504 when it does not answer in time, 502 when none can be reached.
import http from "node:http";

export class Balancer {
  constructor({ timeoutMs }) {
    Object.assign(this, { timeoutMs, targets: new Map(), turn: 0, agent: new http.Agent({ keepAlive: true, maxSockets: 256 }) });
    this.server = http.createServer((request, response) => {
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => this.forward(request, response, Buffer.concat(chunks), 0));
    });
  }

  async listen() {
    this.server.listen(0, "127.0.0.1");
    await new Promise((resolve) => this.server.once("listening", resolve));
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  forward(request, response, body, tried) {
    const targets = [...this.targets.values()];
    if (tried >= targets.length) {
      response.writeHead(502).end();
      return;
    }
    const port = targets[this.turn++ % targets.length];
    let over = false;
    const end = (action) => { if (!over) { over = true; action(); } };
    const onward = http.request({ agent: this.agent, host: "127.0.0.1", port, path: request.url, method: request.method,
      headers: { ...request.headers, connection: "keep-alive" }, timeout: this.timeoutMs }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", () => end(() => this.forward(request, response, body, tried + 1)));
      answer.on("end", () => end(() => response.writeHead(answer.statusCode, { "content-type": answer.headers["content-type"] ?? "text/plain" })
        .end(Buffer.concat(parts))));
    });
    onward.on("timeout", () => end(() => { onward.destroy(); response.writeHead(504).end(); }));
    onward.on("error", () => end(() => this.forward(request, response, body, tried + 1)));
    onward.end(body);
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
    this.agent.destroy();
  }
}
