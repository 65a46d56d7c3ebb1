#include "deploy/image/agent/agent_lambda.h"

#include <string.h>
#include <time.h>

#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_child.h"
#include "deploy/image/agent/agent_unique.h"

#define REQUEST_MS 10000
/* A terminate hook is answered even if the runner exceeds its grace period. */
#define HELD_MARGIN_MS 5000
#define HOSTNAME_MAX 63
/* Within the usual time of the run hook. */
#define TRIAL_MS 30000
#define TRIAL_POLL_MS 100

/* --- the run hook ----------------------------------------------------------------------------- */

/* A fingerprint of the payload, never 0. It only decides the response to a repetition: a second
 * payload is never accepted. */
static uint64_t fingerprint(struct slice s)
{
    return hash_bytes(HASH_START, s) | 1;
}

/* The runner's name as a host name; "" if it has no valid character. */
static void host_name_of(struct slice runner_name, char out[HOSTNAME_MAX + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < runner_name.len && n < HOSTNAME_MAX; i++) {
        char c = runner_name.ptr[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (fine || n > 0) {
            out[n++] = fine ? c : '-';
        }
    }
    while (n > 0 && out[n - 1] == '-') {
        n--;
    }
    out[n] = '\0';
}

/* Entropy that no other copy of this VM has: the payload contains a private key. The time
 * distinguishes two wake-ups of one VM. */
static void gather_entropy(struct buf *out, struct slice packed, struct slice other)
{
    struct timespec now[2];
    clock_gettime(CLOCK_REALTIME, &now[0]);
    clock_gettime(CLOCK_BOOTTIME, &now[1]);
    buf_append(out, packed);
    buf_append(out, other);
    buf_append(out, (struct slice){(const char *)now, sizeof(now)});
}

static void wipe_payload(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

static int make_unique(struct slice packed, struct slice runner_name, const char *microvm_id,
                       struct err *e)
{
    char hostname[HOSTNAME_MAX + 1];
    struct buf entropy;
    buf_init(&entropy, REQUEST_BODY_MAX + 1024);
    gather_entropy(&entropy, packed, slice_of(microvm_id));
    host_name_of(runner_name, hostname);
    const struct agent_unique unique = {
        .entropy = buf_slice(&entropy), .credit = true, .hostname = hostname, .lenient = true};
    int rc = agent_unique_apply(&unique, e);
    wipe_payload(&entropy);
    return rc;
}

/* Returns 200, or ends the VM. */
static int start_unpacked(struct agent_lambda *a, struct slice packed, const char *microvm_id,
                          const struct payload *payload)
{
    struct err e = {0};
    if (a->options.unique && make_unique(packed, payload->runner_name, microvm_id, &e) != 0) {
        log_error("identity_reset_failed", LOG_ERR(&e));
        agent_core_reject(a->core, AGENT_NOT_UNIQUE);
        return 500;
    }
    if (agent_core_start(a->core, packed, a->now_ms, &e) != 0) {
        log_error("payload_rejected", LOG_STR("reason", agent_reason_name(a->core->reason)),
                  LOG_ERR(&e));
        return a->core->reason == AGENT_BAD_PAYLOAD ? 400 : 500;
    }
    agent_prepare_start(&a->prepare, payload);
    return 200;
}

static int start_runner(struct agent_lambda *a, struct slice packed, const char *microvm_id)
{
    struct payload payload = {0};
    struct err ignored; /* the core reports it, and ends the VM */
    agent_warm_stop(&a->ready);
    agent_warm_stop(&a->validate);
    (void)!payload_unpack(packed, &payload, &ignored);
    int status = start_unpacked(a, packed, microvm_id, &payload);
    payload_fini(&payload);
    return status;
}

/* A round that may end within the hook's time, without what validate has checked. */
static enum warm_state poll_trial(struct agent_lambda *a)
{
    struct agent_warm_options options = a->options.warm;
    options.check = NULL;
    options.limit_ms = options.limit_ms < TRIAL_MS ? options.limit_ms : TRIAL_MS;
    return agent_warm_poll(&a->trial, &options, a->now_ms);
}

static int status_of(enum warm_state state)
{
    return state == WARM_PASSED ? 200 : state == WARM_FAILED ? 500 : 503;
}

/* Instead of a job: does this VM start? The response waits for the result. */
static int on_trial(struct agent_lambda *a, const char *microvm_id)
{
    struct err e = {0};
    if (a->trial.state == WARM_COLD && a->options.unique &&
        make_unique(SLICE(PAYLOAD_TRIAL), SLICE("mayfly-try"), microvm_id, &e) != 0) {
        log_error("identity_reset_failed", LOG_ERR(&e));
        agent_core_reject(a->core, AGENT_NOT_UNIQUE);
        return 500;
    }
    enum warm_state state = poll_trial(a);
    return state == WARM_RUNNING ? HOOK_LATER : status_of(state);
}

static void work_trial(struct agent_lambda *a)
{
    if (a->trial.state == WARM_RUNNING && poll_trial(a) != WARM_RUNNING) {
        agent_hooks_answer(&a->hooks, HOOK_RUN, status_of(a->trial.state), a->now_ms);
    }
}

static int on_run(struct agent_lambda *a, struct slice body)
{
    struct agent_run_body run;
    struct buf packed;
    int status = 400;
    buf_init(&packed, REQUEST_BODY_MAX);
    if (!agent_run_body_parse(body, &run, &packed)) {
        if (agent_hooks_may_log(&a->hooks)) {
            log_error("run_request_rejected", LOG_INT("bytes", (int64_t)body.len));
        }
    }
    uint64_t seen = fingerprint(buf_slice(&packed));
    bool trial = slice_eq_cstr(buf_slice(&packed), PAYLOAD_TRIAL);
    if (trial && a->core->state == AGENT_WAITING) {
        a->payload_fingerprint = seen;
        status = on_trial(a, run.microvm_id);
    } else if (a->payload_fingerprint != 0) {
        status = seen == a->payload_fingerprint ? 200 : 409;
        if (agent_hooks_may_log(&a->hooks)) {
            log_warn("run_repeated", LOG_INT("status", status));
        }
    } else if (packed.len > 0 && a->core->state == AGENT_WAITING) {
        log_info("run", LOG_STR("microvm", run.microvm_id),
                 LOG_INT("payload_bytes", (int64_t)packed.len));
        a->payload_fingerprint = seen;
        status = start_runner(a, buf_slice(&packed), run.microvm_id);
    }
    wipe_payload(&packed);
    return status;
}

/* --- the other hooks -------------------------------------------------------------------------- */

static void on_resume(const struct agent_lambda *a)
{
    struct err e = {0};
    struct buf entropy;
    if (!a->options.unique) {
        return;
    }
    buf_init(&entropy, 128);
    gather_entropy(&entropy, SLICE(""), SLICE(""));
    const struct agent_unique unique = {.entropy = buf_slice(&entropy), .lenient = true};
    if (agent_unique_refresh(&unique, &e) != 0) {
        log_error("refresh_failed", LOG_ERR(&e));
    }
    wipe_payload(&entropy);
}

static int on_terminate(struct agent_lambda *a)
{
    bool running = a->core->state == AGENT_STARTED || a->core->state == AGENT_ENDING;
    agent_core_terminate(a->core, a->now_ms);
    return running ? HOOK_LATER : 200;
}

static int on_warm(struct agent_lambda *a, enum agent_hook hook)
{
    bool validate = hook == HOOK_VALIDATE;
    struct agent_warm_options options = a->options.warm;
    if (a->core->state != AGENT_WAITING) {
        return 200; /* after the payload there is no reason to check anything */
    }
    options.check = validate ? options.check : NULL;
    options.read_files = validate;
    return status_of(agent_warm_poll(validate ? &a->validate : &a->ready, &options, a->now_ms));
}

static int on_hook(void *ctx, enum agent_hook hook, struct slice body)
{
    struct agent_lambda *a = ctx;
    switch (hook) {
    case HOOK_READY:
    case HOOK_VALIDATE:
        return on_warm(a, hook);
    case HOOK_RUN:
        return on_run(a, body);
    case HOOK_RESUME:
        if (agent_hooks_may_log(&a->hooks)) {
            log_info("resumed", LOG_INT("state", a->core->state));
        }
        on_resume(a);
        return 200;
    case HOOK_SUSPEND:
        if (agent_hooks_may_log(&a->hooks)) {
            log_info("suspending", LOG_INT("state", a->core->state));
        }
        return 200;
    case HOOK_TERMINATE:
        if (agent_hooks_may_log(&a->hooks)) {
            log_info("terminating", LOG_INT("state", a->core->state));
        }
        return on_terminate(a);
    case HOOK_COUNT:
        break;
    }
    return 404;
}

/* --- the transport ---------------------------------------------------------------------------- */

int agent_lambda_open(struct agent_lambda *a, const struct agent_lambda_options *options,
                      struct agent_core *core, struct err *e)
{
    *a = (struct agent_lambda){
        .options = *options, .core = core, .prepare = {.path = options->prepare}};
    agent_warm_init(&a->ready);
    agent_warm_init(&a->validate);
    agent_warm_init(&a->trial);
    const struct agent_hooks_options hooks = {.address = options->address,
                                              .port = options->port,
                                              .request_ms = REQUEST_MS,
                                              .held_ms =
                                                  core->options.kill_grace_ms + HELD_MARGIN_MS,
                                              .fn = on_hook,
                                              .ctx = a};
    return agent_hooks_open(&a->hooks, &hooks, e);
}

void agent_lambda_close(struct agent_lambda *a)
{
    agent_warm_stop(&a->ready);
    agent_warm_stop(&a->validate);
    agent_warm_stop(&a->trial);
    agent_prepare_stop(&a->prepare);
    agent_hooks_close(&a->hooks);
}

static void lambda_work(void *ctx, int64_t now_ms)
{
    struct agent_lambda *a = ctx;
    a->now_ms = now_ms;
    agent_hooks_work(&a->hooks, now_ms);
    work_trial(a);
}

static int64_t lambda_deadline(void *ctx)
{
    const struct agent_lambda *a = ctx;
    int64_t hooks = agent_hooks_deadline(&a->hooks);
    int64_t trial = a->trial.state == WARM_RUNNING ? a->now_ms + TRIAL_POLL_MS : INT64_MAX;
    return hooks < trial ? hooks : trial;
}

static void lambda_ended(void *ctx, int64_t now_ms)
{
    struct agent_lambda *a = ctx;
    agent_hooks_answer(&a->hooks, HOOK_TERMINATE, 200, now_ms);
}

struct agent_transport agent_lambda_transport(struct agent_lambda *a)
{
    return (struct agent_transport){.fd = a->hooks.epoll_fd,
                                    .work = lambda_work,
                                    .deadline = lambda_deadline,
                                    .ended = lambda_ended,
                                    .ctx = a};
}
