/*
 * What every program exports about itself: its build, and the process by the names that Prometheus's
 * own libraries use (process_cpu_seconds_total, …).
 *
 * What the kernel does not show (a /proc that is not mounted) is left out.
 */
#ifndef MAYFLY_PROGRAM_PROCESS_METRICS_H
#define MAYFLY_PROGRAM_PROCESS_METRICS_H

/* Once, when the process has begun. */
void process_metrics_begin(void);
/* Before the metrics are rendered. Any thread. */
void process_metrics_refresh(void);

#endif
