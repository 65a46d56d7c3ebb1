// A door before a server, on a TCP port or a Unix socket. It is open; or shut, when each connection is reset, old and new alike; or it
// hangs, when nothing passes and nobody is answered. What was reset or left hanging is counted.
import net from "node:net";

export class Gate {
  // to, at: {port} on the loopback address or {path} of a Unix socket; `at` is where it listens, by default on a free port.
  constructor({ to, at = { port: 0 } }) {
    Object.assign(this, { to, at, mode: "open", pairs: new Set(), refused: 0, hung: 0 });
    this.server = net.createServer({ pauseOnConnect: true }, (client) => this.accept(client));
  }

  async listen() {
    this.server.listen({ host: this.at.path ? undefined : "127.0.0.1", ...this.at });
    await new Promise((resolve, reject) => this.server.once("listening", resolve).once("error", reject));
    this.port = this.at.path ? null : this.server.address().port;
    return this;
  }

  accept(client) {
    client.on("error", () => {});
    if (this.mode === "shut") {
      this.refused += 1;
      reset(client);
      return;
    }
    const server = net.connect(this.to.path ? this.to : { host: "127.0.0.1", ...this.to });
    const pair = { client, server };
    this.pairs.add(pair);
    const end = () => { client.destroy(); server.destroy(); this.pairs.delete(pair); };
    for (const one of [client, server]) one.on("error", () => {}).on("close", end);
    if (this.mode === "hangs") this.hung += 1;
    else join(pair);
  }

  open() {
    const before = this.mode;
    this.mode = "open";
    if (before === "hangs") for (const pair of this.pairs) join(pair);
  }

  shut() {
    this.mode = "shut";
    this.refused += this.pairs.size;
    for (const { client, server } of this.pairs) { reset(client); server.destroy(); }
  }

  hang() {
    this.mode = "hangs";
    this.hung += this.pairs.size;
    for (const { client, server } of this.pairs) {
      client.unpipe(server).pause();
      server.unpipe(client).pause();
    }
  }

  // Another server from now on, for those who connect anew.
  point(to) {
    this.to = to;
    for (const { client, server } of this.pairs) { reset(client); server.destroy(); }
  }

  stop() {
    this.server.close();
    for (const { client, server } of this.pairs) { client.destroy(); server.destroy(); }
  }
}

function join({ client, server }) {
  client.pipe(server);
  server.pipe(client);
}

function reset(socket) {
  if (socket.resetAndDestroy && socket.remoteFamily) socket.resetAndDestroy();
  else socket.destroy();
}
