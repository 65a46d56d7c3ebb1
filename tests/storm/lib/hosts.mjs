// A host is gone, with its worker, its reaper, its disk and its VMs, and another one comes later. Two hosts run VMs of stand-ins for QEMU, beside
// the class on Lambda; they and their programs are on this machine, each with a `state_dir` of its own.
import fs from "node:fs";
import path from "node:path";
import { sleep, until } from "../../lib/wait.mjs";
import { lines } from "./verdict.mjs";

const METAL = ["self-hosted", "metal"];
const CAP = 8;
const MAX_DURATION_S = 300;
const FREE_S = 60 + 60; // deadline_grace_period, and so long until it is noticed
const REPLACED_S = 120;

const of = (s, seconds) => Math.round((1000 * seconds) / s.scale);
const stateDir = (s, n) => path.join(s.dir, `host-${n}`);
const fileOf = (s, n) => path.join(s.dir, `mayfly-host-${n}.yaml`);

function makeHost(s, n) {
  fs.mkdirSync(stateDir(s, n), { mode: 0o755 });
  s.saveConfig(fileOf(s, n), { ...s.config, state_dir: stateDir(s, n) });
  return { file: fileOf(s, n) };
}

// The processes of a host's VMs, of all hosts without a number: {pid, vm}, by the VM's folder, in which each works.
function processes(s, n = "\\d+") {
  const within = new RegExp(`^${stateDir(s, n)}/storm\\.metal/([^/]+)`);
  return fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const vm = within.exec(fs.readlinkSync(`/proc/${pid}/cwd`))?.[1];
      return vm ? [{ pid: Number(pid), vm }] : [];
    } catch { return []; }
  });
}

const living = (s) => new Set(processes(s).map(({ vm }) => vm)).size;
const kill = (found) => { for (const { pid } of found) { try { process.kill(pid, "SIGKILL"); } catch { /* gone */ } } };
const vmsOn = (s, n) => fs.readdirSync(path.join(stateDir(s, n), "storm.metal")).filter((name) => name.startsWith("mf-"));
const rowsOf = async (s, names) => (await s.lasting.ctl("vms"))?.filter((vm) => names.has(vm.vm)).length ?? null;

export const hostGone = {
  lanes: ["storm-launch_metal"],
  jobs: () => ({ labels: METAL, cap: CAP }),
  // A VM's slot is free long before the condition ends, so no job may be longer.
  longestShare: 0.4,
  configure: (s) => {
    s.config.classes.push({ ...s.config.classes[0], name: "metal", labels: METAL, required_labels: METAL, provider: "qemu", max_vms: CAP, max_duration: `${of(s, MAX_DURATION_S)}ms`,
      lambda: undefined, qemu: { image: path.join(s.bin, "tests/fakes/qemu/image"), binary: path.join(s.bin, "tests/fakes/qemu/fake-qemu"), accel: "tcg", cpus: 1, memory: "64MiB",
        memory_overcommit: 1000, restore: false, boot_timeout: "3500ms", allow: [`127.0.0.1:${new URL(s.githubUrl).port}`], confine: false } });
    s.config.limits.max_vms += CAP;
    s.config.heartbeat_interval = `${of(s, 10)}ms`;
    s.config.worker.vm_uids = ""; // the stand-in reads and writes files of this user
    s.hosts = { peak: 0 };
    for (const n of [1, 2]) makeHost(s, n);
  },
  place: (s, kind, n) => (kind === "ingress" ? {} : { file: fileOf(s, Math.min(n, 2)) }),
  start: async (s) => { s.hosts.meter = setInterval(() => { s.hosts.peak = Math.max(s.hosts.peak, living(s)); }, 1000); },
  stop: (s) => {
    clearInterval(s.hosts?.meter);
    s.hosts.left = living(s);
    kill(processes(s));
  },
  begin: async (s, c) => {
    for (const program of s.daemons.filter((one) => one.args.includes(fileOf(s, 1)))) await program.stop("SIGKILL");
    s.hosts.gone = new Set(vmsOn(s, 1));
    const dead = () => { kill(processes(s, 1)); return processes(s, 1).length === 0; };
    await until("the host's VMs are dead", dead, { seconds: 10, every_ms: 20 });
    s.hosts.running = (await s.github("GET", "/_fake/jobs?state=in_progress")).filter((job) => s.hosts.gone.has(job.runner)).length;
    fs.rmSync(stateDir(s, 1), { recursive: true });
    c.had = await rowsOf(s, s.hosts.gone);
    s.note(`host-gone: it had ${c.had} VMs, which ran ${s.hosts.running} jobs`);
    c.watched = watchSlots(s);
    c.another = sleep(of(s, REPLACED_S)).then(async () => {
      const host = makeHost(s, 3);
      for (const kind of ["worker", "reaper"]) await s.daemon(kind, 3, host);
      s.note("host-gone: another host is there");
    });
    c.another.catch((error) => s.note(`host-gone: ${error.message}`));
  },
  end: async (s, c) => Promise.all([c.another, c.watched]),
  failed: async (s, c) => c.had,
  verdict: async (s) => {
    const { gone, freed_s: freed, running, peak, left } = s.hosts;
    const others = [];
    for await (const e of lines(s.githubLog)) if (e.event === "job_lost" && !gone.has(e.runner)) others.push(e.job);
    const allowed = (MAX_DURATION_S + FREE_S) / s.scale;
    const verdict = { jobs_of_host: running, lost_elsewhere: others.length, host_slots_free_s: freed, host_slots_allowed_s: allowed, host_vms_peak: peak, host_over_cap: Math.max(0, peak - CAP), host_vms_left: left };
    const failed = ["lost_elsewhere", "host_over_cap", "host_vms_left"].filter((key) => verdict[key] !== 0);
    if (!(freed <= allowed)) failed.push("host_slots_free_s");
    return { verdict, failed };
  },
};

// When the last VM of the host no longer holds a slot.
async function watchSlots(s) {
  const from = Date.now();
  while (!s.ended && Date.now() < from + of(s, 2 * (MAX_DURATION_S + FREE_S))) {
    if (await rowsOf(s, s.hosts.gone) === 0) {
      s.hosts.freed_s = Number(((Date.now() - from) / 1000).toFixed(1));
      return;
    }
    await sleep(500);
  }
}
