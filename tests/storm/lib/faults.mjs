// What goes wrong, kind by kind. Each kind adds faults to the stand-ins, or acts at moments that its own chance picks
// until the storm is over. `s` is the storm.
import { ForeignFleet } from "./foreign.mjs";
import { sleep } from "./program.mjs";

const share = (s, part) => Math.max(2, Math.round(s.jobs * part));

async function everySoOften(s, random, low, high, act) {
  while (!s.over) {
    await sleep(random.between(low, high) * s.pace);
    if (!s.over) await act().catch((error) => { if (!s.over) s.note(`fault: ${error.message}`); });
  }
}

async function cancel(s, random) {
  const left = { count: share(s, 0.08) };
  await everySoOften(s, random, 100, 600, async () => {
    if (left.count <= 0) return;
    const open = (await s.github("GET", `/_fake/jobs?state=${random.pick(["queued", "queued", "in_progress"])}`));
    for (let i = 0; i < 3 && open.length > 0; i++, left.count--) {
      await s.github("POST", `/_fake/jobs/${random.pick(open).id}/cancel`);
    }
  });
}

async function foreign(s, random) {
  const fleet = new ForeignFleet({ url: s.githubUrl, token: s.token, labels: s.labels, random });
  s.foreign = fleet;
  await fleet.steal(Math.max(2, Math.round(s.cap / 10)), share(s, 0.1));
}

async function deliveries(s) {
  await s.github("POST", "/_fake/faults", [
    { webhook: "drop", action: "queued", probability: 0.04 },
    { webhook: "drop", action: "completed", probability: 0.03 },
    { webhook: "duplicate", probability: 0.05 },
    { webhook: "reorder", probability: 0.04, delay_ms: 3000 },
    { webhook: "delay", probability: 0.03, delay_ms: 5000 },
  ]);
}

async function vms(s) {
  await s.provider("POST", "/_fake/faults", ["never-start", "fail-start", "die", "slow"].map((vm) => ({ vm, probability: 0.02, factor: 4 }))
    .concat({ vm: "hang", probability: 0.01 }));
}

async function vanish(s, random) {
  await everySoOften(s, random, 400, 1500, async () => {
    const ours = (await s.github("GET", "/_fake/runners")).filter((r) => !r.name.startsWith("foreign-"));
    if (ours.length === 0) return;
    await s.github("POST", `/_fake/runners/${random.pick(ours).id}/${random.pick(["vanish", "disconnect"])}`);
  });
}

async function github(s) {
  const often = { operation: "*", probability: 0.015 };
  await s.github("POST", "/_fake/faults", [
    { ...often, preset: "primary-rate-limit", times: 5 }, { ...often, preset: "secondary-rate-limit", times: 5 },
    { ...often, status: 429, headers: { "retry-after": "1" }, body: { message: "Too many requests" }, times: 5 },
    // Without a time: GitHub's word is to wait a minute then, scaled down here (github.limit_pause_ms).
    { ...often, status: 403, body: { message: "You have exceeded a secondary rate limit." }, times: 5 },
    { ...often, preset: "bad-gateway" }, { ...often, drop: true }, { ...often, delay_ms: 4000 },
    { operation: "generate-jitconfig", status: 502, body: "bad", work: true, probability: 0.02 },
  ]);
}

async function provider(s) {
  const run = { operation: "RunMicrovm", probability: 0.03 };
  await s.provider("POST", "/_fake/faults", [
    { ...run, preset: "throttle" }, { ...run, preset: "quota", probability: 0.01 }, { ...run, preset: "internal" },
    { ...run, preset: "bad-gateway" }, { ...run, preset: "internal", work: true, probability: 0.02 }, { ...run, drop: true, probability: 0.02 },
    { ...run, delay_ms: 4000, probability: 0.01 },
    { operation: "TerminateMicrovm", preset: "throttle", probability: 0.05 }, { operation: "TerminateMicrovm", drop: true, probability: 0.03 },
    { operation: "GetMicrovm", preset: "bad-gateway", probability: 0.05 }, { operation: "ListMicrovms", preset: "internal", probability: 0.1 },
  ]);
}

async function kill(s, random) {
  await everySoOften(s, random, 500, 2500, async () => {
    const program = random.pick(s.daemons);
    if (program.frozen || !program.alive) return;
    s.count("killed", program);
    await program.stop("SIGKILL");
    await sleep(random.between(0, 800));
    await s.startDaemon(program);
  });
}

async function freeze(s, random) {
  await everySoOften(s, random, 1000, 3000, async () => {
    const program = random.pick(s.daemons);
    if (!program.alive || program.frozen) return;
    s.count("frozen", program);
    program.frozen = true;
    program.signal("SIGSTOP");
    await sleep(random.between(200, 5000));
    program.signal("SIGCONT");
    program.frozen = false;
  });
}

async function redis(s, random) {
  if (!s.redis) return;
  for (let i = 0; i < 3 && !s.over; i++) {
    await sleep(random.between(2000, 5000) * s.pace);
    if (s.over) return;
    s.count("restarted", s.redis);
    await s.redis.stop("SIGKILL");
    await sleep(random.between(0, 1500));
    await s.redis.start();
  }
}

export const FAULTS = { cancel, foreign, deliveries, environments: async () => {}, vms, vanish, github, provider, kill, freeze, redis };
