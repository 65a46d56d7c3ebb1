// What goes wrong, kind by kind. Each kind adds faults to the stand-ins, or acts at moments that its own chance picks
// until the storm is over. `s` is the storm.
import { ForeignFleet } from "./foreign.mjs";
import { sleep } from "../../lib/wait.mjs";

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
    // Without a time: GitHub's word is to wait a minute then, scaled down here (github.secondary_limit_backoff).
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
  for (let i = 0; i < 3 && !s.over; i++) {
    await sleep(random.between(2000, 5000) * s.pace);
    if (s.over) return;
    s.count("restarted", s.redis);
    await s.redis.stop("SIGKILL");
    await sleep(random.between(0, 1500));
    await s.redis.start();
  }
}

// One after the other, each to a cluster that is whole again: with one broker fewer it still takes writes, with two fewer it does not.
const BROKER_FAULTS = {
  kill_leader: async (s, random) => killBroker(s, random, await leader(s, random)),
  kill_controller: async (s, random) => killBroker(s, random, await s.kafka.controller()),
  freeze_leader: async (s, random) => freezeBrokers(s, random, [await leader(s, random)]),
  end_leader: async (s, random) => restartBroker(s, random, await leader(s, random), "end"),
  freeze_two: async (s, random) => freezeBrokers(s, random, s.kafka.numbers.slice(0, 2)),
};

async function leader(s, random) {
  const { topics } = await s.kafka.metadata();
  const leaders = Object.entries(topics).filter(([name]) => name.startsWith("storm")).flatMap(([, partitions]) => partitions.map((one) => one.leader)).filter((n) => n > 0);
  return random.pick(leaders);
}

const killBroker = (s, random, n) => restartBroker(s, random, n, "kill");

async function restartBroker(s, random, n, how) {
  await s.kafka[how](n);
  await sleep(random.between(0, 4000));
  await s.kafka.begin(n);
}

async function freezeBrokers(s, random, numbers) {
  for (const n of numbers) s.kafka.freeze(n);
  await sleep(random.between(1000, 6000));
  for (const n of numbers) s.kafka.resume(n);
}

async function kafka(s, random) {
  let left = [];
  while (!s.over) {
    await sleep(random.between(4000, 10000) * s.pace);
    if (s.over) return;
    if (left.length === 0) left = Object.keys(BROKER_FAULTS);
    const fault = random.pick(left);
    left = left.filter((other) => other !== fault);
    s.note(`kafka: ${fault}`);
    s.tally[`kafka_${fault}`] = (s.tally[`kafka_${fault}`] ?? 0) + 1;
    await BROKER_FAULTS[fault](s, random);
    await s.kafka.untilWhole();
    s.note("kafka: whole again");
  }
}

// Keys end before their time, now as expired and now as unknown, at every service at once; the source of new ones is slow at times,
// or fails. New ones are looked for ten seconds apart at least, which is what no pace may be under.
async function credentials(s, random) {
  await s.aws.fake("aws", "POST", "faults", [
    { operation: "ContainerCredentials", preset: "unavailable", probability: 0.2 }, { operation: "ContainerCredentials", drop: "before", probability: 0.05 },
    { operation: "ContainerCredentials", delay_ms: 1500, probability: 0.1 },
  ]);
  const services = [s.providerUrl, s.aws.urls.sqs, s.aws.urls.dynamodb].filter((url) => url !== undefined);
  for (let next = Date.now() + random.between(1000, 4000); !s.over; await sleep(100)) {
    if (Date.now() < next) continue;
    next = Date.now() + random.between(11000, 15000) * Math.sqrt(s.pace);
    const as = random.pick(["expired", "unknown"]);
    s.note(`${await s.aws.endKeys(services, as)} keys ended as ${as}`);
    s.tally.credentials_ended = (s.tally.credentials_ended ?? 0) + 1;
  }
}

// Answers that say no, that never come, that come late, and that come although the work was not done or was done all the same.
const troubled = [
  { preset: "throttle", probability: 0.02 }, { preset: "throttling-exception", probability: 0.01 }, { preset: "internal", probability: 0.015 },
  { preset: "unavailable", probability: 0.01 }, { preset: "bad-gateway", probability: 0.005 }, { preset: "internal", work: true, probability: 0.01 },
  { drop: true, probability: 0.01 }, { drop: "before", probability: 0.005 }, { late_ms: 3000, probability: 0.003 }, { delay_ms: 1000, probability: 0.005 },
].map((fault) => ({ operation: "*", ...fault }));

async function sqs(s) {
  await s.aws.fake("sqs", "POST", "faults", [...troubled,
    { operation: "SendMessageBatch", entries: 1, probability: 0.02 }, { operation: "SendMessageBatch", entries: 1, work: true, probability: 0.02 },
    { operation: "DeleteMessageBatch", entries: 1, probability: 0.02 }, { operation: "DeleteMessageBatch", entries: 1, work: true, probability: 0.02 },
    { operation: "ReceiveMessage", duplicate: true, probability: 0.03 },
  ]);
}

async function dynamodb(s) {
  await s.aws.fake("dynamodb", "POST", "faults", [...troubled,
    { operation: "TransactWriteItems", reasons: ["TransactionConflict"], probability: 0.02 },
    { operation: "TransactWriteItems", reasons: ["None", "ThrottlingError"], probability: 0.01 },
    { operation: "BatchGetItem", unprocessed: 1, probability: 0.02 }, { operation: "BatchWriteItem", unprocessed: 1, probability: 0.02 },
  ]);
}

export const FAULTS = { cancel, foreign, deliveries, environments: async () => {}, vms, vanish, github, provider, kill, freeze, redis, credentials, sqs, dynamodb, kafka };
// Kinds that need one of these stores.
export const OF_STORES = { redis: ["redis"], credentials: ["sqs", "dynamodb"], sqs: ["sqs"], dynamodb: ["dynamodb"], kafka: ["kafka"] };
