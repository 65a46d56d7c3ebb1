/*
 * The interface that a VM provider implements; for the front (vm.c) and the providers only.
 * Contracts in vm.h.
 */
#ifndef MAYFLY_VM_BACKEND_H
#define MAYFLY_VM_BACKEND_H

#include "common/base/buf.h"
#include "common/vm/vm.h"

typedef int vm_open_fn(const struct config_class *class, const char *deployment, void **out_state,
                       struct err *e);
typedef void vm_close_fn(void *state);
/* See vm_room. */
typedef int vm_room_fn(void *state, struct err *e);
typedef void vm_room_release_fn(void *state);
typedef int vm_run_fn(void *state, const struct vm_spec *spec, char *out_id, struct err *e);
typedef int vm_terminate_fn(void *state, const char *id, int64_t grace_ms, struct err *e);
typedef int vm_describe_fn(void *state, const char *id, struct vm_info *out, struct err *e);
typedef int vm_forget_fn(void *state, const char *id, struct err *e);
/* One request of a listing: adds the VMs of class i, whose state is states[i], by vm_listing_add, and
 * sets `next` to where the next request goes on. What a request that failed has added is dropped. */
struct vm_list_page {
    void *const *states;
    size_t classes;
    const char *cursor;         /* NULL: the first request */
    char *next;                 /* out: owned; NULL: there are no more */
    struct vm_listing *listing; /* for vm_listing_add */
};
typedef int vm_list_fn(struct vm_list_page *page, struct err *e);
void vm_listing_add(struct vm_listing *l, size_t class, const struct vm_info *vm);
/* See vm_listed_together, of two classes of the same domain. */
typedef bool vm_listed_together_fn(const void *a, const void *b);
/* See vm_probe. */
typedef int vm_probe_fn(void *state, struct err *e);
/* See vm_domain; for providers that are not host-bound. */
typedef const char *vm_domain_fn(const void *state);
typedef int vm_console_fn(void *state, const char *id, const char *name, size_t limit,
                          struct buf *out, struct err *e);

/* See vm_refuses; of a class that need not be open. */
typedef bool vm_refuses_fn(const struct config_class *class, const char *host, const char *port,
                           struct buf *why);
/* See vm_directory. */
typedef const char *vm_directory_fn(const void *state);
/* See vm_notices. */
typedef void vm_notices_fn(void *state, vm_notice_fn *take, void *arg);

/* See vm_use_quotas; for all classes with this provider. Logs what it could not read. */
typedef void vm_quotas_fn(struct config *c);
/* See vm_image_of. */
typedef void vm_image_fn(const struct config_class *class, struct vm_image *out);
/* See vm_image_built; of a class that need not be open. */
typedef int vm_image_built_fn(const struct config_class *class, const char *version,
                              int64_t *built_ms, struct err *e);
/* See vm_shell. */
typedef int vm_shell_fn(const struct config_class *class, const char *deployment, const char *name,
                        int *out_fd, struct err *e);
/* See vm_image_versions. */
typedef int vm_image_versions_fn(const struct config_class *class, struct vm_image_version **out,
                                 size_t *n, struct err *e);
/* See vm_image_deactivate. */
typedef int vm_image_deactivate_fn(const struct config_class *class, const char *version,
                                   struct err *e);
/* See vm_image_recalled; likewise. */
typedef int vm_image_recalled_fn(const struct config_class *class, const char *version,
                                 bool *recalled, struct err *e);
/* See vm_image_runner; likewise. */
typedef int vm_image_runner_fn(const struct config_class *class, char out[VM_RUNNER_VERSION],
                               struct err *e);
/* See vm_size_of; likewise. */
typedef int vm_size_fn(const struct config_class *class, const char *version, struct vm_size *out,
                       struct err *e);
/* See vm_check; for all classes with this provider. */
typedef void vm_check_fn(struct check *c);

struct vm_ops {
    const char *name;
    bool host_bound;
    bool named;         /* see vm_is_named */
    size_t payload_max; /* bytes */
    vm_open_fn *open;
    vm_close_fn *close;
    vm_domain_fn *domain; /* NULL when host_bound */
    vm_room_fn *room;     /* NULL: only a run shows it */
    vm_room_release_fn *room_release;
    vm_run_fn *run;
    vm_terminate_fn *terminate;
    vm_describe_fn *describe;
    vm_forget_fn *forget;
    vm_list_fn *list;
    vm_listed_together_fn *listed_together; /* NULL: each class is listed alone */
    vm_probe_fn *probe;                     /* NULL when host_bound */
    vm_console_fn *console;
    vm_image_fn *image;                       /* NULL: its images have no versions */
    vm_image_versions_fn *image_versions;     /* not NULL where `image` is not */
    vm_image_deactivate_fn *image_deactivate; /* likewise */
    vm_image_built_fn *image_built;
    vm_shell_fn *shell; /* NULL: its VMs have none; not NULL: host_bound */
    vm_image_recalled_fn *image_recalled;
    vm_image_runner_fn *image_runner;
    vm_size_fn *size;
    vm_check_fn *check;         /* NULL: no online check */
    vm_quotas_fn *apply_quotas; /* NULL: its service has none */
    vm_refuses_fn *refuses;     /* NULL: its VMs reach what their network's operator lets them */
    vm_notices_fn *notices;     /* NULL: it has none */
    vm_directory_fn *directory; /* NULL: its VMs write to no disk of this host */
};

struct vm_provider {
    const struct vm_ops *ops;
    void *state;
    struct vm_pace pace;
};

/* Returns 0 when that call may be made. */
MUST_CHECK int vm_pace_wait(const struct vm_pace *pace, enum vm_call call, struct err *e);
/* Reports a throttled call to the pace, and whose error it is; returns rc. */
int vm_call_ended(const struct vm_provider *p, enum vm_call call, int rc, struct err *e);

/* Of every provider (ops.c). */
extern const struct vm_ops *const vm_all_ops[];
extern const size_t vm_all_ops_count;

#endif
