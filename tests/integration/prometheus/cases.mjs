// For each alert: what makes it fire, alone, and what nearly does. Series as promtool writes them, one value a minute; `at` is when they are judged.
const worker = 'job="mayfly-worker",instance="w1"';
const ingress = 'job="mayfly-ingress",instance="i1"';
const reaper = 'job="mayfly-reaper",instance="r1"';

// A fleet in order, for two hours.
export const HEALTHY = {
  [`mayfly_build_info{${worker},version="1",commit="a"}`]: "1x120",
  [`mayfly_build_info{${ingress},version="1",commit="a"}`]: "1x120",
  [`mayfly_build_info{${reaper},version="1",commit="a"}`]: "1x120",
  [`mayfly_ingress_connections{${ingress}}`]: "3x120",
  [`mayfly_ingress_spool_active{${ingress}}`]: "0x120",
  [`mayfly_ingress_spool_refused_total{${ingress}}`]: "0x120",
  [`mayfly_ingress_deliveries_total{${ingress},status="202",reason="queued"}`]: "0+60x120",
  [`mayfly_log_lines_dropped_total{${ingress}}`]: "0x120",
  [`mayfly_reaper_last_sweep_timestamp_seconds{${reaper}}`]: "0+60x120",
  [`mayfly_reaper_recovery{${reaper}}`]: "0x120",
  [`mayfly_reaper_job_scan_age_seconds{${reaper}}`]: "300x120",
  [`mayfly_reaper_terminations_held{${reaper},target="eu"}`]: "0x120",
  [`mayfly_reaper_vms_without_job_total{${reaper},class="small"}`]: "0x120",
  [`mayfly_worker_launches_total{${worker},class="small",outcome="launched"}`]: "0+9x120",
  [`mayfly_fleet_demand{${reaper},class="small"}`]: "0x120",
  [`mayfly_fleet_workers{${reaper}}`]: "2x120",
  [`mayfly_fleet_vms_max{${reaper}}`]: "100x120",
  [`mayfly_fleet_slots_used{${reaper},class="small"}`]: "10x120",
  [`mayfly_fleet_slots_max{${reaper},class="small"}`]: "20x120",
  [`mayfly_fleet_oldest_launchable_wait_seconds{${reaper},class="small"}`]: "3x120",
  [`mayfly_fleet_oldest_wait_seconds{${reaper},class="small"}`]: "3x120",
  [`mayfly_queue_oldest_age_seconds{${reaper},lane="events"}`]: "0x120",
  [`mayfly_dead_letters{${reaper}}`]: "0x120",
  [`mayfly_circuits_open{${reaper},subject="github"}`]: "0x120",
  [`mayfly_circuits_open{${reaper},subject="repository"}`]: "0x120",
  [`mayfly_github_rate_limit{${worker}}`]: "5000x120",
  [`mayfly_github_rate_remaining{${worker}}`]: "4000x120",
  [`mayfly_github_rate_reset_timestamp_seconds{${worker}}`]: "3600x59 7200x60",
  [`mayfly_quota_use_ratio{${reaper},quota="vms"}`]: "0.5x120",
  [`mayfly_runner_image_age_seconds{${reaper},class="small"}`]: "86400x120",
  [`mayfly_image_rejected{${reaper},class="small"}`]: "0x120",
  [`mayfly_image_base_recalled{${reaper},class="small"}`]: "0x120",
  [`mayfly_aws_credentials_expiry_timestamp_seconds{${worker}}`]: "0x120",
  [`mayfly_vm_capacity_limit_bytes{${worker},class="small",resource="memory"}`]: "1000x120",
  [`mayfly_vm_capacity_reserved_bytes{${worker},class="small",resource="memory"}`]: "500x120",
  [`mayfly_vm_events_total{${worker},kind="io_error"}`]: "0x120",
};
const find = (name) => Object.keys(HEALTHY).find((key) => key.startsWith(`${name}{`));
const set = (changes) => Object.fromEntries(Object.entries(changes).map(([name, values]) => [find(name) ?? name, values]));
const fired = (alertname, severity, labels = "") => `alertname="${alertname}",severity="${severity}"${labels && `,${labels}`}`;

// A fleet that pulls has no ingress, and two reapers, of which one pulls.
const pulling = (lastRead, oldestAge) => ({
  [`mayfly_reaper_pull_last_read_timestamp_seconds{${reaper}}`]: lastRead,
  'mayfly_reaper_pull_last_read_timestamp_seconds{job="mayfly-reaper",instance="r2"}': "0x120",
  [`mayfly_reaper_pull_oldest_age_seconds{${reaper}}`]: oldestAge,
});

export const CASES = {
  MayflyPullLate: {
    fires: {
      "the log is not read": { without: ["mayfly_ingress_"], series: pulling("0+60x10 600x110", "0x120"), at: "20m", fires: [fired("MayflyPullLate", "critical")] },
      "deliveries wait": { without: ["mayfly_ingress_"], series: pulling("0+60x120", "0x10 0+60x110"), at: "25m", fires: [fired("MayflyPullLate", "critical")] },
    },
    quiet: {
      "it is read, and no ingress runs": { without: ["mayfly_ingress_"], series: pulling("0+60x120", "3x120"), at: "30m" },
      "deliveries wait for minutes": { series: pulling("0+60x120", "0x10 240x20 0x80"), at: "25m" },
      "for longer, and no more": { series: pulling("0+60x120", "0x10 400x1 0x100"), at: "12m" },
    },
  },
  MayflyIngressDown: {
    fires: {
      "no ingress is scraped": { without: ["mayfly_ingress_"], at: "10m", fires: [fired("MayflyIngressDown", "critical")] },
      "the only one went away": { series: set({ mayfly_ingress_connections: "3x10 stale" }), at: "16m", fires: [fired("MayflyIngressDown", "critical")] },
      "of one deployment of two": {
        series: { 'mayfly_build_info{deployment="eu",job="mayfly-worker"}': "1x60", 'mayfly_reaper_last_sweep_timestamp_seconds{deployment="eu"}': "0+60x60" }, at: "10m",
        fires: [fired("MayflyIngressDown", "critical", 'deployment="eu"')],
      },
    },
    quiet: {
      "away for a minute": { series: set({ mayfly_ingress_connections: "3x10 stale 3x100" }), at: "11m" },
      "one of two is away": { series: { 'mayfly_ingress_connections{job="mayfly-ingress",instance="i2"}': "3x10 stale" }, at: "30m" },
    },
  },
  MayflyNoWorker: {
    fires: { "no heartbeat is current": { series: set({ mayfly_fleet_workers: "2x10 0x60" }), at: "14m", fires: [fired("MayflyNoWorker", "critical")] } },
    quiet: {
      "one worker is left": { series: set({ mayfly_fleet_workers: "1x60" }), at: "30m" },
      "a restart": { series: set({ mayfly_fleet_workers: "1x10 0 1x60" }), at: "11m" },
    },
  },
  MayflyReaperStopped: {
    fires: {
      "the last sweep is old": { series: set({ mayfly_reaper_last_sweep_timestamp_seconds: "0+60x10 600x60" }), at: "16m", fires: [fired("MayflyReaperStopped", "critical")] },
      "no reaper is scraped": { without: ["mayfly_reaper_"], at: "10m", fires: [fired("MayflyReaperStopped", "critical")] },
      "nothing is scraped": { without: ["mayfly_"], at: "10m", fires: [fired("MayflyReaperStopped", "critical")] },
    },
    quiet: {
      "another reaper took over": { series: { ...set({ mayfly_reaper_last_sweep_timestamp_seconds: "0+60x10 600x60" }), 'mayfly_reaper_last_sweep_timestamp_seconds{instance="r2"}': "_x11 660+60x60" }, at: "30m" },
      "a sweep of four minutes": { series: set({ mayfly_reaper_last_sweep_timestamp_seconds: "0+60x10 600x4 900+60x60" }), at: "14m" },
    },
  },
  MayflyLogLinesDropped: {
    fires: { "lines are dropped": { series: set({ mayfly_log_lines_dropped_total: "0x10 5+5x60" }), at: "20m", fires: [fired("MayflyLogLinesDropped", "warning", ingress)] } },
    quiet: { "some were, an hour ago": { series: set({ mayfly_log_lines_dropped_total: "0x5 50x110" }), at: "70m" } },
  },
  MayflyIngressRefusing: {
    fires: { "one in nine is refused": { series: { [`mayfly_ingress_deliveries_total{${ingress},status="503",reason="queue"}`]: "0+7x60" }, at: "20m", fires: [fired("MayflyIngressRefusing", "critical")] } },
    quiet: {
      "refusals for two minutes": { series: { [`mayfly_ingress_deliveries_total{${ingress},status="503",reason="queue"}`]: "0x10 30x60" }, at: "12m" },
      "one in sixty is refused": { series: { [`mayfly_ingress_deliveries_total{${ingress},status="503",reason="queue"}`]: "0+1x60" }, at: "20m" },
      "forged deliveries are refused": { series: { [`mayfly_ingress_deliveries_total{${ingress},status="401",reason="unsigned"}`]: "0+600x60" }, at: "20m" },
      "no delivery at all": { series: set({ mayfly_ingress_deliveries_total: "0x60" }), at: "20m" },
    },
  },
  MayflySpoolActive: {
    fires: { "for minutes": { series: set({ mayfly_ingress_spool_active: "0x10 1x60" }), at: "17m", fires: [fired("MayflySpoolActive", "warning", ingress)] } },
    quiet: { "for three minutes": { series: set({ mayfly_ingress_spool_active: "0x10 1x3 0x60" }), at: "14m" } },
  },
  MayflySpoolFull: {
    fires: { "it refuses": { series: set({ mayfly_ingress_spool_refused_total: "0x10 3+3x60" }), at: "13m", fires: [fired("MayflySpoolFull", "critical", ingress)] } },
    quiet: { "it did, half an hour ago": { series: set({ mayfly_ingress_spool_refused_total: "0x10 9x60" }), at: "40m" } },
  },
  MayflyJobsUnrouted: {
    fires: {
      "a label is unknown": {
        series: { [`mayfly_jobs_unrouted_total{${ingress},reason="label_unknown"}`]: "0x10 1x60" }, at: "15m", fires: [fired("MayflyJobsUnrouted", "warning", 'reason="label_unknown"')],
      },
    },
    quiet: { "jobs for GitHub's own runners": { series: { [`mayfly_jobs_unrouted_total{${ingress},reason="no_common_label"}`]: "0+9x60" }, at: "30m" } },
  },
  MayflyJobsNotLaunched: {
    fires: {
      "one class": { series: set({ mayfly_fleet_oldest_launchable_wait_seconds: "0x5 0+60x60" }), at: "14m", fires: [fired("MayflyJobsNotLaunched", "critical", 'class="small"')] },
    },
    quiet: {
      "a cap holds them": { series: set({ mayfly_fleet_oldest_wait_seconds: "0+60x20 1200x60" }), at: "30m" },
      "one that was launched after six minutes": { series: set({ mayfly_fleet_oldest_launchable_wait_seconds: "0x5 0+60x6 0x60" }), at: "12m" },
    },
  },
  MayflyEventsLate: {
    fires: { "nobody receives them": { series: set({ mayfly_queue_oldest_age_seconds: "0x5 0+60x60" }), at: "14m", fires: [fired("MayflyEventsLate", "critical")] } },
    quiet: { "for six minutes": { series: set({ mayfly_queue_oldest_age_seconds: "0x5 0+60x6 0x60" }), at: "12m" }, "a lane of launches waits": { series: { [`mayfly_queue_oldest_age_seconds{${reaper},lane="launch.small"}`]: "0+60x60" }, at: "50m" } },
  },
  MayflyBacklogAtCap: {
    fires: {
      "the class is full": {
        series: set({ mayfly_fleet_oldest_wait_seconds: "0+60x100", mayfly_fleet_slots_used: "20x100" }), at: "45m", fires: [fired("MayflyBacklogAtCap", "warning", 'class="small"')],
      },
      "the fleet is full": {
        series: { ...set({ mayfly_fleet_oldest_wait_seconds: "0+60x100" }), [`mayfly_fleet_slots_used{${reaper},class="large"}`]: "90x100", [`mayfly_fleet_slots_max{${reaper},class="large"}`]: "95x100" },
        at: "45m", fires: [fired("MayflyBacklogAtCap", "warning", 'class="small"')],
      },
    },
    quiet: {
      "a wait of 20 minutes": { series: set({ mayfly_fleet_oldest_wait_seconds: "0+60x20 0x60", mayfly_fleet_slots_used: "20x100" }), at: "45m" },
      "after half an hour": { series: set({ mayfly_fleet_oldest_wait_seconds: "0+60x100", mayfly_fleet_slots_used: "20x100" }), at: "34m" },
      "slots are free": { series: set({ mayfly_fleet_oldest_wait_seconds: "0+60x100", mayfly_fleet_slots_used: "19x100" }), at: "45m" },
      "another class is full": {
        series: { ...set({ mayfly_fleet_oldest_wait_seconds: "0+60x100" }), [`mayfly_fleet_slots_used{${reaper},class="large"}`]: "4x100", [`mayfly_fleet_slots_max{${reaper},class="large"}`]: "4x100" }, at: "45m",
      },
    },
  },
  MayflyCircuitOpen: {
    fires: {
      "and nothing is launched": {
        series: set({ mayfly_circuits_open: "0x5 1x60", mayfly_worker_launches_total: "0+9x5 45x60", mayfly_fleet_demand: "4x60" }), at: "14m", fires: [fired("MayflyCircuitOpen", "critical", 'subject="github"')],
      },
      "and nothing was ever launched": {
        series: set({ mayfly_circuits_open: "0x5 1x60", mayfly_fleet_demand: "4x60" }), without: ["mayfly_worker_launches_total"], at: "12m", fires: [fired("MayflyCircuitOpen", "critical", 'subject="github"')],
      },
      "of a repository, while others go on": {
        series: { ...set({ mayfly_fleet_demand: "4x60" }), [`mayfly_circuits_open{${reaper},subject="repository"}`]: "0x5 1x60" }, at: "17m", fires: [fired("MayflyCircuitOpen", "warning", 'subject="repository"')],
      },
      "both": {
        series: set({ mayfly_circuits_open: "0x5 1x60", mayfly_worker_launches_total: "0+9x5 45x60", mayfly_fleet_demand: "4x60" }), at: "30m",
        fires: [fired("MayflyCircuitOpen", "critical", 'subject="github"'), fired("MayflyCircuitOpen", "warning", 'subject="github"')],
      },
    },
    quiet: {
      "for eight minutes": { series: { [`mayfly_circuits_open{${reaper},subject="repository"}`]: "0x5 1x8 0x60" }, at: "13m" },
      "for three, and nothing is launched": { series: set({ mayfly_circuits_open: "0x5 1x60", mayfly_fleet_demand: "4x60", mayfly_worker_launches_total: "0+9x5 45x60" }), at: "9m" },
      "nothing is launched, and no job waits": { series: set({ mayfly_circuits_open: "0x5 1x60", mayfly_worker_launches_total: "0+9x5 45x60" }), at: "14m" },
    },
  },
  MayflyDeadLetters: {
    fires: { "one": { series: set({ mayfly_dead_letters: "0x5 1x60" }), at: "12m", fires: [fired("MayflyDeadLetters", "warning")] } },
    quiet: { "redriven at once": { series: set({ mayfly_dead_letters: "0x5 1x3 0x60" }), at: "8m" } },
  },
  MayflyGithubBudgetLow: {
    fires: {
      "a tenth, and half an hour to go": {
        series: set({ mayfly_github_rate_remaining: "400x120" }), at: "30m", fires: [fired("MayflyGithubBudgetLow", "warning")],
      },
    },
    quiet: {
      "a tenth, four minutes before the reset": { series: set({ mayfly_github_rate_remaining: "4000x52 400x60" }), at: "57m" },
      "for a minute": { series: set({ mayfly_github_rate_remaining: "4000x20 400 4000x60" }), at: "21m" },
      "GitHub has reported nothing yet": { series: set({ mayfly_github_rate_remaining: "0x120", mayfly_github_rate_limit: "0x120" }), at: "30m" },
    },
  },
  MayflyQuotaNearlyUsed: {
    fires: { "for more than an hour": { series: set({ mayfly_quota_use_ratio: "0.95x100" }), at: "70m", fires: [fired("MayflyQuotaNearlyUsed", "warning", 'quota="vms"')] } },
    quiet: {
      "a peak": { series: set({ mayfly_quota_use_ratio: "0.5x9 0.95x50 0.5x60" }), at: "58m" }, "89 %": { series: set({ mayfly_quota_use_ratio: "0.89x120" }), at: "80m" },
      "GitHub's calls, which have an alert": { series: { [`mayfly_quota_use_ratio{${reaper},quota="github_calls"}`]: "0.99x120" }, at: "80m" },
    },
  },
  MayflyRunnerImageOld: {
    fires: { "of 24 days": { series: set({ mayfly_runner_image_age_seconds: "2073600x10" }), at: "5m", fires: [fired("MayflyRunnerImageOld", "warning", 'class="small"')] } },
    quiet: { "of 22 days": { series: set({ mayfly_runner_image_age_seconds: "1900800x10" }), at: "5m" }, "its age is unknown": { without: ["mayfly_runner_image_age_seconds"], at: "5m" } },
  },
  MayflyImageBaseRecalled: {
    fires: { "for two hours": { series: set({ mayfly_image_base_recalled: "1x130" }), at: "125m", fires: [fired("MayflyImageBaseRecalled", "warning", 'class="small"')] } },
    quiet: { "the base is served": { series: set({ mayfly_image_base_recalled: "0x130" }), at: "125m" }, "for an hour": { series: set({ mayfly_image_base_recalled: "1x130" }), at: "60m" } },
  },
  MayflyImageRejected: {
    fires: { "a version was rejected": { series: set({ mayfly_image_rejected: "1x10" }), at: "5m", fires: [fired("MayflyImageRejected", "warning", 'class="small"')] } },
    quiet: { "none was": { series: set({ mayfly_image_rejected: "0x10" }), at: "5m" } },
  },
  MayflyCredentialsExpiring: {
    fires: {
      "not renewed": { series: set({ mayfly_aws_credentials_expiry_timestamp_seconds: "3600x60" }), at: "60m", fires: [fired("MayflyCredentialsExpiring", "critical", worker)] },
      "afterwards": { series: set({ mayfly_aws_credentials_expiry_timestamp_seconds: "3600x100" }), at: "70m", fires: [fired("MayflyCredentialsExpiring", "critical", worker)] },
    },
    quiet: {
      "renewed four minutes before": { series: set({ mayfly_aws_credentials_expiry_timestamp_seconds: "3600x56 7200x60" }), at: "60m" },
      "a renewal that comes late": { series: set({ mayfly_aws_credentials_expiry_timestamp_seconds: "3600x59 7200x60" }), at: "59m" },
      "they never expire": { at: "30m" },
    },
  },
  MayflyTerminationsHeld: {
    fires: { "some are held": { series: set({ mayfly_reaper_terminations_held: "0x5 9x60" }), at: "9m", fires: [fired("MayflyTerminationsHeld", "critical", 'target="eu"')] } },
    quiet: { "for one sweep": { series: set({ mayfly_reaper_terminations_held: "0x5 9 0x60" }), at: "6m" } },
  },
  MayflyRecoveryRuns: {
    fires: { "for long": { series: set({ mayfly_reaper_recovery: "0x5 1x60" }), at: "25m", fires: [fired("MayflyRecoveryRuns", "warning")] } },
    quiet: { "for ten minutes": { series: set({ mayfly_reaper_recovery: "0x5 1x10 0x60" }), at: "15m" } },
  },
  MayflyHostFull: {
    fires: {
      "for long": { series: set({ mayfly_vm_capacity_reserved_bytes: "960x60" }), at: "40m", fires: [fired("MayflyHostFull", "warning", 'instance="w1",resource="memory"')] },
    },
    quiet: { "for 20 minutes": { series: set({ mayfly_vm_capacity_reserved_bytes: "960x20 500x60" }), at: "19m" }, "94 %": { series: set({ mayfly_vm_capacity_reserved_bytes: "940x60" }), at: "40m" } },
  },
  MayflyVmIoErrors: {
    fires: { "one": { series: set({ mayfly_vm_events_total: "0x5 1x60" }), at: "10m", fires: [fired("MayflyVmIoErrors", "critical", 'instance="w1"')] } },
    quiet: { "VMs are paused and resumed": { series: { [`mayfly_vm_events_total{${worker},kind="resumed"}`]: "0+1x60" }, at: "10m" } },
  },
  MayflyClassGetsNoJobs: {
    fires: { "VM after VM": { series: set({ mayfly_reaper_vms_without_job_total: "0+1x60" }), at: "40m", fires: [fired("MayflyClassGetsNoJobs", "warning", 'class="small"')] } },
    quiet: { "a burst, for three minutes": { series: set({ mayfly_reaper_vms_without_job_total: "0x5 9x60" }), at: "8m" }, "jobs that were cancelled": { series: set({ mayfly_reaper_vms_without_job_total: "0x5 4x60" }), at: "20m" } },
  },
  MayflyJobScanLate: {
    fires: { "of an hour ago": { series: set({ mayfly_reaper_job_scan_age_seconds: "0+60x60" }), at: "45m", fires: [fired("MayflyJobScanLate", "warning")] } },
    quiet: { "for five minutes": { series: set({ mayfly_reaper_job_scan_age_seconds: "0x5 1900x60" }), at: "10m" }, "of 25 minutes ago": { series: set({ mayfly_reaper_job_scan_age_seconds: "1500x60" }), at: "45m" } },
  },
};
