// The installed package under systemd, as operations.md says: the example's configuration, secrets as credentials, `systemctl enable`.
// VMs are the stand-in for QEMU: one that is emulated in an emulated VM does not boot within ten minutes.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { until } from "../../lib/wait.mjs";
import { judge } from "../lib/deployment.mjs";
import { Booted } from "./booted.mjs";

const programs = ["ingress", "worker", "reaper"];
const APP = "4711";
const BINARY = "/usr/local/bin/fake-qemu";
const ofVms = "ps -eo uid,pid,comm | grep fake-qemu";
const goOn = "/run/go-on"; // of the VM of `Booted`, in which jobs of the stand-in run
const exposure = { ingress: 25, worker: 40, reaper: 25 }; // tenths, of security.md

// The example, with the App and the address of the stand-in for GitHub, and that for QEMU.
function configuration(root, url) {
  const changes = [
    ['id: "123456"', `id: "${APP}"`],
    ["  scope: organization", `  api_url: ${url}\n  scope: organization`],
    ["path: /webhook}", "path: /webhook, admin_listen: 0.0.0.0:9101}\nworker: {admin_listen: 0.0.0.0:9102}\nreaper: {admin_listen: 0.0.0.0:9103}"],
    ["cpus: 2, memory: 4GiB, disk_size: 16GiB", `binary: ${BINARY}, accel: tcg, restore: false, confine: false, memory: 64MiB, disk_size: 64MiB, allow: ["${new URL(url).host}"]`],
  ];
  let text = fs.readFileSync(path.join(root, "usr/share/doc/mayfly/examples/mayfly.yaml"), "utf8");
  for (const [from, to] of changes) {
    assert.ok(text.includes(from), `the example has no "${from}"`);
    text = text.replace(from, to);
  }
  return text;
}

async function install(vm, root, key) {
  const standIn = path.join(process.env.MAYFLY_BUILD, "tests/fakes/qemu");
  const files = { "mayfly.yaml": [configuration(root, vm.url), 0o644], "app.pem": [key, 0o400], "webhook-secret": [vm.secret, 0o400] };
  for (const [name, [text, mode]] of Object.entries(files)) fs.writeFileSync(path.join(root, "etc/mayfly", name), text, { mode });
  fs.cpSync(path.join(standIn, "fake-qemu"), path.join(root, BINARY));
  fs.cpSync(path.join(standIn, "image"), path.join(root, "var/lib/mayfly/image"), { recursive: true });
}

const ready = (vm, names) => until(`${names.join(", ")} are ready`, async () => {
  for (const program of names) if (await vm.status(program, "/readyz") !== 200) return false;
  return true;
}, { seconds: 120, every_ms: 500 });

// With the secrets, as operations.md has it. The programs do not run yet: their ports are free.
async function onlineCheck(vm) {
  const told = await vm.run(`systemd-run --quiet --pipe --wait -p User=mayfly-worker -p LoadCredential=app-key:/etc/mayfly/app.pem \
    "$(command -v mayfly-worker)" --config /etc/mayfly/mayfly.yaml --check-config --online`);
  assert.match(told, /^ok .*github/im);
}

async function unitsStart(t, vm) {
  await vm.run(`systemctl enable --now ${programs.map((p) => `mayfly-${p}`).join(" ")}`);
  await ready(vm, programs);
  for (const program of programs) {
    assert.equal(await vm.run(`stat -c %U /proc/${await vm.show(program, "MainPID")}`), `mayfly-${program}`);
    const judged = await vm.run(`systemd-analyze security --no-pager --threshold=${exposure[program]} mayfly-${program} | tail -n 1`);
    t.diagnostic(judged.trim());
    assert.ok(Number(/: ([\d.]+)/.exec(judged)[1]) * 10 <= exposure[program], judged);
  }
  const unsigned = await fetch(`http://127.0.0.1:${vm.ports.webhook}/webhook`, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
  assert.equal(unsigned.status, 401);
}

// What mmdebstrap, the builder and its links do as root, in the confinement of the unit. The build itself takes too long in an emulated VM, and the
// network.
const build = `root=$(mktemp -d)
chmod 755 $root
mkdir $root/dev $root/proc $root/sys $root/usr
mknod -m 666 $root/dev/null c 1 3
: > $root/dev/zero
chown 21:22 $root/dev/zero
chmod 4755 $root/dev/zero
ln -s usr/lib usr/lib64 usr/bin $root
mount --bind /dev/zero $root/dev/zero
mount -t proc proc $root/proc
mount -t sysfs -o ro,nosuid,nodev,noexec sys $root/sys
mount --bind /usr $root/usr
chroot $root /bin/sh -ec 'kill -0 1; head -c 1 /dev/zero > /dev/null; setpriv --reuid=42 --clear-groups true'
umount $root/usr $root/sys $root/proc $root/dev/zero
: > /var/cache/mayfly-image/archive
mkdir /var/lib/mayfly/tried.versions
ln -s tried.versions /var/lib/mayfly/tried
rm -r /var/lib/mayfly/tried*
for file in /etc/mayfly/tried /usr/bin/tried; do if : > $file; then exit 1; fi; done
echo built in $root`;

async function imagesCanBeBuilt(t, vm) {
  const units = "mayfly-image-build.service mayfly-image-build.timer mayfly-image-refresh.service mayfly-image-refresh.timer";
  const found = await vm.run(`systemd-analyze verify --man=no ${units} 2>&1`);
  assert.equal(found.replace(/^.*Unknown key '?DelegateSubgroup'?.*\n?/gm, ""), ""); // of the worker, before systemd 254
  for (const [unit, most] of Object.entries({ "image-build": 65, "image-refresh": 25 })) {
    t.diagnostic(await vm.run(`systemd-analyze security --no-pager --threshold=${most} mayfly-${unit} | tail -n 1`));
  }
  const dropIn = "/run/systemd/system/mayfly-image-build.service.d";
  const pid = await vm.show("worker", "MainPID");
  await vm.run(`mkdir -p ${dropIn} && printf '[Service]\nExecStart=\nExecStart=/bin/bash -eux /run/build\n' > ${dropIn}/try.conf
cat > /run/build <<'SCRIPT'
${build}
SCRIPT
systemctl daemon-reload && systemctl start mayfly-image-build.service || { journalctl -q -o cat -u mayfly-image-build.service; false; }`);
  assert.match(await vm.run("journalctl -q -o cat -u mayfly-image-build.service"), /^built in \/var\/tmp\//m);
  await until("the worker looks at the image again", async () => (await vm.run("journalctl -q -o cat -u mayfly-worker")).includes('"msg":"config_reloaded"'), { every_ms: 1000 });
  assert.equal(await vm.show("worker", "MainPID"), pid, "it is reloaded, not restarted");
  await vm.run(`rm -r ${dropIn} && systemctl daemon-reload && systemctl enable --now mayfly-image-build.timer && systemctl is-active mayfly-image-build.timer`);
}

async function jobRuns(vm) {
  const [job] = await vm.queueJobs({ command: "id -un; uname -s" });
  await vm.untilJobsEnd(1, { seconds: 300 });
  const ended = await vm.job(job.id);
  assert.equal(ended.conclusion, "success", ended.output);
  assert.match(ended.output, /Linux/);
}

async function jobThatWaits(vm) {
  const [job] = await vm.queueJobs({ command: `until [ -e ${goOn} ]; do sleep 1; done; echo gone on` });
  await until("the job runs", async () => (await vm.job(job.id)).state === "in_progress", { seconds: 300, every_ms: 1000 });
  return job;
}

async function upgrade(vm, version) {
  const kept = "sha256sum /etc/mayfly/* && stat -c '%n %i %U %G %a' /etc/mayfly/* /var/lib/mayfly/*/*.db";
  const files = await vm.run(kept);
  const qemu = await vm.run(ofVms);
  assert.match(qemu, /^ *21000\d{5} /, "the VM has a user of its own");
  await vm.run("systemctl stop mayfly-reaper");
  const before = {};
  for (const program of programs) before[program] = await vm.show(program, "MainPID");
  await vm.run("dpkg -i /mayfly.deb", { seconds: 900 });
  assert.equal(await vm.run("dpkg-query -W -f '${Version}' mayfly"), version);
  await ready(vm, ["ingress", "worker"]);
  for (const program of ["ingress", "worker"]) assert.notEqual(await vm.show(program, "MainPID"), before[program], `${program} was not restarted`);
  assert.equal(await vm.show("reaper", "ActiveState"), "inactive", "what was stopped stays so");
  assert.equal(await vm.run(kept), files);
  assert.equal(await vm.run(ofVms), qemu, "the VM goes on");
}

async function stopDrains(vm) {
  const qemu = await vm.run(ofVms);
  await vm.run("systemctl stop mayfly-worker mayfly-ingress");
  for (const program of ["worker", "ingress"]) {
    assert.deepEqual([await vm.show(program, "Result"), await vm.show(program, "ExecMainStatus")], ["success", "0"], program);
    const last = (await vm.run(`journalctl -q -o cat -u mayfly-${program} | grep '^{' | tail -n 1`)).split("\n").at(-1);
    assert.deepEqual([JSON.parse(last).msg, JSON.parse(last).exit_code], ["stopped", 0], last);
  }
  assert.equal(await vm.run(ofVms), qemu, "the VM outlives its worker");
  await vm.run("systemctl start mayfly-worker mayfly-ingress mayfly-reaper");
  await ready(vm, programs);
}

async function purge(vm) {
  await vm.run("dpkg --purge mayfly", { seconds: 900 });
  assert.equal(await vm.run("pgrep -f ^/usr/bin/mayfly || true"), "");
  assert.equal(await vm.run("systemctl list-unit-files --no-legend 'mayfly*'; find /etc/systemd -name 'mayfly*'"), "");
  assert.match(await vm.run("ls /etc/mayfly /var/lib/mayfly/ledger"), /mayfly.yaml[^]*ledger.db/);
}

export async function underSystemd(t, { root, work, unmount, version }) {
  const { privateKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
  const key = path.join(work, "app.pem");
  fs.writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const vm = new Booted({ fakeArgs: ["--app-id", APP, "--app-key", key] });
  const explained = async (error) => {
    const journal = await vm.run("journalctl -q -n 60 -o cat -u 'mayfly-*'").catch((e) => `${e.message}\n${vm.console}`);
    return new Error(`${error.message}\n${journal}`);
  };
  const step = (name, body) => t.test(name, (u) => body(u).catch(async (error) => { throw await explained(error); }));
  try {
    await vm.prepare(root);
    await install(vm, root, fs.readFileSync(key));
    unmount();
    await vm.boot(root, work);
    await step("the online check finds nothing wrong", () => onlineCheck(vm));
    await step("the units start, as their users", (u) => unitsStart(u, vm));
    await step("images can be built", (u) => imagesCanBeBuilt(u, vm));
    await step("a job runs", () => jobRuns(vm));
    const job = await jobThatWaits(vm);
    await step("an upgrade restarts what runs and nothing else, and keeps configuration, data and VMs", () => upgrade(vm, version));
    await step("systemctl stop drains; VMs go on", () => stopDrains(vm));
    await vm.run(`touch ${goOn}`);
    await vm.untilJobsEnd(2, { seconds: 600 });
    assert.equal((await vm.job(job.id)).conclusion, "success");
    assert.deepEqual(judge(vm.log()).ranTwice, []);
    await until("no VM is left", async () => (await vm.ask("vms")).length === 0, { seconds: 300, every_ms: 1000 });
    await step("purge stops and disables all, and keeps the operator's data", () => purge(vm));
  } catch (error) { throw await explained(error); } finally { await vm.stop(); }
}
