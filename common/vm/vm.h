/*
 * VMs of one job each, launched and terminated through a provider.
 *
 * One vm_provider per runner class. Every call blocks, at most as long as the provider's own
 * deadlines; a handle may be used from any number of threads. run is idempotent by client_token if
 * the provider can (the same token again returns the same VM). list returns only VMs that the
 * provider can prove to be this deployment's. Errors: ERR_RETRY, ERR_THROTTLED, ERR_CAPACITY
 * (quota; on one box: memory or disk), ERR_PERMANENT (bad image, bad spec), ERR_AUTH,
 * ERR_NOT_FOUND, ERR_CONFLICT (token used with other parameters). An empty id is ERR_PERMANENT: no
 * call is made for a VM whose id is unknown.
 */
#ifndef MAYFLY_VM_VM_H
#define MAYFLY_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/config/config.h"
#include "common/job/job.h"

#define VM_ID_MAX 191

struct vm_provider;
struct check;

/* A check_fn (check.h): checks the classes' settings with the providers' services. */
void vm_check(struct check *c);

/* The image of a class whose provider's service keeps versions of it. Borrowed from the class. */
struct vm_image {
    const char *id;       /* an ARN */
    const char *pinned;   /* the version that the class names; "": none */
    const char *endpoint; /* of the service; "": its own host */
    const char *role_arn; /* with whose rights the service is called; NULL or "": the process's */
    char region[64];
    char name[65]; /* within the service */
};
/* False where the provider has none: *out is not set then. */
bool vm_image_of(const struct config_class *class, struct vm_image *out);

#define VM_IMAGE_VERSION 32
#define VM_RUNNER_VERSION 32
struct vm_image_version {
    char name[VM_IMAGE_VERSION];
    bool active;                    /* it can be launched */
    int64_t built_ms;               /* wall clock; 0 unknown */
    int64_t memory_mib;             /* of a VM; 0 unknown */
    char runner[VM_RUNNER_VERSION]; /* of GitHub's runner in it, "2.337.0"; "" unknown */
    char base[VM_IMAGE_VERSION];    /* of the provider's image that it was built on; "" unknown */
    char base_image[160];           /* that image's id; "" unknown */
};
/* All versions of the class's image, in no particular order. Calls to the provider's service. *out: owned,
 * free(). ERR_PERMANENT where images have no versions. */
MUST_CHECK int vm_image_versions(const struct config_class *class, struct vm_image_version **out,
                                 size_t *n, struct err *e);
/* The newest that can be launched and that `refused` (may be NULL) does not; NULL: none. Of the list. */
typedef bool vm_image_refused_fn(const char *version, const void *arg);
const struct vm_image_version *vm_image_newest(const struct vm_image_version *list, size_t n,
                                               vm_image_refused_fn *refused, const void *arg);
const struct vm_image_version *vm_image_find(const struct vm_image_version *list, size_t n,
                                             const char *version);

/* The service launches that version no more, whoever asks for it. A call to it. ERR_NOT_FOUND: there is no such
 * version. ERR_PERMANENT where images have no versions. */
MUST_CHECK int vm_image_deactivate(const struct config_class *class, const char *version,
                                   struct err *e);

/* Whether the provider's service has recalled the image of its own that the version of a launch now was built on:
 * such a version is to be built anew. version: as in vm_image_built. ERR_NOT_FOUND where nothing says so. */
MUST_CHECK int vm_image_recalled(const struct config_class *class, const char *version,
                                 bool *recalled, struct err *e);

/* Connects to the shell of a VM of this host, whose class has `shell: true`: a socket that takes the
 * frames of common/payload/shell_frame.h, owned by the caller. ERR_NOT_FOUND: this host has no such VM.
 * ERR_AUTH: this user may not. ERR_CONFLICT: the VM has no shell, or has ended; *e says which. */
MUST_CHECK int vm_shell(const struct config_class *class, const char *deployment, const char *name,
                        int *out_fd, struct err *e);

/* When the image that a launch of the class would use now was built, wall clock ms. version: that the
 * ledger says is launched; "": the newest, or the pinned one. A call to the
 * provider's service. ERR_NOT_FOUND where nothing says so, as on a host without the image. */
MUST_CHECK int vm_image_built(const struct config_class *class, const char *version,
                              int64_t *built_ms, struct err *e);

/* The version of GitHub's runner in that image, "2.337.0". ERR_NOT_FOUND where nothing says so. */
MUST_CHECK int vm_image_runner(const struct config_class *class, char out[VM_RUNNER_VERSION],
                               struct err *e);

/* Lets limits be `auto` (config_set_quota_reader): they are then what the quotas of the providers'
 * services allow. For programs that launch or terminate VMs, before their configuration is read. */
void vm_use_quotas(void);

struct buf;
struct vm_size {
    int64_t milli_vcpus;
    int64_t memory_mib;
};
/* What each VM of the class has, of one that was launched from that version of its image ("": as in
 * vm_image_built); of a service, what is paid for while it runs, however much more it may use. May be a call to the provider's
 * service. ERR_NOT_FOUND where nothing says so. */
MUST_CHECK int vm_size_of(const struct config_class *class, const char *version,
                          struct vm_size *out, struct err *e);

struct vm_spec {
    const char *name;          /* the ledger row's key, 1 to 64 of [A-Za-z0-9-] */
    const char *client_token;  /* 1 to 64 characters */
    const char *image_version; /* NULL or "": the class's, or the newest */
    struct slice payload;      /* packed, at most the provider's limit; a secret */
    int64_t max_duration_ms;   /* hard limit, enforced by the provider if it can */
    struct buf *console; /* NULL, or what gets the end of the console of a VM that failed to start,
                            as far as it has room, where the provider has one */
};

enum vm_run_state { VM_RUN_PENDING, VM_RUN_RUNNING, VM_RUN_ENDING, VM_RUN_ENDED };
const char *vm_run_state_name(enum vm_run_state s);

struct vm_info {
    char id[VM_ID_MAX + 1];
    char name[VM_NAME_SIZE]; /* "" unless vm_is_named */
    enum vm_run_state state;
    int64_t started_ms; /* wall clock; 0 unknown */
    int64_t ended_ms;
    int64_t max_duration_ms; /* the provider ends it after that; 0 unknown, also in lists */
    char reason[128];        /* why it ended, from the agent or the provider; "" unknown */
};

/* --- rates: the limits of a provider's service, shared between processes by the caller --- */
enum vm_call { VM_CALL_RUN, VM_CALL_TERMINATE, VM_CALL_DESCRIBE, VM_CALL_LIST };
const char *vm_call_name(enum vm_call c); /* "run", …; a static string */

/* Both functions may be called from any number of threads; either may be NULL. */
struct vm_pace {
    void *arg;
    /* Before each describe and each page of a list: blocks until the call may be made; on failure
     * it is not made, and the error is the operation's. A run's token comes with its slot
     * (ledger_reserve); a terminate's is taken by the caller, who must check again after a wait
     * whether the termination is still right. */
    int (*wait)(void *arg, enum vm_call call, struct err *e);
    /* The service throttled a call. */
    void (*throttled)(void *arg, enum vm_call call, int64_t retry_after_ms);
};

/* `deployment` identifies this deployment's VMs. Checks what can be checked without launching (the
 * image exists and has a supported version, the binary exists). */
MUST_CHECK int vm_open(const struct config_class *class, const char *deployment,
                       struct vm_provider **out, struct err *e);
/* The same, with a pace (copied; its arg is borrowed until vm_close). A host-bound provider calls
 * no service, and its pace is ignored. */
MUST_CHECK int vm_open_paced(const struct config_class *class, const char *deployment,
                             const struct vm_pace *pace, struct vm_provider **out, struct err *e);
void vm_close(struct vm_provider *p);

#define VM_DOMAIN_MAX 95
/* The domain of the service's rates and quotas: classes with the same domain share them
 * ("<provider>/<region>/<account>"). "" for a host-bound provider. Valid until vm_close. */
const char *vm_domain(const struct vm_provider *p);

/* Whether its VMs run on this host only: then rows carry the host's name. */
bool vm_host_bound(const struct vm_provider *p);

/* Whether VMs carry Mayfly's names: the id of a VM is the name that it was launched with, and lists
 * contain it. Otherwise only the response of vm_run leads from a row to its VM. */
bool vm_is_named(const struct vm_provider *p);

/* Whether there is room for one more VM, as far as that shows before a run: so that no runner is
 * registered for a VM that cannot start. On success it is kept, from other launches on this host, until
 * the next vm_run, a vm_room_release, or the end of this process. */
MUST_CHECK int vm_room(struct vm_provider *p, struct err *e);
void vm_room_release(struct vm_provider *p);

/* out_id holds VM_ID_MAX + 1 bytes. Success: the provider has accepted the VM and its payload.
 * After a failure other than ERR_RETRY nothing was left behind. After ERR_RETRY a VM may run,
 * unless vm_run_left_nothing is true: if VMs carry names (vm_is_named) the row's name finds it,
 * otherwise nothing does (fleet.h). */
MUST_CHECK int vm_run(struct vm_provider *p, const struct vm_spec *spec, char *out_id,
                      struct err *e);

#define VM_RUN_NO_VERSION (-2) /* with ERR_PERMANENT: that version cannot be launched (any more) */
#define VM_RUN_NOTHING (-1)    /* a provider's err.code with ERR_RETRY: no request was sent */
/* Whether the failed vm_run certainly left nothing behind. */
bool vm_run_left_nothing(const struct err *e);

/* Asks the VM to end, and kills it after grace_ms (0: at once). Returns when the provider confirms
 * that it has ended or is ending; a VM that no longer exists is success. Leaves nothing of it on
 * this host. */
MUST_CHECK int vm_terminate(struct vm_provider *p, const char *id, int64_t grace_ms, struct err *e);

/* ERR_NOT_FOUND when the provider no longer knows it. An ended VM may be returned for a while, so
 * that its reason can be read; vm_forget removes the rest of an ended one (log, state); success if
 * there is none. */
MUST_CHECK int vm_describe(struct vm_provider *p, const char *id, struct vm_info *out,
                           struct err *e);
MUST_CHECK int vm_forget(struct vm_provider *p, const char *id, struct err *e);

/* All VMs of this deployment at this class's provider; ended ones may be left out, but for those of
 * a host-bound provider, which are listed until they are forgotten. A list that could not be read to
 * its end is an error, never a shorter list. *out: owned, free(). */
MUST_CHECK int vm_list(struct vm_provider *p, struct vm_info **out, size_t *n, struct err *e);

/* --- listing.c: the same for several classes at once, page by page; one thread --- */
struct vm_listing;
/* Whether one listing covers the VMs of both classes: their service lists an account and region. */
bool vm_listed_together(const struct vm_provider *a, const struct vm_provider *b);
/* Of n classes, each two of which are listed together; borrows the providers until the last read. */
struct vm_listing *vm_listing_new(struct vm_provider *const *classes, size_t n);
void vm_listing_free(struct vm_listing *l);
/* Reads pages until until_ms (monotonic), at least one. *complete: there are no more. After an error
 * the next call goes on with the page that failed. A listing has no fixed size: what it keeps are the
 * VMs that have not ended. */
MUST_CHECK int vm_listing_read(struct vm_listing *l, int64_t until_ms, bool *complete,
                               struct err *e);
/* The VMs of the class at that place of `classes`; valid until vm_listing_free. Only a complete
 * listing names them all. */
const struct vm_info *vm_listing_vms(const struct vm_listing *l, size_t class, size_t *n);
/* The requests that were made. */
int64_t vm_listing_pages(const struct vm_listing *l);

/* One cheap call that shows whether the provider's service answers this class. Success for a
 * host-bound provider, which has none. */
MUST_CHECK int vm_probe(struct vm_provider *p, struct err *e);

/* Whether the class's VMs are kept from reaching a host that a runner needs, because it has an address
 * that they may not reach; appends what is wrong and what to do. Looks the name up; a name that
 * cannot be looked up is not refused. */
MUST_CHECK bool vm_refuses(const struct config_class *class, const char *host, const char *port,
                           struct buf *why);
/* Calls back for each host that the class's runners need and that its VMs may not reach, with the
 * text of vm_refuses: GitHub's, and the proxies. */
typedef void vm_refused_host_fn(void *arg, const char *host, const char *why);
void vm_refused_hosts(const struct config *c, const struct config_class *class,
                      vm_refused_host_fn *found, void *arg);

/* Below which VMs of this host have their disks; NULL: nowhere here. Valid until vm_close. */
const char *vm_directory(const struct vm_provider *p);

/* What VMs of this host did that an operator should know. Each is reported once, to one process. */
struct vm_notice {
    char vm[VM_NAME_SIZE]; /* "": it is about none */
    const char *kind;      /* of what its network refused; NULL: another notice */
    /* "io_error", "paused", "resumed", "console_dropped" and "status_dropped" (counted in bytes),
     * "process_limit", "shell_opened" and "shell_closed" (`text` is by whom: each is reported, though it is
     * not the first), "snapshot_refused" (about no VM); NULL: none, `text` is why the VM's emulator
     * shares this host's network. */
    const char *event;
    int64_t count;  /* since the last notice of this kind */
    bool first;     /* of this kind from this VM */
    char text[256]; /* "tcp 169.254.169.254 80", "write: No space left on device" */
};
typedef void vm_notice_fn(void *arg, const struct vm_notice *n);
void vm_notices(struct vm_provider *p, vm_notice_fn *take, void *arg);

/* Appends at most the last `limit` bytes of the VM's console to out; a guest's text, and a job's.
 * name: that it was launched with. ERR_NOT_FOUND if there is none, with where it would be; ERR_AUTH
 * where this program may not read it. May be a call to a service, of a few seconds at most. */
MUST_CHECK int vm_console(struct vm_provider *p, const char *id, const char *name, size_t limit,
                          struct buf *out, struct err *e);

#endif
