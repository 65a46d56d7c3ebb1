// What a job in a VM of the demo image reaches, as the job's user and as root, in a network of its own (world.sh): the internet and
// its names, what is listed, and nothing else. The servers' logs decide: a probe is refused when it arrives nowhere.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";

const world = process.argv[2];
const images = { runner: process.env.MAYFLY_TEST_IMAGE, root: process.env.MAYFLY_TEST_IMAGE_ROOT };

// Refused, each with the text that it leaves behind in a log where it would arrive.
const refusedTcp = [
  "10.0.2.2 6379", "10.0.2.2 80", "10.0.2.2 53", "fec0::2 6379", "10.0.2.255 80", "10.0.2.3 6379", "10.0.2.3 80", "fec0::3 80",
  "0.0.0.0 6379", "10.50.0.10 6379", "52.1.2.3 80", "2a05:d018::10 80", "fd00:50::10 80", "198.51.100.7 80",
  "10.50.0.1 80", "10.50.0.77 80", "52.1.2.77 80", "2a05:d018::77 80", "2a05:d018::1 80", "fd00:50::1 80",
  "10.99.0.1 80", "172.16.0.1 80", "192.168.1.1 80", "100.64.0.1 80", "100.100.100.200 80", "198.18.0.1 80", "fd00:99::1 80",
  "169.254.169.254 80", "169.254.169.254 53", "169.254.170.2 80", "fd00:ec2::254 80",
  "64:ff9b::a9fe:a9fe 80", "2002:7f00:1::1 80", "255.255.255.255 80", "224.0.0.1 80", "ff02::1 80", "10.50.0.77 5555",
];
const refusedNames = ["10.0.2.2", "10.50.0.10", "52.1.2.3", "169.254.169.254", "10.50.0.77", "192.168.1.1", "10.0.2.255"]; // UDP 53
// Datagrams to port 5555; the last one arrives.
const datagrams = ["10.0.2.2", "10.0.2.255", "10.0.2.3", "fec0::2", "fec0::3", "10.50.0.10", "10.50.0.77", "2a05:d018::10", "169.254.169.254", "93.184.216.34"];
const served = ["93.184.216.34 80", "2606:2800:220::34 80", "10.50.0.77 8080"]; // the last is listed
const servedNames = ["9.9.9.9"];

// Only in the VM as root: another address and MAC, another route, and addresses that a job's own kernel would not send.
const asRoot = `
  ip link set eth0 down; ip link set eth0 address 52:54:00:66:66:66; ip link set eth0 up
  ip addr add 10.0.2.66/24 dev eth0; ip route replace default via 10.0.2.3 src 10.0.2.66
  ip addr add 169.254.169.1/16 dev eth0; ip addr add 10.50.0.99/24 dev eth0
  echo "SPOOFED $(try 169.254.169.254 80) $(try 10.50.0.1 80) $(try 10.50.0.10 6379)"
  ip addr del 169.254.169.1/16 dev eth0; ip addr del 10.50.0.99/24 dev eth0; ip addr del 10.0.2.66/24 dev eth0
  ip route replace default via 10.0.2.2; ping -c 1 -W 2 10.50.0.10 >/dev/null 2>&1 && echo "PING 10.50.0.10 REACHED"
  ping -c 1 -s 4000 -W 2 169.254.169.254 >/dev/null 2>&1 && echo "PING 169.254.169.254 REACHED"`;

// What a job prints neither ends its VM nor says how it ended: the status port is root's.
const asRunner = `
  echo "PORTS $(ls /dev/vport* | wc -l)"; echo "EXIT 0 faked"
  for p in /dev/vport*; do (echo "EXIT 0 faked" > "$p") 2>/dev/null && echo "PORT $p REACHED"; done`;

const script = (user, names) => `
  try() { if echo | nc -w 4 "$1" "$2" 2>/dev/null | grep -q REACHED; then echo REACHED; else echo no; fi; }
  ask() { if nslookup a.test "$1" 2>/dev/null | grep -q 93.184.216.34; then echo REACHED; else echo no; fi; }
  i=0; while ! ip -6 addr show dev eth0 | grep -q "fec0:.*global\\|fec0:.*site" && [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
  echo "IAM $(id -un)"
  ${refusedTcp.map((p) => `echo "TCP ${p} $(try ${p})"`).join("\n  ")}
  ${names.map((p) => `echo "UDP ${p} $(ask ${p})"`).join("\n  ")}
  for to in ${datagrams.join(" ")}; do nslookup -port=5555 -retry=1 -timeout=1 a.test "$to" >/dev/null 2>&1; done
  ${user === "root" ? asRoot : asRunner}
  ${served.map((p) => `echo "SERVED ${p} $(try ${p})"`).join("\n  ")}
  ${servedNames.map((p) => `echo "SERVED ${p} $(ask ${p})"`).join("\n  ")}
  echo "SERVED names $(ask 10.0.2.3)"`;

function lines(name) { return fs.readFileSync(path.join(world, name), "utf8").split("\n").filter(Boolean); }

const namesBeside = (resolver) => refusedNames.filter((n) => n !== resolver);

// The resolver is not the same from VM to VM; the gateway reads the file again.
async function probe(deployment, user, resolver) {
  fs.writeFileSync(path.join(world, "resolv.conf"), `nameserver ${resolver}\n`);
  for (const log of ["host.log", "world.log"]) fs.writeFileSync(path.join(world, log), "");
  const [{ id }] = await deployment.queueJobs({ command: script(user, namesBeside(resolver)), name: `probes as ${user}` });
  await until("the probes have ended", async () => (await deployment.job(id)).state === "completed", { seconds: 400, every_ms: 200 });
  return (await deployment.job(id)).output;
}

function judge(output, user, resolver) {
  assert.match(output, new RegExp(`^IAM ${user}$`, "m"));
  const results = output.split("\n");
  assert.deepEqual(results.filter((l) => /^(TCP|UDP|SPOOFED|PING|PORT )/.test(l) && l.includes("REACHED")), [], output);
  assert.equal(results.filter((l) => /^(TCP|UDP)/.test(l)).length, refusedTcp.length + namesBeside(resolver).length, output);
  if (user === "runner") assert.match(output, /^PORTS [1-9]/m);
  if (user === "root") assert.equal(results.filter((l) => l === "SPOOFED no no no").length, 1, output);
  assert.deepEqual(results.filter((l) => l.startsWith("SERVED") && !l.endsWith(" REACHED")), [], output);
  assert.equal(results.filter((l) => l.startsWith("SERVED")).length, served.length + servedNames.length + 1, output);
  const allowed = [/^tcp 93\.184\.216\.34 80$/, /^tcp 2606:2800:220::34 80$/, /^tcp 10\.50\.0\.77 8080$/, /^(udp|tcp) 9\.9\.9\.9 53$/, /^udp 93\.184\.216\.34 5555$/,
    new RegExp(`^(udp|tcp) ${resolver.replaceAll(".", "\\.")} 53$`)];
  const arrived = [...lines("host.log"), ...lines("world.log")];
  assert.deepEqual([...new Set(arrived.filter((l) => !allowed.some((a) => a.test(l))))], [], "what arrived");
  assert.ok(arrived.includes("tcp 93.184.216.34 80") && arrived.includes("udp 93.184.216.34 5555") && arrived.some((l) => l.endsWith(`${resolver} 53`)), arrived.join("\n"));
}

function deploy(image, class_ = {}, runnerUrl = "http://10.0.2.2:{PORT}") {
  const deployment = new Deployment({
    dir: fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-net-")), runnerUrl,
    config: { limits: { max_vms: 1 }, reaper: { interval: "2s", relaunch_after: "5m", startup_timeout: "10m" } } });
  deployment.options.classes = [deployment.fakeQemuClass({
    max_vms: 1, max_duration: "10m", idle_timeout: "60s",
    qemu: { image, binary: "", accel: "auto", memory: "256MiB", restore: true, boot_timeout: "5m", confine: true,
      allow: ["127.0.0.1:{PORT}", "10.50.0.77:8080"], ...class_.qemu }, ...(class_.proxy ? { proxy: class_.proxy } : {}) })];
  return deployment;
}

for (const [user, resolvers] of [["runner", ["127.0.0.53", "10.50.0.77"]], ["root", ["9.9.9.9"]]]) {
  test(`vm_as_${user}_reaches_the_internet_and_nothing_else`, { skip: images[user] ? false : "no image" }, async () => {
    const deployment = deploy(images[user]);
    try {
      await deployment.startAll();
      for (const resolver of resolvers) judge(await probe(deployment, user, resolver), user, resolver);
      // One line for each kind of refusal of each VM, and the metric has them all.
      const kinds = ["loopback", "link_local", "private", "neighbour", "host_address"];
      await until("the refusals are logged", () => kinds.every((kind) => deployment.worker.events.some((e) => e.msg === "vm_network_refused" && e.kind === kind)), { seconds: 30 });
      const said = deployment.worker.events.filter((e) => e.msg === "vm_network_refused").map((e) => `${e.vm} ${e.kind}`);
      assert.equal(new Set(said).size, said.length, said.join("\n"));
      const { admin_port: port } = deployment.worker.events.find((e) => e.msg === "started");
      const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      assert.match(metrics, /mayfly_vm_network_refused_total\{kind="link_local"\} [1-9]/);
    } catch (error) {
      throw new Error(`${error.message}\n${deployment.tails()}`);
    } finally {
      await deployment.stop();
    }
  });
}

// An HTTP proxy on the host's loopback, which counts its connections.
async function startProxy() {
  const proxy = { now: 0, most: 0 };
  proxy.server = http.createServer((request, response) => {
    const up = http.request(request.url, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    up.on("error", () => response.destroy());
    request.pipe(up);
  });
  proxy.server.on("connection", (socket) => {
    proxy.most = Math.max(proxy.most, ++proxy.now);
    socket.on("error", () => {}).on("close", () => proxy.now--);
  });
  await new Promise((done) => proxy.server.listen(0, "127.0.0.1", done));
  return proxy;
}

test("proxy_mode_reaches_the_proxy_alone_over_few_connections_and_no_process_each", async () => {
  const proxy = await startProxy();
  const deployment = deploy(images.runner ?? images.root, { proxy: { http: `http://127.0.0.1:${proxy.server.address().port}` }, qemu: { network: "proxy", allow: [] } }, "http://127.0.0.1:{PORT}");
  const command = `
    try() { if echo | nc -w 4 "$1" "$2" 2>/dev/null | grep -q REACHED; then echo REACHED; else echo no; fi; }
    for to in "93.184.216.34 80" "10.0.2.2 6379" "10.50.0.77 8080" "169.254.169.254 80"; do echo "TCP $to $(try $to)"; done
    nslookup a.test 10.0.2.3 2>/dev/null | grep -q 93.184.216.34 && echo "UDP names REACHED"
    for i in $(seq 1 100); do (sleep 15 | nc 10.0.2.2 3128 >/dev/null 2>&1) & done; wait; echo "OPENED all"`;
  try {
    await deployment.startAll();
    const [{ id }] = await deployment.queueJobs({ command, name: "many connections" });
    let processes = 0;
    await until("the job has ended", async () => {
      processes = Math.max(processes, deployment.processes().length);
      return (await deployment.job(id)).state === "completed";
    }, { seconds: 400, every_ms: 300 });
    const output = (await deployment.job(id)).output;
    assert.equal((output.match(/^TCP .* no$/gm) ?? []).length, 4, output);
    assert.ok(!output.includes("REACHED") && output.includes("OPENED all"), output);
    assert.ok(processes >= 2 && processes <= 4, `${processes} processes for one VM`);
    // Of the 32, the runner's own that have just ended hold some for seconds more, as they have memory for that long.
    assert.ok(proxy.most > 16 && proxy.most <= 32, `${proxy.most} connections at once`);
    await until("the bound is logged", () => deployment.worker.events.some((e) => e.msg === "vm_network_refused" && e.kind === "connections"), { seconds: 30 });
  } catch (error) {
    throw new Error(`${error.message}\n${deployment.tails()}`);
  } finally {
    await deployment.stop();
    proxy.server.close();
  }
});
