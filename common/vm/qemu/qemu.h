/*
 * The inside of the provider "qemu": what its files share.
 *
 *   qemu.c      the operations of vm_backend.h except run
 *   run.c       the launch of one VM, step by step
 *   saved.c     the snapshot that VMs are restored from
 *   host.c      this host: the QEMU binary, KVM or not, capacity for one more VM
 *   settings.c  its part of the configuration
 *   network.c   what its VMs may reach: for the gateway, for the checks; what was refused
 *   admission.c, args.c, control.c, exec.c, image.c, launch.c, notice.c, qmp.c, room.c, seal.c,
 *   state.c     see their headers
 *
 * One QEMU process per VM, with a supervisor process each (launch.h). Everything known about a VM
 * is in its state directory, so the provider keeps nothing in memory: any process of the host can
 * describe, list and terminate what another one launched. open fills struct vm_qemu; then it is
 * only read, except the counter.
 */
#ifndef MAYFLY_VM_QEMU_H
#define MAYFLY_VM_QEMU_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/metrics.h"
#include "common/vm/proxy.h"
#include "common/vm/qemu/admission.h"
#include "common/vm/qemu/args.h"
#include "common/vm/qemu/image.h"
#include "common/vm/qemu/net_policy.h"
#include "common/vm/qemu/notice.h"
#include "common/vm/qemu/seal.h"
#include "common/vm/vm_backend.h"

struct vm_qemu {
    struct qemu_image image;
    char binary[PATH_MAX];
    char qemu_img[PATH_MAX];
    char supervisor[PATH_MAX];
    char gateway[PATH_MAX];
    char state_dir[PATH_MAX]; /* real path */
    char vms_dir[PATH_MAX];   /* below it: one directory per VM of this deployment and class */
    char saved_dir[PATH_MAX];
    char qemu_version[128];
    bool sandbox;
    bool shell;  /* its VMs have a port for shells */
    char *accel; /* as configured */
    int64_t cpus;
    int64_t memory_mib;
    int64_t disk_bytes;
    int64_t console_limit_bytes;
    struct qemu_admission admission;
    int64_t boot_timeout_ms;
    bool restore;
    char *network; /* as configured, like the following */
    char **allow;
    size_t allow_count;
    struct vm_proxy proxies[2]; /* without user and password */
    size_t proxy_count;
    bool confine;
    atomic_int_least64_t
        boot_until_ms; /* after failed restores: cold boots until then (monotonic) */
    struct metric *started_by_restore;
    struct metric *started_by_boot;
    struct metric *snapshots_refused;
    pthread_mutex_t lock;       /* of the next two */
    struct qemu_room *rooms;    /* kept for launches of this process (room.h) */
    char snapshot_refused[256]; /* why the last one was, for a notice; "" : none since that */
    struct qemu_seal seal;
    struct metric *refused[NET_KINDS]; /* by the gateways */
    struct metric *events[QEMU_EVENTS];
    struct metric *processes;
    struct qemu_gauges {
        struct metric *limit;
        struct metric *reserved;
        struct metric *used;
    } memory_gauges, disk_gauges;
};

/* --- this host (qemu/host.c) --------------------------------------------------------------- */

/* Finds the binaries, reads QEMU's version and whether it has -sandbox. */
MUST_CHECK int qemu_host_probe(struct vm_qemu *q, const char *binary, struct err *e);

/* The most that one VM of the class may use, with its QEMU, supervisor and gateway. */
struct qemu_amount qemu_host_most(const struct vm_qemu *q, const char *accel);
/* Whether there is room for it beside the VMs of this host (admission.h). */
MUST_CHECK int qemu_host_room(const struct vm_qemu *q, const struct qemu_amount *most,
                              struct err *e);

/* The metrics of capacity. */
void qemu_host_gauges(struct vm_qemu *q, const char *class_name);
void qemu_host_measure(const struct vm_qemu *q);

/* "kvm" or "tcg" (static). With "auto", KVM is used if the image really boots on it: that is tried
 * once per kernel and QEMU and stored in <state_dir>/accel.json; it blocks for that long. */
MUST_CHECK int qemu_host_accel(const struct vm_qemu *q, const char **out, struct err *e);

/* Whether KVM may work at all: its device opens, and on x86 the CPU has the required flags. Pure
 * except for the device. cpuinfo: the text of /proc/cpuinfo. */
bool qemu_kvm_plausible(const char *arch, struct slice cpuinfo, const char *device);

/* Waits for an exclusive lock on a file; -1 and ERR_RETRY on failure. Closing it unlocks. */
MUST_CHECK int qemu_lock(const char *path, int *out_fd, struct err *e);

/* --- the online check (qemu/check.c) --- */
vm_check_fn vm_qemu_check;

/* --- the network (qemu/network.c) ------------------------------------------------------------ */

MUST_CHECK int qemu_network_open(struct vm_qemu *q, const struct config_class *class,
                                 struct err *e);
void qemu_network_close(struct vm_qemu *q);
char **qemu_network_gateway(const struct vm_qemu *q);
vm_refuses_fn vm_qemu_refuses;
vm_image_built_fn vm_qemu_image_built;
vm_image_runner_fn vm_qemu_image_runner;
vm_size_fn vm_qemu_size;
vm_notices_fn vm_qemu_notices;

/* --- the snapshot (qemu/saved.c) ------------------------------------------------------ */

struct qemu_saved {
    char dir[PATH_MAX]; /* of this snapshot */
    char disk[PATH_MAX];
    char state[PATH_MAX];   /* memory and devices */
    char overlay[PATH_MAX]; /* an empty overlay on that disk, to be copied for each VM */
    ino_t inode;            /* of that overlay: distinguishes a recreated one */
};

/* The snapshot for the class, created if there is none (by one process at a time), as it was
 * sealed (qemu/seal.h). */
MUST_CHECK int qemu_saved_get(struct vm_qemu *q, const char *accel, struct qemu_saved *out,
                              struct err *e);
/* Whether there is one. */
bool qemu_saved_exists(const struct vm_qemu *q, const char *accel);
/* Removes it, if it is still the one of `seen`, so that the next get creates a new one. */
void qemu_saved_discard(const struct qemu_saved *seen);

/* Boots the image in a directory of its own and terminates it: whether it reports READY in time. */
MUST_CHECK int qemu_saved_try_boot(const struct vm_qemu *q, const char *accel, int64_t timeout_ms,
                                   struct err *e);

/* An overlay of the class's size on a base disk. */
MUST_CHECK int qemu_overlay_create(const struct vm_qemu *q, const char *base, bool base_is_qcow2,
                                   const char *path, struct err *e);

/* --- parts of a launch that the snapshot needs too (qemu/run.c) --- */

/* Writes launch.json into `dir` (which has run/ with the overlay) and starts the supervisor. */
struct qemu_start {
    const char *dir;
    const char *accel;
    const struct qemu_saved *saved; /* NULL: boot */
    const char *cgroup;
    int64_t max_duration_ms;
    int64_t start_ms;
    bool keep_run;
};
MUST_CHECK int qemu_start(const struct vm_qemu *q, const struct qemu_start *s, struct err *e);

/* Whether the supervisor of the VM in `dir` has written its exit record; *e has the reason. */
bool qemu_has_ended(const char *dir, struct err *e);

vm_console_fn vm_qemu_console;
vm_shell_fn vm_qemu_shell; /* control.c */
vm_room_fn vm_qemu_room;
vm_room_release_fn vm_qemu_room_release;
MUST_CHECK int vm_qemu_run(void *state, const struct vm_spec *spec, char *out_id, struct err *e);

#endif
