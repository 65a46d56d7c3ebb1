/*
 * The provider `lambda`: VMs are AWS Lambda MicroVMs.
 *
 * A MicroVM has no name and no tags. Its image identifies its owner, so no other deployment and no
 * other class may use that image; the id that RunMicrovm returns identifies its row. A lost
 * response is therefore requested again at once, with the same client token, for which the service
 * returns the same MicroVM. If that fails too, a VM with an unknown id may run: vm_run returns
 * ERR_RETRY, and fleet.h describes what happens to the row.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/vm/lambda/call.h"
#include "common/vm/lambda/check.h"
#include "common/vm/lambda/output.h"
#include "common/vm/vm_backend.h"

#define PAYLOAD_MAX 4096 /* the service's limit for the run hook */
#define RUN_TRIES 3
#define RUN_RETRY_BASE_MS 100
#define RUN_RETRY_CAP_MS 1000
#define ROLE_TRIES 4          /* attempts while iam:PassRole is refused */
#define ROLE_WAIT_BASE_MS 500 /* before the second; doubles */
#define TEXT_MAX 2048         /* of a path or a query */
#define PAGE_ITEMS 50         /* the most that the service gives */

struct vm_lambda {
    struct aws_client *service;
    char *endpoint; /* as configured */
    char *image;
    char *image_version;
    char *execution_role;
    char *kms_key;
    char *log_group; /* "": the VMs' output is not stored */
    struct lambda_output *output;
    json_t *egress;
    json_t *ingress;
    char domain[VM_DOMAIN_MAX + 1];
};

/* --- open and close --------------------------------------------------------------------------- */

static void lambda_close(void *state)
{
    struct vm_lambda *l = state;
    if (l != NULL) {
        aws_client_close(l->service);
        lambda_output_close(l->output);
        free(l->endpoint);
        free(l->image);
        free(l->image_version);
        free(l->execution_role);
        free(l->kms_key);
        free(l->log_group);
        json_decref(l->egress);
        json_decref(l->ingress);
        free(l);
    }
}

static json_t *list_of(const struct config_list *list)
{
    json_t *out = json_array();
    for (size_t i = 0; i < list->count; i++) {
        ASSERT(json_array_append_new(out, json_string(list->items[i])) == 0);
    }
    return out;
}

/* The ARN of one of the service's own connectors. */
static void add_connector(json_t *list, const struct vm_lambda *l, const char *name)
{
    struct slice partition = lambda_arn_part(l->image, 1);
    json_t *arn = json_sprintf("arn:%.*s:lambda:%s:aws:network-connector:aws-network-connector:%s",
                               SLICE_ARG(partition), aws_client_region(l->service), name);
    size_t i;
    const json_t *listed;
    json_array_foreach(list, i, listed)
    {
        if (json_equal(listed, arn)) {
            json_decref(arn);
            return;
        }
    }
    ASSERT(arn != NULL && json_array_append_new(list, arn) == 0);
}

/* Outgoing traffic needs a connector; the service's own leads to the internet. A shell needs two
 * for incoming traffic. A launch that names none would get HTTP_INGRESS, which makes every port of
 * the VM reachable for whoever may create a token. */
static void set_connectors(struct vm_lambda *l, const struct lambda_settings *c)
{
    l->egress = list_of(&c->egress_connectors);
    l->ingress = list_of(&c->ingress_connectors);
    if (c->egress_connectors.count == 0) {
        add_connector(l->egress, l, "INTERNET_EGRESS");
    }
    if (c->shell) {
        add_connector(l->ingress, l, "HTTP_INGRESS");
        add_connector(l->ingress, l, "SHELL_INGRESS");
    }
    if (json_array_size(l->ingress) == 0) {
        add_connector(l->ingress, l, "NO_INGRESS");
    }
}

static void set_domain(struct vm_lambda *l, const struct lambda_settings *c)
{
    struct buf domain;
    buf_init(&domain, sizeof l->domain);
    lambda_domain_of(c, &domain);
    ASSERT(slice_to_cstr(buf_slice(&domain), l->domain, sizeof l->domain));
    buf_fini(&domain);
}

static const char *lambda_domain(const void *state)
{
    const struct vm_lambda *l = state;
    return l->domain;
}

static int lambda_open(const struct config_class *class, const char *deployment, void **out_state,
                       struct err *e)
{
    (void)deployment; /* the image identifies the deployment */
    const struct lambda_settings *c = lambda_settings_of(class);
    struct aws_client *service = NULL;
    struct lambda_output *output = NULL;
    if (lambda_check_image(class, e) != 0 || lambda_client_open(class, &service, e) != 0) {
        return -1;
    }
    if (lambda_output_open(c->log_group, aws_client_region(service), c->role_arn, &output, e) !=
        0) {
        aws_client_close(service);
        return err_wrap(e, "class %s", class->name);
    }
    struct vm_lambda *l = calloc(1, sizeof *l);
    ASSERT(l != NULL);
    l->service = service;
    l->output = output;
    l->endpoint = slice_dup(slice_of(c->endpoint));
    l->image = slice_dup(slice_of(c->image));
    l->image_version = slice_dup(slice_of(c->image_version));
    l->execution_role = slice_dup(slice_of(c->execution_role));
    l->kms_key = slice_dup(slice_of(c->kms_key));
    l->log_group = slice_dup(slice_of(c->log_group));
    set_connectors(l, c);
    set_domain(l, c);
    *out_state = l;
    return 0;
}

/* --- responses --- */

static int set_invalid_response(struct err *e, const char *operation)
{
    return err_set(e, ERR_RETRY, 200,
                   "%s: invalid response: try again; if it persists, check "
                   "lambda.endpoint",
                   operation);
}

static json_t *parse_json(const struct http_response *r)
{
    return json_loadb(r->body.len > 0 ? r->body.data : "", r->body.len, 0, NULL);
}

static bool copy_text(const json_t *object, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && slice_to_cstr(slice_of(text), out, size);
}

/* Seconds since 1970, with a fraction. */
static int64_t time_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double seconds = json_is_number(value) ? json_number_value(value) : 0;
    return seconds > 0 && seconds < 1e11 ? (int64_t)(seconds * 1000.0) : 0;
}

/* A suspended VM is alive: it holds its memory, and may be resumed. */
static bool read_state(const char *word, enum vm_run_state *out)
{
    static const struct {
        const char *word;
        enum vm_run_state state;
    } known[] = {{"PENDING", VM_RUN_PENDING},    {"RUNNING", VM_RUN_RUNNING},
                 {"SUSPENDING", VM_RUN_RUNNING}, {"SUSPENDED", VM_RUN_RUNNING},
                 {"TERMINATING", VM_RUN_ENDING}, {"TERMINATED", VM_RUN_ENDED}};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(known[i].word, word) == 0) {
            *out = known[i].state;
            return true;
        }
    }
    return false;
}

static int64_t duration_of(const json_t *item)
{
    json_int_t seconds = json_integer_value(json_object_get(item, "maximumDurationInSeconds"));
    return seconds > 0 && seconds <= LAMBDA_SECONDS_MAX ? (int64_t)seconds * 1000 : 0;
}

static bool read_vm(const json_t *item, struct vm_info *out)
{
    char word[32];
    *out = (struct vm_info){.started_ms = time_of(item, "startedAt"),
                            .ended_ms = time_of(item, "terminatedAt"),
                            .max_duration_ms = duration_of(item)};
    const char *reason = json_string_value(json_object_get(item, "stateReason"));
    if (reason != NULL) {
        struct slice r = slice_of(reason);
        r.len = r.len < sizeof out->reason ? r.len : sizeof out->reason - 1;
        (void)!slice_to_cstr(r, out->reason, sizeof out->reason);
    }
    return copy_text(item, "microvmId", out->id, sizeof out->id) && out->id[0] != '\0' &&
           copy_text(item, "state", word, sizeof word) && read_state(word, &out->state);
}

/* "/microvms/<id>"; the id is the service's own text. */
static void append_vm(struct buf *path, const char *id)
{
    buf_append_cstr(path, "/microvms/");
    codec_percent(path, slice_of(id));
}

/* --- run -------------------------------------------------------------------------------------- */

static void set_text(json_t *o, const char *key, const char *value)
{
    if (value[0] != '\0') {
        ASSERT(json_object_set_new(o, key, json_string(value)) == 0);
    }
}

/* A stream for each VM, named after its runner. Without a group, which needs a role, nothing is
 * stored. */
static json_t *logging_of(const struct vm_lambda *l, const struct vm_spec *spec)
{
    return l->log_group[0] == '\0' ? json_pack("{s:{}}", "disabled")
                                   : json_pack("{s:{s:s, s:s}}", "cloudWatch", "logGroup",
                                               l->log_group, "logStream", spec->name);
}

/* No idlePolicy: it measures incoming traffic, and a runner only dials out, so it would suspend a
 * VM in the middle of its job. */
static char *run_body(const struct vm_lambda *l, const struct vm_spec *spec)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:o, s:O, s:O}", "imageIdentifier", l->image,
                          "clientToken", spec->client_token, "maximumDurationInSeconds",
                          (json_int_t)((spec->max_duration_ms + 999) / 1000), "logging",
                          logging_of(l, spec), "egressNetworkConnectors", l->egress,
                          "ingressNetworkConnectors", l->ingress);
    json_t *payload = json_stringn(spec->payload.ptr, spec->payload.len);
    if (o == NULL || payload == NULL) {
        json_decref(o);
        json_decref(payload);
        return NULL;
    }
    ASSERT(json_object_set_new(o, "runHookPayload", payload) == 0);
    set_text(o, "imageVersion",
             l->image_version[0] != '\0'   ? l->image_version
             : spec->image_version != NULL ? spec->image_version
                                           : "");
    set_text(o, "executionRoleArn", l->execution_role);
    set_text(o, "kmsKeyIdentifier", l->kms_key);
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(o);
    return text;
}

/* One launch, which may take several calls. */
struct launch {
    const struct vm_lambda *lambda;
    const char *body;
    bool vm_may_run;  /* a call got no response */
    bool role_denied; /* the last call was refused because iam:PassRole is missing */
};

static int run_once(struct launch *r, char *out_id, struct err *e)
{
    struct http_response answer;
    struct vm_info info;
    struct lambda_call call = {.operation = "RunMicrovm",
                               .method = "POST",
                               .path = SLICE("/microvms"),
                               .body = slice_of(r->body)};
    if (lambda_send(r->lambda->service, &call, &answer, &r->role_denied, e) != 0) {
        return -1;
    }
    json_t *root = parse_json(&answer);
    bool ok = read_vm(root, &info);
    json_decref(root);
    http_response_fini(&answer);
    if (!ok) {
        return set_invalid_response(e, call.operation);
    }
    memcpy(out_id, info.id, sizeof info.id);
    return 0;
}

/* A call without a response is repeated with its token: the service returns the same VM. After that
 * only an id is conclusive: an error of the repeated call says nothing about the first one. */
static int run_with_retries(struct launch *r, char *out_id, struct err *e)
{
    for (int try = 1;; try++) {
        if (run_once(r, out_id, e) == 0) {
            return 0;
        }
        r->vm_may_run = r->vm_may_run || (e->code != VM_RUN_NO_VERSION && !aws_changed_nothing(e));
        bool worth_it = e->class == ERR_RETRY || r->vm_may_run;
        if (!worth_it || try == RUN_TRIES) {
            return -1;
        }
        int64_t wait_ms = backoff_full_jitter_ms(RUN_RETRY_BASE_MS, RUN_RETRY_CAP_MS, try);
        wait_ms = wait_ms < e->retry_after_ms ? e->retry_after_ms : wait_ms;
        clock_sleep_until(clock_mono_ms() +
                          (wait_ms < RUN_RETRY_CAP_MS ? wait_ms : RUN_RETRY_CAP_MS));
    }
}

/* A role that was just granted is refused for a while, until the change has spread. */
static int run_with_role_retries(struct launch *r, char *out_id, struct err *e)
{
    int64_t wait_ms = ROLE_WAIT_BASE_MS;
    int64_t waited_ms = 0;
    for (int try = 1;; try++) {
        if (run_with_retries(r, out_id, e) == 0) {
            return 0;
        }
        if (!r->role_denied || r->vm_may_run) {
            return -1;
        }
        if (try == ROLE_TRIES) {
            return err_wrap(e,
                            "iam:PassRole for lambda.execution_role is refused, %d times in "
                            "%lld ms: allow it, or wait until a new policy has spread",
                            try, (long long)waited_ms);
        }
        clock_sleep_until(clock_mono_ms() + wait_ms);
        waited_ms += wait_ms;
        wait_ms *= 2;
    }
}

static int finish_run_body(const struct vm_lambda *l, const char *body, char *out_id, struct err *e)
{
    struct launch r = {.lambda = l, .body = body};
    if (run_with_role_retries(&r, out_id, e) == 0) {
        return 0;
    }
    if (r.vm_may_run) {
        e->class = ERR_RETRY;
        e->code = 0;
        return err_wrap(e, "a response was lost: a MicroVM with an unknown id may run");
    }
    e->code = e->class == ERR_RETRY ? VM_RUN_NOTHING : e->code;
    return -1;
}

static int lambda_run(void *state, const struct vm_spec *spec, char *out_id, struct err *e)
{
    const struct vm_lambda *l = state;
    if (spec->max_duration_ms > (int64_t)LAMBDA_SECONDS_MAX * 1000) {
        return err_set(e, ERR_PERMANENT, 0,
                       "a MicroVM lives at most %d seconds: lower max_duration",
                       LAMBDA_SECONDS_MAX);
    }
    char *body = run_body(l, spec);
    if (body == NULL) {
        return err_set(e, ERR_PERMANENT, 0, "the payload or the token is not valid text");
    }
    int rc = finish_run_body(l, body, out_id, e);
    explicit_bzero(body, strlen(body));
    free(body);
    return rc;
}

/* --- the other operations --- */

static int call_vm(const struct vm_lambda *l, const char *operation, const char *method,
                   const char *id, struct http_response *out, struct err *e)
{
    struct buf path;
    buf_init(&path, TEXT_MAX);
    append_vm(&path, id);
    struct lambda_call call = {.operation = operation, .method = method, .path = buf_slice(&path)};
    int rc = lambda_send(l->service, &call, out, NULL, e);
    buf_fini(&path);
    return rc;
}

/* No grace period: a caller that terminates a MicroVM has seen its runner's end or does not wait
 * for it. */
static int lambda_terminate(void *state, const char *id, int64_t grace_ms, struct err *e)
{
    struct http_response answer;
    (void)grace_ms;
    if (call_vm(state, "TerminateMicrovm", "DELETE", id, &answer, e) != 0) {
        return e->class == ERR_NOT_FOUND ? 0 : -1;
    }
    http_response_fini(&answer);
    return 0;
}

static int lambda_describe(void *state, const char *id, struct vm_info *out, struct err *e)
{
    struct http_response answer;
    struct vm_info info;
    if (call_vm(state, "GetMicrovm", "GET", id, &answer, e) != 0) {
        return -1;
    }
    json_t *root = parse_json(&answer);
    bool ok = read_vm(root, &info);
    json_decref(root);
    http_response_fini(&answer);
    if (!ok) {
        return set_invalid_response(e, "GetMicrovm");
    }
    *out = info;
    return 0;
}

/* The service deletes ended MicroVMs by itself. */
static int lambda_forget(void *state, const char *id, struct err *e)
{
    (void)state;
    (void)id;
    (void)e;
    return 0;
}

/* The class whose image that is; page->classes: none of these. */
static size_t class_of_image(const struct vm_list_page *page, const char *image)
{
    size_t i = 0;
    while (i < page->classes && strcmp(((struct vm_lambda *)page->states[i])->image, image) != 0) {
        i++;
    }
    return i;
}

/* Others' VMs are in the list too, and must not be terminated. An ended VM stays listed for about an
 * hour, so that in a busy account most of them have ended. */
static int read_list_page(struct vm_list_page *page, const json_t *root, struct err *e)
{
    const json_t *items = json_object_get(root, "items");
    const char *next = json_string_value(json_object_get(root, "nextToken"));
    if (!json_is_array(items)) {
        return set_invalid_response(e, "ListMicrovms");
    }
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *image = json_string_value(json_object_get(item, "imageArn"));
        struct vm_info info;
        size_t class = image == NULL ? 0 : class_of_image(page, image);
        if (class == page->classes) {
            continue;
        }
        if (image == NULL || !read_vm(item, &info)) {
            return set_invalid_response(e, "ListMicrovms");
        }
        if (info.state != VM_RUN_ENDED) {
            vm_listing_add(page->listing, class, &info);
        }
    }
    page->next = next != NULL && next[0] != '\0' ? slice_dup(slice_of(next)) : NULL;
    return 0;
}

/* The service counts a page's items before it filters them, so a filter saves no request. */
static int send_list(const struct vm_lambda *l, const char *cursor, int items,
                     struct http_response *answer, struct err *e)
{
    struct buf query;
    buf_init(&query, TEXT_MAX);
    buf_printf(&query, "maxResults=%d", items);
    if (cursor != NULL) {
        buf_append_cstr(&query, "&nextToken=");
        codec_percent(&query, slice_of(cursor));
    }
    struct lambda_call call = {.operation = "ListMicrovms",
                               .method = "GET",
                               .path = SLICE("/microvms"),
                               .query = buf_slice(&query)};
    int rc = query.failed ? set_invalid_response(e, call.operation)
                          : lambda_send(l->service, &call, answer, NULL, e);
    buf_fini(&query);
    return rc;
}

/* An empty page is not the last; only a page without a cursor is. */
static int lambda_list(struct vm_list_page *page, struct err *e)
{
    struct http_response answer;
    if (send_list(page->states[0], page->cursor, PAGE_ITEMS, &answer, e) != 0) {
        return -1;
    }
    json_t *root = parse_json(&answer);
    int rc = read_list_page(page, root, e);
    json_decref(root);
    http_response_fini(&answer);
    return rc;
}

static bool lambda_listed_together(const void *a, const void *b)
{
    const struct vm_lambda *x = a;
    const struct vm_lambda *y = b;
    return strcmp(x->endpoint, y->endpoint) == 0;
}

static int lambda_probe(void *state, struct err *e)
{
    struct http_response answer;
    if (send_list(state, NULL, 1, &answer, e) != 0) {
        return -1;
    }
    json_t *root = parse_json(&answer);
    int rc =
        json_is_array(json_object_get(root, "items")) ? 0 : set_invalid_response(e, "ListMicrovms");
    json_decref(root);
    http_response_fini(&answer);
    return rc;
}

/* A MicroVM's output goes to CloudWatch, if anywhere, in a stream named as its runner. */
static int lambda_console(void *state, const char *id, const char *name, size_t limit,
                          struct buf *out, struct err *e)
{
    const struct vm_lambda *l = state;
    (void)id;
    return lambda_output_read(l->output, name, limit, out, e);
}

const struct vm_ops vm_ops_lambda = {
    .name = "lambda",
    .payload_max = PAYLOAD_MAX,
    .open = lambda_open,
    .close = lambda_close,
    .domain = lambda_domain,
    .run = lambda_run,
    .terminate = lambda_terminate,
    .describe = lambda_describe,
    .forget = lambda_forget,
    .list = lambda_list,
    .listed_together = lambda_listed_together,
    .probe = lambda_probe,
    .console = lambda_console,
    .image = lambda_image,
    .image_versions = lambda_image_versions,
    .image_deactivate = lambda_image_deactivate,
    .image_recalled = lambda_image_recalled,
    .image_runner = lambda_image_runner,
    .size = lambda_size,
    .image_built = lambda_image_built,
    .check = lambda_check,
    .apply_quotas = lambda_apply_quotas,
};
