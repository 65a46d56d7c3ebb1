// The settings of a fleet whose times are those of the default configuration, all divided by one factor; quotas are calls per time, so
// they are multiplied. Counts and ratios stay. Where a setting's least value binds, that is used.

const duration = (ms, factor, least = 1) => `${Math.max(least, Math.round(ms / factor))}ms`;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

// What replaces the storm's own settings (storm.mjs).
export function settings(factor) {
  const t = (ms, least) => duration(ms, factor, least);
  const rate = (perSecond, burst) => ({ per_second: perSecond * factor, burst });
  return {
    github: { timeout: t(30 * SECOND, 500), secondary_limit_backoff: t(MINUTE, SECOND), rate: rate(10, 60), jit_rate: { per_second: 0 } },
    ingress: { enqueue_timeout: t(5 * SECOND, 500), admission_timeout: t(2 * SECOND, 200) },
    worker: { visibility_timeout: t(30 * SECOND), terminate_grace_period: t(10 * SECOND), capacity_poll: "20ms" },
    reaper: { interval: t(10 * SECOND), lease_duration: t(MINUTE), confirm_after: t(MINUTE), deadline_grace_period: t(MINUTE), startup_timeout: t(5 * MINUTE),
      terminate_timeout: t(2 * MINUTE), relaunch_after: t(2 * MINUTE), stale_runner_scan_interval: t(MINUTE), vm_list_interval: t(2 * MINUTE),
      deliveries: { interval: t(MINUTE), overlap: t(2 * MINUTE), initial_lookback: t(HOUR, SECOND) } },
    limits: { launch_rate: rate(5, 5), terminate_rate: rate(10, 10), describe_rate: rate(100, 100), list_rate: rate(10, 10) },
    retry: { max_attempts: 8, base_delay: t(SECOND), max_delay: t(5 * MINUTE) },
    circuit: { failure_threshold: 3, open_duration: t(5 * SECOND), max_open_duration: t(MINUTE) },
  };
}

export const classSettings = (factor) => ({ max_duration: duration(HOUR, factor, SECOND), idle_timeout: duration(2 * MINUTE, factor, SECOND) });
export const lambdaTimeout = (factor) => duration(10 * SECOND, factor, 500);

// The stand-ins' times and quotas, by the same factor. What a burst absorbs is the jitter of calls, which is not scaled: it grows as the rates.
export function githubArguments(factor, longest) {
  const s = (seconds) => String(Math.max(0.5, seconds / factor));
  return ["--offline-after-s", s(50), "--pickup-timeout-s", s(60), "--jit-idle-s", s(86400), "--poll-wait-s", s(50), "--webhook-timeout-ms", String(Math.round(Math.max(2000, 10000 / factor))),
    "--job-timeout-s", String(longest + 30)];
}

export function providerArguments(factor, rate) {
  const ms = (time) => String(Math.round(time / factor));
  return ["--run-rate", String(rate), "--run-burst", String(Math.ceil(rate)), "--terminate-rate", String(2 * rate), "--terminate-burst", String(Math.ceil(2 * rate)), "--get-rate", String(100 * factor),
    "--list-rate", "0", "--retry-after-s", "0", "--read-lag-ms", "0", "--start-ms", ms(11000), "--terminate-ms", ms(3000), "--keep-terminated-s", String(Math.round(3600 / factor))];
}
