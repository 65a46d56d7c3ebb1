// Conditions that change who is there: a class is removed, a second deployment runs beside the first, programs are of another build. Beside what
// all conditions have (conditions.mjs) they prepare the storm: images, lanes (SQS has its queues before the programs start), what
// configure(s) changes of s.config, place(s, kind, n) of the options of a program, and what start(s, c) starts. `jobs` are labels of further jobs,
// with the most VMs that these have at once;
// `after`, how many of the jobs come once all is over, and in how long.
import { execFile, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { until } from "../../lib/wait.mjs";
import { Balancer } from "./balancer.mjs";
import { judgeApart } from "./apart.mjs";
import { hostGone } from "./hosts.mjs";
import { targetGone } from "./targets.mjs";

const run = promisify(execFile);

// One more class like the storm's own.
function another(s, { name, labels, ...more }) {
  const [one] = s.config.classes;
  return { ...one, name, labels, required_labels: labels, ...more, lambda: { ...one.lambda, image: `${one.lambda.image}-${name}` } };
}

// --- a class is renamed while it has VMs and waiting jobs ---
const OLD = ["self-hosted", "old"];
const oldCap = (s) => Math.ceil(s.cap / 3);
// Programs that were started without the class cannot end its VMs: they stand until then, and hold their slots.
const OLD_DURATION_S = 300;
const classGone = {
  images: ["mayfly-old", "mayfly-new"], lanes: ["storm-launch_old", "storm-launch_new"],
  jobs: (s) => ({ labels: OLD, cap: oldCap(s) }),
  configure: (s) => { s.config.classes.push(another(s, { name: "old", labels: OLD, max_vms: oldCap(s), max_duration: `${Math.round((1000 * OLD_DURATION_S) / s.scale)}ms` })); },
  begin: async (s, c) => {
    const vms = (await s.provider("GET", "/_fake/vms")).filter((vm) => vm.image.includes("mayfly-old") && !/^TERMINAT/.test(vm.state)).length;
    const waiting = (await s.github("GET", "/_fake/jobs?state=queued")).filter((job) => job.labels.includes("old")).length;
    c.had = Math.min(vms, waiting);
    s.note(`class-gone: the class has ${vms} VMs, ${waiting} jobs wait for it`);
    const renamed = another(s, { name: "new", labels: OLD, max_vms: oldCap(s) });
    s.config.classes = [s.config.classes[0], renamed];
    s.saveConfig();
    for (const program of s.daemons) {
      if (c.how === "restart") await restart(s, program);
      else program.signal("SIGHUP");
    }
    c.retired = retire(s, c);
  },
  end: async (s, c) => { await c.retired; },
  failed: async (s, c) => c.had,
};

// Once its programs know of it, as an operator would, and again where messages were in somebody's hands.
async function retire(s, c) {
  const once = async () => {
    const { stdout } = await run(s.tool("deploy/ctl/mayflyctl"), ["--config", s.configFile, "--json", "class", "retire", "old"], { timeout: 30000 });
    s.note(`class retire old: ${stdout.trim()}`);
    return (await s.lasting.ctl("status")).lanes.every(({ lane, ready, leased }) => lane !== "launch.old" || ready + (leased ?? 0) === 0);
  };
  await until("the class's lane is empty", () => once().catch((error) => { s.note(`class retire old: ${error.message}`); return false; }), { seconds: c.ms / 1000, every_ms: 1000 })
    .catch((error) => s.note(error.message));
}

async function restart(s, program) {
  await program.stop("SIGTERM");
  await s.startDaemon(program);
}

// --- two deployments in one store, one account, one organization ---
const EU = ["self-hosted", "eu"];
const EU_KEYS = { id: "AKIDSTORMEU", secret: "storm-secret-eu" };
const euCap = (s) => Math.floor(s.cap * 0.4);
const twoDeployments = {
  images: ["mayfly-eu"], lanes: ["storm-eu-events", "storm-eu-launch_eu"], keys: [`${EU_KEYS.id}:${EU_KEYS.secret}`], app: true,
  jobs: (s) => ({ labels: EU, cap: euCap(s) }),
  // They share the account's quotas; the first one is an App, the second has a token, so that GitHub's stand-in knows whose a call is.
  configure: (s) => {
    for (const name of ["launch_rate", "terminate_rate"]) s.config.limits[name].per_second /= 2;
    const eu = structuredClone(s.config);
    eu.deployment = "storm-eu";
    for (const name of ["queue", "ledger"]) eu[name] = s.store(s[name], name, "storm-eu");
    delete eu.github.app;
    eu.github.token = s.token;
    eu.limits.max_vms = euCap(s);
    eu.classes = [another(s, { name: "eu", labels: EU, max_vms: euCap(s) })];
    s.config.limits.max_vms = s.config.classes[0].max_vms = s.cap - euCap(s);
    s.eu = { config: eu, file: path.join(s.dir, "mayfly-eu.yaml") };
    s.files.push(s.eu.file);
  },
  start: async (s) => {
    const balancer = new Balancer({ timeoutMs: 3000 });
    const url = await balancer.listen();
    const { hook_id: hook } = await s.github("POST", "/_fake/webhook-url", { url: `${url}/webhook`, secret: s.secret, type: "organization", add: true });
    s.eu.config.github.hook.id = hook;
    s.saveConfig(s.eu.file, s.eu.config);
    s.eu.balancer = balancer;
    const env = s.aws ? { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${s.aws.urls.aws}/v2/credentials/eu` } : { AWS_ACCESS_KEY_ID: EU_KEYS.id, AWS_SECRET_ACCESS_KEY: EU_KEYS.secret };
    for (const kind of ["ingress", "worker", "reaper"]) await s.daemon(kind, 1, { name: `eu-${kind}`, file: s.eu.file, balancer, env });
  },
  stop: (s) => s.eu?.balancer?.stop(),
  begin: async () => {},
  end: async (s, c) => { c.apart = await judgeApart({ githubLog: s.githubLog, providerLog: s.providerLog, keysLog: s.aws?.log("aws"), euKey: EU_KEYS.id }); },
  failed: async (s, c) => c.apart?.vms.eu ?? 0,
  // Once all is over.
  verdict: async (s) => {
    const { vms, ...rest } = await judgeApart({ githubLog: s.githubLog, providerLog: s.providerLog, keysLog: s.aws?.log("aws"), euKey: EU_KEYS.id });
    return { verdict: { vms_of: vms, ...rest }, failed: Object.keys(rest).filter((key) => rest[key] > 0) };
  },
};

// --- half of the programs are of the previous build, until they are replaced, one by one ---
const upgrade = {
  configure: (s) => {
    s.previousFile = path.join(s.dir, "mayfly-previous.yaml");
    s.saveConfig(s.previousFile, knownTo(s.previous, s.previousFile, structuredClone(s.config), s));
  },
  place: (s, kind, n) => (n % 2 === 1 ? { build: s.previous, file: s.previousFile } : {}),
  begin: async (s, c) => {
    c.replaced = 0;
    const old = s.daemons.filter((program) => program.build === s.previous);
    c.replacing = (async () => {
      for (const program of old) {
        const at = Date.now() + c.ms / (old.length + 1);
        await until("the next one's turn", () => Date.now() >= at || s.interrupted, { seconds: c.ms, every_ms: 100 });
        s.note(`upgrade: ${program.name} is replaced`);
        await program.stop("SIGTERM");
        s.buildOf(program, s.bin);
        program.args = ["--config", s.configFile];
        await s.startDaemon(program);
        c.replaced += 1;
      }
    })();
    c.replacing.catch((error) => s.note(`upgrade: ${error.message}`));
  },
  end: async (s, c) => c.replacing,
  failed: async (s, c) => c.replaced,
};

// The configuration without the settings that this build does not know.
function knownTo(build, file, config, s) {
  for (;;) {
    s.saveConfig(file, config);
    const { status, stdout, stderr } = spawnSync(path.join(build, "ingress/mayfly-ingress"), ["--config", file, "--check-config"], { encoding: "utf8" });
    const [, key] = /: ([\w.[\]]+): unknown key/.exec(stdout + stderr) ?? [];
    if (status === 0 || !key) return config;
    s.note(`upgrade: the previous build has no ${key}`);
    const parts = key.split(/[.[\]]+/).filter(Boolean);
    delete parts.slice(0, -1).reduce((at, part) => at[part], config)[parts.at(-1)];
  }
}

export function isOtherBuild(previous, bin) {
  const programs = ["ingress", "worker", "reaper"].map((kind) => path.join(kind, `mayfly-${kind}`));
  const has = programs.every((program) => fs.existsSync(path.join(previous, program)));
  return has && programs.some((program) => !fs.readFileSync(path.join(previous, program)).equals(fs.readFileSync(path.join(bin, program))));
}

export const SETUPS = { "class-gone": classGone, "host-gone": hostGone, "two-deployments": twoDeployments, "target-gone": targetGone, upgrade };
