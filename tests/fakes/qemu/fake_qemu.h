/*
 * A stand-in for qemu-system-*: looks like it to the provider, and plays the agent and the runner.
 *
 * It takes the same command line, offers the same sockets, saves and restores a "machine" of a few
 * bytes, unpacks the payload as the agent does, and starts the stand-in runner as a process
 * beside it, in a few MiB: hundreds of VMs fit on one machine. What the real one would refuse it
 * refuses too: a machine saved with other devices, a frame that is malformed, a second payload.
 * Faults are read from a file `faults` beside the kernel (see fake_fault). Two threads: main has
 * the sockets, the runner has the jobs; they share only what is declared atomic here.
 *
 * Jobs run as this user on this host, unprotected: for tests alone.
 */
#ifndef FAKE_QEMU_H
#define FAKE_QEMU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/slice.h"
#include "common/payload/payload.h"

/* Whether the line "<name> [number]" stands in the faults file. With a number, *out_number is it
 * (else -1). A fault whose name ends in '!' happens as many times as the number says: each true
 * answer takes one off.
 *   die-at-start!      exits 1 with a complaint, before anything else
 *   bad-restore!       exits 1 when asked to restore
 *   no-ready           boots and never says READY
 *   slow-start MS      takes so long to boot or restore
 *   deaf, deaf!        takes the payload and never answers
 *   refuse             answers the payload with ERR
 *   die-after-start!   exits 1 right after the payload was accepted
 *   die-mid-job!       is killed when it has begun a job
 *   io-error!          once the payload was accepted the disk fails a request, and its guest gets the error
 *   io-pause!          the same, and the VM is paused until "cont"
 *   broken-pause!      paused for good: an internal error
 *   hang               ignores quit, power button, END and SIGTERM
 *   slow-end MS        takes so long to end when asked to
 *   chatter BYTES      so much on the console at the start
 */
bool fake_fault(const char *name, int64_t *out_number);
/* kernel: /proc/self/fd/N */
void fake_faults_beside(const char *kernel);

/* The second monitor, on a descriptor of the command line (fake_monitor.c). */
void fake_monitor_open(int fd);
int fake_monitor_fd(void); /* -1: none */
void fake_monitor_serve(void);
/* The payload was accepted: acts on the faults of the disk. */
void fake_monitor_started(void);

/* As a QEMU that was taken over: tries each word "open=PATH", "write=PATH", "connect=PATH", "kill=PID",
 * "trace=PID" of the kernel's command line, and prints on the console what came of it:
 * "probe WORD: reached", or the system's error. */
void fake_probe(const char *cmdline);

/* A line in the status file. */
void fake_status(const char *line);
/* "EXIT <code> <reason>" and the end of the process. */
NORETURN void fake_power_off(int code, const char *reason);

/* Runs the stand-in runner with this payload until it ends; never returns. */
NORETURN void fake_runner(struct payload *payload);

#endif
