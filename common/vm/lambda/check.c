/*
 * Classes with the provider lambda: the image and the version that would run, and the calls that
 * can be checked without a VM.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codec.h"
#include "common/vm/lambda/call.h"
#include "common/vm/lambda/check.h"
#include "common/vm/vm.h"

#define TEXT_BYTES_MAX 2048

struct asking {
    struct check *check;
    struct aws_client *service;
    struct lambda_check_class *facts;
    const struct lambda_settings *lambda;
    char subject[64];
};

static void report_finding(const struct asking *a, enum check_level level, const char *request,
                           const char *hint, const char *text)
{
    const struct check_finding f = {
        .level = level, .subject = a->subject, .request = request, .hint = hint};
    check_say(a->check, &f, "%s", text);
}

/* NULL and *e on failure. */
static json_t *fetch_json(const struct asking *a, const struct lambda_call *call, struct err *e)
{
    struct http_response answer;
    if (lambda_send(a->service, call, &answer, NULL, e) != 0) {
        return NULL;
    }
    json_t *root =
        json_loadb(answer.body.len > 0 ? answer.body.data : "", answer.body.len, 0, NULL);
    http_response_fini(&answer);
    if (root == NULL) {
        (void)err_set(e, ERR_RETRY, 0, "%s: the response is not JSON: check lambda.endpoint",
                      call->operation);
    }
    return root;
}

static const char *json_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

static void image_path(const struct asking *a, const char *below, struct buf *out)
{
    buf_init(out, TEXT_BYTES_MAX);
    buf_append_cstr(out, "/microvm-images/");
    codec_percent(out, slice_of(a->lambda->image));
    buf_append_cstr(out, below);
}

/* --- the image -------------------------------------------------------------------------------- */

static bool check_image(const struct asking *a)
{
    struct err e = {0};
    struct buf path;
    image_path(a, "", &path);
    const struct lambda_call call = {
        .operation = "GetMicrovmImage", .method = "GET", .path = buf_slice(&path)};
    json_t *image = fetch_json(a, &call, &e);
    buf_fini(&path);
    if (image == NULL) {
        check_say_error(a->check, CHECK_FAIL, a->subject, call.operation, &e);
        return false;
    }
    const struct check_finding f = {
        .level = CHECK_OK, .subject = a->subject, .request = call.operation};
    check_say(a->check, &f, "image %s exists, state %s", json_text(image, "name"),
              json_text(image, "state"));
    json_decref(image);
    return true;
}

static void check_base(const struct asking *a, const struct vm_image_version *used)
{
    struct err e = {0};
    bool recalled = false;
    if (lambda_base_recalled(a->service, used, &recalled, &e) != 0) {
        if (e.class != ERR_NOT_FOUND) {
            check_say_error(a->check, CHECK_WARN, a->subject, LAMBDA_BASES_OPERATION, &e);
        }
    } else if (recalled) {
        const struct check_finding f = {.level = CHECK_WARN,
                                        .subject = a->subject,
                                        .request = LAMBDA_BASES_OPERATION,
                                        .hint = "build the image anew: mayfly-publish-image "
                                                "refresh"};
        check_say(a->check, &f,
                  "version %s was built on version %s of AWS's image, which is RECALLED",
                  used->name, used->base);
    }
}

static void check_version(const struct asking *a)
{
    struct err e = {0};
    struct vm_image_version *list = NULL;
    size_t n = 0;
    if (lambda_list_versions(a->service, a->lambda->image, &list, &n, &e) != 0) {
        check_say_error(a->check, CHECK_FAIL, a->subject, LAMBDA_VERSIONS_OPERATION, &e);
        return;
    }
    const struct vm_image_version *used = lambda_version_in_use(a->facts->class, list, n, "");
    if (used == NULL || !used->active) {
        report_finding(a, CHECK_FAIL, LAMBDA_VERSIONS_OPERATION,
                       "build a version and set it ACTIVE",
                       a->lambda->image_version[0] != '\0'
                           ? "lambda.image_version does not exist, or is not ACTIVE"
                           : "the image has no ACTIVE version");
    } else {
        const struct check_finding f = {
            .level = CHECK_OK, .subject = a->subject, .request = LAMBDA_VERSIONS_OPERATION};
        check_say(a->check, &f, "%s version %s with %lld MiB",
                  a->lambda->image_version[0] != '\0' ? "launches use" : "the newest is",
                  used->name, (long long)used->memory_mib);
        a->facts->memory_mib = used->memory_mib;
        check_base(a, used);
    }
    free(list);
}

/* --- permissions ------------------------------------------------------------------------------ */

/* id: of a VM of the image, or "". */
static bool check_list_permission(const struct asking *a, char id[VM_ID_MAX + 1])
{
    struct err e = {0};
    struct buf query;
    buf_init(&query, TEXT_BYTES_MAX);
    buf_append_cstr(&query, "imageIdentifier=");
    codec_percent(&query, slice_of(a->lambda->image));
    const struct lambda_call call = {.operation = "ListMicrovms",
                                     .method = "GET",
                                     .path = SLICE("/microvms"),
                                     .query = buf_slice(&query)};
    json_t *page = fetch_json(a, &call, &e);
    buf_fini(&query);
    bool allowed = page != NULL;
    if (!allowed) {
        check_say_error(a->check, CHECK_FAIL, a->subject, call.operation, &e);
    }
    const json_t *vm = json_array_get(json_object_get(page, "items"), 0);
    if (!slice_to_cstr(slice_of(json_text(vm, "microvmId")), id, VM_ID_MAX + 1)) {
        id[0] = '\0';
    }
    json_decref(page);
    return allowed;
}

/* Permission is for an image, so only a VM of that image can show it: the service need not say "not
 * found" of an id that it does not have. */
static bool check_get_permission(const struct asking *a, const char *id)
{
    struct err e = {0};
    struct buf path;
    buf_init(&path, TEXT_BYTES_MAX);
    buf_append_cstr(&path, "/microvms/");
    codec_percent(&path, slice_of(id));
    const struct lambda_call call = {
        .operation = "GetMicrovm", .method = "GET", .path = buf_slice(&path)};
    json_t *vm = fetch_json(a, &call, &e);
    buf_fini(&path);
    bool allowed = vm != NULL || e.class == ERR_NOT_FOUND;
    json_decref(vm);
    if (!allowed) {
        check_say_error(a->check, CHECK_FAIL, a->subject, call.operation, &e);
    }
    return allowed;
}

static void check_permissions(const struct asking *a)
{
    char id[VM_ID_MAX + 1];
    bool list = check_list_permission(a, id);
    bool one = id[0] != '\0' && check_get_permission(a, id);
    const struct check_finding f = {
        .level = CHECK_OK, .subject = a->subject, .request = "permissions"};
    if (list) {
        check_say(a->check, &f,
                  "ListMicrovms%s allowed; %sRunMicrovm, TerminateMicrovm, PassNetworkConnector%s "
                  "cannot be tried without a VM and were not checked",
                  one ? " and GetMicrovm are" : " is", id[0] != '\0' ? "" : "GetMicrovm, ",
                  a->lambda->execution_role[0] != '\0' ? " and iam:PassRole" : "");
    }
}

/* --- together --------------------------------------------------------------------------------- */

static void check_class(struct check *c, const struct config_class *class,
                        struct lambda_check_class *facts)
{
    struct err e = {0};
    struct asking a = {.check = c, .facts = facts, .lambda = lambda_settings_of(class)};
    *facts = (struct lambda_check_class){.class = class};
    (void)snprintf(a.subject, sizeof a.subject, "class %.40s", class->name);
    if (lambda_check_image(class, &e) != 0 || lambda_client_open(class, &a.service, &e) != 0) {
        check_say_error(c, CHECK_FAIL, a.subject, "settings", &e);
        return;
    }
    (void)snprintf(facts->region, sizeof facts->region, "%s", aws_client_region(a.service));
    if (check_image(&a)) {
        check_version(&a);
    }
    check_permissions(&a);
    aws_client_close(a.service);
}

void lambda_check(struct check *c)
{
    const struct config *config = c->config;
    struct lambda_check_class *facts = calloc(config->place_count + 1, sizeof *facts);
    size_t n = 0;
    ASSERT(facts != NULL);
    for (size_t i = 0; i < config->place_count; i++) {
        if (strcmp(config->places[i]->provider, "lambda") == 0) {
            check_class(c, config->places[i], &facts[n++]);
        }
    }
    if (n > 0) {
        lambda_check_quotas(c, facts, n);
    }
    free(facts);
}
