// The Debian package of one release, MAYFLY_SUITE.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Deployment, judge } from "../lib/deployment.mjs";
import { needed } from "./booted.mjs";
import { inRoot, makeRoot, repack } from "./root.mjs";
import { underSystemd } from "./under_systemd.mjs";

const source = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
const suite = process.env.MAYFLY_SUITE ?? "bookworm";
const work = fs.mkdtempSync(path.join(os.tmpdir(), "mayfly-package-"));
const root = path.join(work, "root");
const programs = ["ingress", "worker", "reaper"];
let missing; // why there is no root
let deb;

const sh = (command, ...args) => execFileSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"] });
const debsIn = (folder) => fs.readdirSync(folder).filter((name) => /^mayfly_.*\.deb$/.test(name)).map((name) => path.join(folder, name));
const ofHost = () => /^VERSION_CODENAME=(.*)$/m.exec(fs.readFileSync("/etc/os-release", "utf8"))?.[1];

function build(tree, folder) {
  const native = suite === ofHost() ? [] : ["--suite", suite];
  sh(path.join(tree, "deploy/debian/build"), ...native, "--output", folder);
  return debsIn(folder)[0];
}

before(() => {
  missing = makeRoot(suite, root);
  if (missing) return;
  deb = debsIn(process.env.MAYFLY_PACKAGES ?? work)[0] ?? build(source, path.join(work, "packages"));
  fs.copyFileSync(deb, path.join(root, "mayfly.deb"));
});
const unmount = () => { for (const mounted of ["dev", "proc"]) spawnSync("umount", ["-R", path.join(root, mounted)]); };
after(() => {
  unmount();
  if (!fs.existsSync(path.join(root, "proc/self"))) fs.rmSync(work, { recursive: true, force: true });
});
const needsRoot = (name, body) => test(name, (t) => (missing ? t.skip(`no root of ${suite}: ${missing}`) : body(t)));

needsRoot("lintian finds nothing", () => {
  const found = spawnSync("lintian", ["--no-cfg", "--fail-on", "error,warning", "--suppress-tags", suppressed.join(","), deb], { encoding: "utf8" });
  assert.equal(found.stdout, "");
  assert.equal(found.status, 0, found.stderr);
});
// Of a package for Debian's own archive.
const suppressed = ["initial-upload-closes-no-bugs"];

needsRoot("equal sources give equal bytes, wherever and by whomever they are built", (t) => {
  if (suite !== ofHost()) return t.skip("built twice for this host's release alone");
  const copy = path.join(work, "a copy elsewhere");
  fs.mkdirSync(copy);
  for (const part of ["CMakeLists.txt", "LICENSE", "README.md", "common", "deploy", "ingress", "reaper", "worker"]) {
    fs.cpSync(path.join(source, part), path.join(copy, part), { recursive: true });
  }
  const umask = process.umask(0o077);
  try {
    const second = build(copy, path.join(work, "second"));
    assert.ok(fs.readFileSync(second).equals(fs.readFileSync(deb)), `${path.basename(deb)} differs: compare ${deb} and ${second}`);
  } finally { process.umask(umask); }
  return undefined;
});

needsRoot("the package holds what cmake --install installs", () => {
  const build = process.env.MAYFLY_BUILD;
  const tree = path.join(work, "installed");
  execFileSync("cmake", ["--install", build], { env: { ...process.env, DESTDIR: tree }, stdio: "ignore" });
  const installed = sh("find", tree, "(", "-type", "f", "-o", "-type", "l", ")", "-printf", "%P\n").trim().split("\n").map((name) => name.replace(/^usr\/local\//, ""));
  const packed = sh("sh", "-c", `dpkg-deb --fsys-tarfile '${deb}' | tar -t`).trim().split("\n")
    .filter((name) => !name.endsWith("/")).map((name) => name.replace(/^\.\/(usr\/)?/, "").replace(/(share\/man\/.*)\.gz$/, "$1"));
  const own = ["share/doc/mayfly/changelog.gz", "share/doc/mayfly/copyright", "share/lintian/overrides/mayfly"];
  assert.deepEqual(packed.filter((name) => !own.includes(name)).sort(), installed.sort());
});

needsRoot("apt installs it, with what it depends on; its users and directories are there", () => {
  const emulator = sh("dpkg", "--print-architecture").trim() === "arm64" ? "qemu-system-arm" : "qemu-system-x86";
  inRoot(root, "apt-get", "install", "-y", "--no-install-recommends", "/mayfly.deb", emulator, "qemu-utils");
  for (const program of programs) {
    const groups = inRoot(root, "id", "-nG", `mayfly-${program}`).trim().split(" ").sort();
    const shared = program === "ingress" ? ["mayfly-queue"] : ["mayfly-ledger", "mayfly-queue", "mayfly-vms"];
    assert.deepEqual(groups, [`mayfly-${program}`, ...shared, ...(program === "worker" ? ["kvm"] : [])].sort());
    assert.equal(inRoot(root, `mayfly-${program}`, "--version").split(" ")[0], `mayfly-${program}`);
  }
  assert.deepEqual(inRoot(root, "stat", "-c", "%n %a %U %G", "/etc/mayfly", ...["queue", "ledger", "spool", "vms"].map((n) => `/var/lib/mayfly/${n}`)).trim().split("\n"), [
    "/etc/mayfly 755 root root",
    "/var/lib/mayfly/queue 2770 root mayfly-queue",
    "/var/lib/mayfly/ledger 2770 root mayfly-ledger",
    "/var/lib/mayfly/spool 700 mayfly-ingress mayfly-ingress",
    "/var/lib/mayfly/vms 2770 root mayfly-vms",
  ]);
  for (const program of programs) assert.equal(enabled(program), "disabled");
});
const enabled = (program) => (fs.existsSync(path.join(root, `etc/systemd/system/multi-user.target.wants/mayfly-${program}.service`)) ? "enabled" : "disabled");

needsRoot("the example passes --check-config as the programs' users", () => {
  inRoot(root, "cp", "/usr/share/doc/mayfly/examples/mayfly.yaml", "/etc/mayfly/mayfly.yaml");
  for (const program of programs) {
    inRoot(root, "setpriv", `--reuid=mayfly-${program}`, `--regid=mayfly-${program}`, "--init-groups", `/usr/bin/mayfly-${program}`, "--config", "/etc/mayfly/mayfly.yaml", "--check-config");
  }
});

// The programs of the root, as their users, in the directories of the package.
class Installed extends Deployment {
  constructor(options) {
    super(options);
    this.stateDir = path.join(root, "var/lib/mayfly/vms");
    for (const program of programs) {
      const caps = program === "worker" ? "--inh-caps=+setuid,+setgid --ambient-caps=+setuid,+setgid --bounding-set=-all,+setuid,+setgid" : "--bounding-set=-all";
      this.wrapper(`mayfly-${program}`, `setpriv --reuid=mayfly-${program} --regid=mayfly-${program} --init-groups --no-new-privs ${caps}`);
    }
    this.wrapper("mayflyctl", "");
  }

  wrapper(name, as) {
    const text = `#!/bin/sh\nshift 2\nexec chroot '${root}' ${as} /usr/bin/${name} --config /etc/mayfly/mayfly.yaml "$@"\n`;
    fs.writeFileSync(this.program(name), text, { mode: 0o755 });
  }

  program(name) { return path.join(this.dir, `run-${name}`); }

  writeConfig() {
    super.writeConfig();
    fs.copyFileSync(this.configFile, path.join(root, "etc/mayfly/mayfly.yaml"));
    fs.chmodSync(path.join(root, "etc/mayfly/mayfly.yaml"), 0o644);
  }
}

needsRoot("a job runs on a VM of the demo image", async () => {
  const image = path.join(root, "var/lib/mayfly/image");
  sh(path.join(source, "deploy/image/build-demo-image"), "--agent", path.join(root, "usr/libexec/mayfly/mayfly-agent"),
    "--listener", path.join(process.env.MAYFLY_BUILD, "deploy/image/standin/Runner.Listener"), "--output", image);
  const deployment = new Installed({
    runnerUrl: "http://10.0.2.2:{PORT}",
    config: {
      queue: "sqlite:///var/lib/mayfly/queue/queue.db", ledger: "sqlite:///var/lib/mayfly/ledger/ledger.db", state_dir: "/var/lib/mayfly/vms",
      reaper: { interval: "2s", relaunch_after: "5m", startup_timeout: "15m" },
    },
  });
  deployment.options.classes = [deployment.fakeQemuClass({
    max_duration: "15m", idle_timeout: "2m",
    qemu: { image: "/var/lib/mayfly/image", binary: "", memory: "256MiB", memory_overcommit: 1, restore: true, boot_timeout: "10m", confine: true },
  })];
  try {
    await deployment.startAll();
    const [job] = await deployment.queueJobs({ command: "id -un; uname -s" });
    await deployment.untilJobsEnd(1, { seconds: 900 });
    const ended = await deployment.job(job.id);
    assert.equal(ended.conclusion, "success", ended.output);
    assert.match(ended.output, /Linux/);
    await deployment.untilQuiet({ seconds: 120 });
    assert.deepEqual(judge(deployment.log()).ranTwice, []);
    assert.equal(fs.statSync(path.join(root, "var/lib/mayfly/queue/queue.db")).mode & 0o777, 0o660);
    for (const program of deployment.programs) assert.equal((await program.stop()).code, 0, `${program.name}: ${program.tail()}`);
  } catch (error) {
    throw new Error(`${error.message}\n${deployment.tails()}`);
  } finally { await deployment.stop(); }
});

needsRoot("an upgrade keeps configuration and data", () => {
  const before = inRoot(root, "sha256sum", "/etc/mayfly/mayfly.yaml", "/var/lib/mayfly/ledger/ledger.db");
  fs.copyFileSync(repack(deb, "9.0", work), path.join(root, "next.deb"));
  inRoot(root, "apt-get", "install", "-y", "/next.deb");
  assert.equal(inRoot(root, "dpkg-query", "-W", "-f", "${Version}", "mayfly"), "9.0");
  assert.equal(inRoot(root, "sha256sum", "/etc/mayfly/mayfly.yaml", "/var/lib/mayfly/ledger/ledger.db"), before);
  for (const program of programs) assert.equal(enabled(program), "disabled");
});

needsRoot("purge keeps the operator's data, and removes the rest", () => {
  const said = inRoot(root, "apt-get", "purge", "-y", "mayfly");
  assert.match(said, /mayfly: \/var\/lib\/mayfly is not empty and stays/);
  assert.ok(fs.existsSync(path.join(root, "var/lib/mayfly/ledger/ledger.db")));
  assert.ok(fs.existsSync(path.join(root, "etc/mayfly/mayfly.yaml")));
  assert.ok(!fs.existsSync(path.join(root, "var/lib/mayfly/spool")));
  for (const folder of ["var/lib/mayfly", "etc/mayfly"]) fs.rmSync(path.join(root, folder), { recursive: true });
  inRoot(root, "apt-get", "install", "-y", "--no-install-recommends", "/mayfly.deb");
  inRoot(root, "apt-get", "purge", "-y", "mayfly");
  for (const folder of ["var/lib/mayfly", "etc/mayfly", "usr/libexec/mayfly", "usr/share/doc/mayfly"]) assert.ok(!fs.existsSync(path.join(root, folder)), folder);
});

// The last: what is mounted in the root is not any more.
needsRoot("under systemd, an older package is upgraded while a job runs", async (t) => {
  fs.copyFileSync(repack(deb, "0.0.9", work), path.join(root, "old.deb"));
  inRoot(root, "apt-get", "install", "-y", "--no-install-recommends", ...needed, "qemu-utils", "/old.deb");
  inRoot(root, "apt-get", "clean");
  await underSystemd(t, { root, work, unmount, version: sh("dpkg-deb", "-f", deb, "Version").trim() });
});
