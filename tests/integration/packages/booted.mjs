// A root of root.mjs booted with its systemd, in a VM without KVM; the stand-in for GitHub runs on this host. A unit of the VM executes
// what comes to its port as root.
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { spawn } from "../../lib/child.mjs";
import { until } from "../../lib/wait.mjs";
import { Deployment } from "../lib/deployment.mjs";
import { inRoot } from "./root.mjs";

const COMMANDS = 9000; // of the VM
const INGRESS = 8080;
const ADMIN = { ingress: 9101, worker: 9102, reaper: 9103 };

// Installed in the root beside what is tested.
export const needed = ["systemd-sysv", "udev", "dbus", "procps"];

// The address of the stand-in is the same for the programs, which run in the VM, and for this host: the VM forwards it.
const units = (port) => ({
  "network/eth0.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n",
  "system/commands.socket": `[Socket]\nListenStream=${COMMANDS}\nAccept=yes\n[Install]\nWantedBy=sockets.target\n`,
  "system/commands@.service": `[Service]
ExecStart=/bin/bash -c 'read -r -d "" script; eval "$$script" < /dev/null; printf "\\n%%s" $$?'
StandardInput=socket
StandardOutput=socket
StandardError=socket
`,
  "system/github.socket": `[Socket]\nListenStream=127.0.0.1:${port}\n[Install]\nWantedBy=sockets.target\n`,
  "system/github.service": `[Service]\nExecStart=/lib/systemd/systemd-socket-proxyd 10.0.2.2:${port}\n`,
});

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  const { port } = server.address();
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

// The whole response to one request on a new connection; rejects when the peer resets it, or is silent for too long.
function exchange(port, request, seconds) {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = net.connect(port, "127.0.0.1", () => socket.write(request));
    socket.setEncoding("utf8").setTimeout(seconds * 1000, () => socket.destroy(new Error(`no response in ${seconds} s: ${text}`)));
    socket.on("data", (data) => { text += data; }).on("end", () => resolve(text)).on("error", reject).on("close", () => resolve(text));
  });
}

export class Booted extends Deployment {
  async prepare(root) {
    await this.startGitHub();
    for (const [name, text] of Object.entries(units(new URL(this.url).port))) {
      fs.mkdirSync(path.dirname(path.join(root, "etc/systemd", name)), { recursive: true });
      fs.writeFileSync(path.join(root, "etc/systemd", name), text);
    }
    inRoot(root, "systemctl", "enable", "systemd-networkd", "commands.socket", "github.socket");
  }

  // What is mounted in the root must not be any more.
  async boot(root, work) {
    const ports = {};
    const forwards = [];
    for (const [name, of] of Object.entries({ commands: COMMANDS, webhook: INGRESS, ...ADMIN })) {
      ports[name] = await freePort();
      forwards.push(`tcp:127.0.0.1:${ports[name]}-:${of}`);
    }
    this.ports = ports;
    const script = path.join(path.dirname(fileURLToPath(import.meta.url)), "boot");
    this.machine = spawn(script, [root, work, ...forwards], { stdio: ["ignore", "pipe", "pipe"] });
    this.console = "";
    for (const stream of [this.machine.stdout, this.machine.stderr]) stream.setEncoding("utf8").on("data", (text) => { this.console += text; });
    this.machineEnded = new Promise((resolve) => { this.machine.on("close", resolve); });
    await until("the VM has booted", async () => {
      if (this.machine.exitCode !== null) throw new Error(`no VM: ${this.console}`);
      return /running|degraded/.test(await this.run("systemctl is-system-running --wait; true").catch(() => ""));
    }, { seconds: 1500, every_ms: 1000 }).catch((error) => { throw new Error(`${error.message}\n${this.console}`); });
    await this.fake("POST", "/_fake/webhook-url", { url: `http://127.0.0.1:${ports.webhook}/webhook`, secret: this.secret });
  }

  // A script of bash, as root in the VM; its output, in the error if it fails.
  async run(script, { seconds = 600 } = {}) {
    const text = await exchange(this.ports.commands, `${script}\0`, seconds);
    const end = text.lastIndexOf("\n");
    if (text.slice(end + 1) !== "0") throw new Error(`${script}: ${text || "no response"}`);
    return text.slice(0, end).trim();
  }

  // Of the admin port of a program: the status.
  async status(program, target) {
    const text = await exchange(this.ports[program], `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`, 30).catch(() => "");
    return Number(text.split(" ")[1] ?? 0);
  }

  async show(program, property) { return this.run(`systemctl show -p ${property} --value mayfly-${program}.service`); }

  async untilJobsEnd(count, options) {
    const gone = this.machineEnded.then(() => { throw new Error("the VM has ended"); });
    return Promise.race([super.untilJobsEnd(count, options), gone]);
  }

  // As mayflyctl's of this host, but asynchronous.
  async ask(...args) { return JSON.parse(await this.run(`mayflyctl --json ${args.join(" ")}`)); }

  async stop() {
    if (this.machine?.exitCode === null) this.machine.kill("SIGKILL");
    await this.machineEnded;
    await super.stop();
  }
}
