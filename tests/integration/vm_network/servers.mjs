// What there is to reach in a namespace: on each of its addresses TCP and UDP servers that log who was reached, and a resolver.
//   usage: servers.mjs LOG RESOLVER …
import dgram from "node:dgram";
import fs from "node:fs";
import net from "node:net";

const [logFile, ...resolvers] = process.argv.slice(2);
const ports = [53, 80, 5555, 6379, 8080];
const log = (line) => fs.appendFileSync(logFile, line + "\n");
const plain = (address) => address.replace(/^::ffff:/, "");

// The answer to any question: one address of the internet.
function resolve(query) {
  const end = query.indexOf(0, 12) + 5;
  const v6 = query.readUInt16BE(end - 4) === 28;
  const head = Buffer.from(query.subarray(0, 12));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(v6 ? 0 : 1, 6);
  head.writeUInt32BE(0, 8);
  const record = v6 ? [] : [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 93, 184, 216, 34];
  return Buffer.concat([head, query.subarray(12, end), Buffer.from(record)]);
}

const ready = [];
for (const port of ports) {
  const server = net.createServer((socket) => {
    log(`tcp ${plain(socket.localAddress)} ${port}`);
    socket.on("error", () => {});
    if (port !== 53) socket.end("REACHED\n");
    else socket.on("data", (d) => { const a = resolve(d.subarray(2)); socket.end(Buffer.concat([Buffer.from([a.length >> 8, a.length & 255]), a])); });
  });
  ready.push(new Promise((done) => server.listen(port, "::", done)));
}

function listenUdp(address, port) {
  const socket = dgram.createSocket({ type: address.includes(":") ? "udp6" : "udp4" });
  socket.on("message", (data, from) => {
    log(`udp ${address} ${port}`);
    if (port === 53) socket.send(resolve(data), from.port, from.address);
  });
  return new Promise((done, failed) => socket.on("error", failed).bind(port, address, done));
}

// One socket for each address, so that the log says which one was reached.
const addresses = [...new Set([...fs.readFileSync("/proc/net/fib_trie", "utf8").matchAll(/([\d.]+)\n\s+\/32 host LOCAL/g)].map((m) => m[1]))];
for (const line of fs.readFileSync("/proc/net/if_inet6", "utf8").trim().split("\n")) {
  const address = line.slice(0, 32).match(/.{4}/g).join(":");
  if (!address.startsWith("fe80")) addresses.push(address);
}
addresses.push(...resolvers.filter((r) => r.startsWith("127.")));
for (const address of addresses) for (const port of [53, 5555]) ready.push(listenUdp(address, port));
await Promise.all(ready);
console.log("ready");
