#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/printable.h"
#include "common/base/random.h"
#include "common/payload/payload.h"
#include "deploy/image/lambda/publish/publish.h"

#define TOKEN_BYTES 16
/* The service ends the VM then, should this program not come to it. */
#define VM_SECONDS_MORE 60
/* Reads are eventually consistent: a new version may not be known to a launch at once. */
#define RUN_TRIES 6
#define ID_MAX 128

static const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* The payload makes the VM check its runner and start none; without a connector named, the service
 * would attach one that lets callers in. */
static json_t *run_body(const struct publish_options *o, const char *region, const char *arn,
                        const char *version)
{
    char token[2 * TOKEN_BYTES + 1], closed[200];
    const json_int_t seconds = o->try_seconds + VM_SECONDS_MORE;
    random_hex(token, TOKEN_BYTES);
    snprintf(closed, sizeof(closed),
             "arn:%.*s:lambda:%s:aws:network-connector:aws-network-connector:NO_INGRESS",
             SLICE_ARG(publish_partition(o)), region);
    json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:I, s:{s:{}}, s:[s], s:o}", "imageIdentifier",
                             arn, "imageVersion", version, "clientToken", token, "runHookPayload",
                             PAYLOAD_TRIAL, "maximumDurationInSeconds", seconds, "logging",
                             "disabled", "ingressNetworkConnectors", closed,
                             "egressNetworkConnectors", publish_egress(o, region));
    ASSERT(body != NULL);
    return body;
}

static int launch_vm(struct images *im, const struct publish_options *o, const char *arn,
                     const char *version, char out_id[ID_MAX + 1], struct err *e)
{
    json_t *answer = NULL;
    json_t *body = run_body(o, aws_client_region(im->lambda), arn, version);
    int rc = -1;
    for (int try = 1; rc != 0; try++) {
        rc = images_call(im, "RunMicrovm", "POST", "/microvms", body, &answer, e);
        if (rc != 0 && (e->class != ERR_NOT_FOUND || try == RUN_TRIES)) {
            break;
        }
        if (rc != 0 && images_pause(im, o->poll_ms)) {
            break;
        }
    }
    if (rc == 0 &&
        (!slice_to_cstr(slice_of(member_text(answer, "microvmId")), out_id, ID_MAX + 1) ||
         out_id[0] == '\0')) {
        rc = err_set(e, ERR_RETRY, 0, "RunMicrovm: the response contains no microvmId");
    }
    json_decref(answer);
    json_decref(body);
    return rc;
}

static int call_vm(struct images *im, const char *operation, const char *method, const char *id,
                   json_t **out, struct err *e)
{
    struct buf path;
    buf_init(&path, 1024);
    buf_append_cstr(&path, "/microvms/");
    codec_percent(&path, slice_of(id));
    int rc = images_call(im, operation, method, path.data, NULL, out, e);
    buf_fini(&path);
    return rc;
}

/* One look. *running is set when the run hook was answered 200. */
static int look_at_vm(struct images *im, const char *id, char *state, size_t size, bool *running,
                      struct err *e)
{
    json_t *vm = NULL;
    if (call_vm(im, "GetMicrovm", "GET", id, &vm, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1; /* not visible yet */
    }
    const char *reason = member_text(vm, "stateReason");
    int rc = 0;
    snprintf(state, size, "%s", member_text(vm, "state"));
    *running = strcmp(state, "RUNNING") == 0;
    if (!*running && strcmp(state, "PENDING") != 0) {
        rc = err_set(e, ERR_PERMANENT, 0, "its VM did not start: %s: %s", state,
                     reason[0] != '\0' ? reason : "no reason was given");
    }
    json_decref(vm);
    return rc;
}

static int await_running(struct images *im, const struct publish_options *o, const char *id,
                         struct err *e)
{
    int64_t until_ms = clock_mono_ms() + o->try_seconds * 1000;
    char state[32] = "unknown";
    bool running = false;
    int rc = look_at_vm(im, id, state, sizeof(state), &running, e);
    while (rc == 0 && !running && clock_mono_ms() < until_ms) {
        if (images_pause(im, o->poll_ms)) {
            return err_set(e, ERR_PERMANENT, 0, "the trial was not finished");
        }
        rc = look_at_vm(im, id, state, sizeof(state), &running, e);
    }
    if (rc == 0 && !running) {
        rc = err_set(e, ERR_PERMANENT, 0, "its VM was still %s after %lld s", state,
                     (long long)o->try_seconds);
    }
    return rc;
}

static void terminate_vm(struct images *im, const char *id)
{
    struct err e = {0};
    json_t *answer = NULL;
    if (call_vm(im, "TerminateMicrovm", "DELETE", id, &answer, &e) != 0) {
        printable_line(stderr, "%s was not terminated, and runs until its maximum duration: %s", id,
                       e.message);
    }
    json_decref(answer);
}

/* What forbids a trial says nothing about the version. */
static bool forbids_trial(const struct err *e)
{
    return e->class == ERR_AUTH || e->class == ERR_CAPACITY || e->class == ERR_THROTTLED;
}

static int fail_version(struct images *im, const struct publish_options *o, const char *arn,
                        const char *version, struct err *e)
{
    struct err failed = {0};
    json_t *answer = NULL;
    if (publish_set_status(im, arn, version, "INACTIVE", &answer, &failed) != 0) {
        return err_wrap(
            e,
            "version %s was built, but must not be used, and could not be made INACTIVE "
            "(%s): run mayfly-publish-image deactivate --name %s %s",
            version, failed.message, o->name, version);
    }
    json_decref(answer);
    return err_wrap(e,
                    "version %s was built, but is INACTIVE now, so that no job gets it; the newest "
                    "ACTIVE one before it is used",
                    version);
}

/* Not undone: nothing is left to do after the trial but to print how it ended. Signals that somebody
 * wants ignored stay ignored. */
static void block_signals(sigset_t *out)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    sigemptyset(out);
    for (size_t i = 0; i < COUNT_OF(ending); i++) {
        struct sigaction now;
        if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN) {
            sigaddset(out, ending[i]);
        }
    }
    sigprocmask(SIG_BLOCK, out, NULL);
}

int publish_try(struct images *im, const struct publish_options *o, const char *arn,
                const char *version, bool *out_tried, struct err *e)
{
    char id[ID_MAX + 1] = "";
    block_signals(&im->caught);
    int rc = launch_vm(im, o, arn, version, id, e);
    if (rc == 0) {
        printable_line(stderr, "trying version %s in %s", version, id);
        rc = await_running(im, o, id, e);
        terminate_vm(im, id);
    }
    *out_tried = rc == 0;
    if (rc != 0 && im->signal != 0) {
        /* A call that it ended may have launched a VM. */
        err_wrap(e, "stopped by a signal (%s) during the trial%s", strsignal(im->signal),
                 id[0] != '\0' ? "" : "; a VM of it, if there is one, ends by itself in minutes");
    } else if (rc != 0 && forbids_trial(e) && o->trial == PUBLISH_TRY_IF_PERMITTED) {
        printable_line(
            stderr,
            "version %s is ACTIVE, but NO VM OF IT WAS TRIED: %s. For a trial this needs "
            "lambda:RunMicrovm, PassNetworkConnector, GetMicrovm and TerminateMicrovm, "
            "and room for one VM; --no-try publishes without one",
            version, e->message);
        return 0;
    }
    return rc == 0 ? 0 : fail_version(im, o, arn, version, e);
}
