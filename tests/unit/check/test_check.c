/*
 * The online checks against a scripted server that stands for GitHub, STS, Service Quotas and
 * Lambda MicroVMs at once: what is found, at which level, and that nothing but questions is asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "common/check/check.h"
#include "common/ledger/ledger.h"
#include "common/queue/queue.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/http/http_server.h"
#include "tests/unit/vm/lambda_class.h"

#define ROUTES_MAX 32
#define IMAGE_PATH                                                                                 \
    "/2025-09-09/microvm-images/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Amicrovm-image%3A"  \
    "mayfly"
#define VERSION(v, status, mib)                                                                    \
    "{\"imageVersion\":\"" v "\",\"status\":\"" status                                             \
    "\",\"state\":\"SUCCESSFUL\",\"resources\":[{\"minimumMemoryInMiB\":" mib "}]}"
#define QUOTA(name, value, unit)                                                                   \
    "{\"Quota\":{\"QuotaName\":\"" name "\",\"Value\":" value ",\"Unit\":\"" unit "\"}}"
#define GROUPS_PATH "/orgs/acme/actions/runner-groups"
#define GROUP(visibility, public)                                                                  \
    "{\"runner_groups\":[{\"id\":1,\"name\":\"default\",\"visibility\":\"" visibility              \
    "\",\"allows_public_repositories\":" public "}]}"
#define GRANTED(runners)                                                                           \
    "\"events\":[\"workflow_job\"],\"permissions\":{\"organization_self_hosted_runners\":"         \
    "\"" runners "\",\"actions\":\"read\",\"metadata\":\"read\"}"
#define DELIVERY(id, code, status)                                                                 \
    "{\"id\":" id ",\"guid\":\"g" id                                                               \
    "\",\"delivered_at\":\"2026-11-20T18:12:03Z\",\"status\":\"" status "\",\"status_code\":" code \
    ",\"event\":\"workflow_job\",\"action\":\"queued\"}"

struct route {
    const char *line;  /* what "METHOD /target" begins with */
    const char *holds; /* in the body; NULL: any */
    int status;
    const char *body;
};

static struct scene {
    struct http_server *server;
    struct route routes[ROUTES_MAX];
    size_t route_count;
    char directory[64];
    char *pem;
    struct config *config;
    char *said; /* the last check's output */
} scene;

/* --- the scene --- */

static bool fits(const struct route *r, const struct served_request *q)
{
    char line[1100];
    (void)snprintf(line, sizeof line, "%s %s", q->method, q->target);
    return strncmp(line, r->line, strlen(r->line)) == 0 &&
           (r->holds == NULL ||
            (q->body.len > 0 && memmem(q->body.data, q->body.len, r->holds, strlen(r->holds))));
}

static void serve(void *arg, const struct served_request *q, struct served_answer *a)
{
    (void)arg;
    a->status = 404;
    for (size_t i = scene.route_count; i-- > 0;) {
        if (fits(&scene.routes[i], q)) {
            a->status = scene.routes[i].status;
            buf_append_cstr(&a->body, scene.routes[i].body);
            return;
        }
    }
    buf_append_cstr(&a->body, "{\"message\":\"Not Found\"}");
}

/* The last one that fits answers. */
static void route(const char *line, const char *holds, int status, const char *body)
{
    assert_true(scene.route_count < ROUTES_MAX);
    scene.routes[scene.route_count++] = (struct route){line, holds, status, body};
}

static char *make_pem(void)
{
    char *text = NULL;
    char *data = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    EVP_PKEY *key = EVP_RSA_gen(2048);
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    long n = BIO_get_mem_data(bio, &data);
    text = strndup(data, (size_t)n);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return text;
}

static void all_is_well(void)
{
    scene.route_count = 0;
    route("POST /", "Action=GetCallerIdentity", 200,
          "<R><Result><Arn>arn:aws:sts::123456789012:assumed-role/mayfly/i</Arn></Result></R>");
    route("GET " IMAGE_PATH, NULL, 200, "{\"name\":\"mayfly\",\"state\":\"CREATED\"}");
    route(
        "GET " IMAGE_PATH "/versions", NULL, 200,
        "{\"items\":[" VERSION("2.0", "ACTIVE", "4096") "," VERSION("10.0", "ACTIVE", "2048") "]"
                                                                                              "}");
    route("GET /2025-09-09/microvms?", NULL, 200, "{\"items\":[{\"microvmId\":\"microvm-1\"}]}");
    route("GET /2025-09-09/microvms/microvm-1", NULL, 404,
          "{\"__type\":\"ResourceNotFoundException\",\"message\":\"none\"}");
    route("POST /", "L-CD1C0CC4", 200, QUOTA("Max allocated memory", "1024", "Gigabytes"));
    route("POST /", "L-535CA9B6", 200, QUOTA("RunMicrovm rate", "5", "None"));
    route("POST /", "L-91B95582", 200, QUOTA("RunMicrovm burst", "5", "None"));
    route("POST /", "L-74787B8A", 200, QUOTA("TerminateMicrovm rate", "10", "None"));
    route("POST /", "L-2CCA0501", 200, QUOTA("TerminateMicrovm burst", "10", "None"));
    route("POST /", "L-CE98C9E3", 200, QUOTA("GetMicrovm rate", "100", "None"));
    route("POST /", "L-C9C2110E", 200, QUOTA("GetMicrovm burst", "100", "None"));
    route("GET /app", NULL, 200,
          "{\"slug\":\"mayfly\",\"installations_count\":1,\"events\":[\"workflow_job\"],"
          "\"permissions\":{\"organization_self_hosted_runners\":\"write\",\"actions\":\"read\","
          "\"metadata\":\"read\"}}");
    route("GET /app/installations", NULL, 200,
          "[{\"id\":11,\"account\":{\"login\":\"acme\",\"type\":\"Organization\"}," GRANTED(
              "write") "}]");
    route("POST /app/installations/11/access_tokens", NULL, 201,
          "{\"token\":\"ghs_a\",\"expires_at\":\"2099-01-01T00:00:00Z\"}");
    route("GET " GROUPS_PATH, NULL, 200, GROUP("all", "false"));
    route("GET /app/hook/config", NULL, 200,
          "{\"url\":\"https://h.example/webhook\",\"content_type\":\"json\",\"secret\":\"********"
          "\",\"insecure_ssl\":\"0\"}");
    route("GET /app/hook/deliveries", NULL, 200,
          "[" DELIVERY("2", "202", "OK") "," DELIVERY("1", "200", "OK") "]");
}

/* lambda: more members of the class's lambda settings, with a comma before; limits likewise. */
static void configure(const char *class, const char *lambda, const char *limits)
{
    struct err e;
    json_t *key = json_string(scene.pem);
    char *pem = json_dumps(key, JSON_ENCODE_ANY);
    json_decref(key);
    struct buf text;
    buf_init(&text, 16384);
    buf_printf(&text,
               "{\"queue\": \"sqlite://%s/queue.db\", \"ledger\": \"sqlite://%s/ledger.db\","
               " \"github\": {\"api_url\": \"%s\", \"app\": {\"id\": \"7\", \"private_key\": %s}},"
               " \"limits\": {\"max_vms\": 100%s},"
               " \"classes\": [{\"name\": \"arm\", \"labels\": [\"self-hosted\"], %s"
               " \"provider\": \"lambda\", \"lambda\": {\"endpoint\": \"%s\", \"image\": "
               "\"" LAMBDA_IMAGE "\"%s}}]}",
               scene.directory, scene.directory, http_server_url(scene.server), pem, limits, class,
               http_server_url(scene.server), lambda);
    config_free(scene.config);
    if (config_parse(buf_slice(&text), "test", CONFIG_FOR_REAPER, &scene.config, NULL, &e) != 0) {
        fail_msg("%s", e.message);
    }
    buf_fini(&text);
    free(pem);
}

/* As the programs do at their start. */
static void make_stores(void)
{
    struct err e;
    struct queue *q = NULL;
    struct ledger *l = NULL;
    if (queue_open(scene.config->queue, &q, &e) != 0 ||
        ledger_open(scene.config->ledger, &l, &e) != 0) {
        fail_msg("%s", e.message);
    }
    queue_close(q);
    ledger_close(l);
}

static int set_up(void **state)
{
    scene = (struct scene){.server = http_server_start(serve, NULL), .pem = scene.pem};
    (void)snprintf(scene.directory, sizeof scene.directory, "/tmp/mayfly-check-XXXXXX");
    assert_non_null(mkdtemp(scene.directory));
    assert_int_equal(setenv("AWS_ENDPOINT_URL", http_server_url(scene.server), 1), 0);
    scene.pem = scene.pem != NULL ? scene.pem : make_pem(); /* one for all tests: it takes long */
    all_is_well();
    configure("", "", "");
    make_stores();
    return 0;
}

static void remove_stores(void)
{
    static const char *const files[] = {"queue.db",      "queue.db-wal",  "queue.db-shm",
                                        "ledger.db",     "ledger.db-wal", "ledger.db-shm",
                                        "queue.db-turn", "ledger.db-turn"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "%s/%s", scene.directory, files[i]);
        (void)unlink(path);
    }
}

static int tear_down(void **state)
{
    remove_stores();
    config_free(scene.config);
    http_server_stop(scene.server);
    free(scene.said);
    return rmdir(scene.directory);
}

static int check_as(bool json)
{
    static check_fn *const checks[] = {check_queue, check_ledger, check_aws,
                                       vm_check,    check_github, NULL};
    size_t n = 0;
    free(scene.said);
    FILE *out = open_memstream(&scene.said, &n);
    int code = check_all(scene.config, CONFIG_FOR_WORKER, checks, json, out);
    assert_int_equal(fclose(out), 0);
    return code;
}

static int check(void)
{
    return check_as(false);
}

static void assert_said(const char *text)
{
    if (strstr(scene.said, text) == NULL) {
        fail_msg("\"%s\" was not said:\n%s", text, scene.said);
    }
}

/* The number of lines that begin so. */
static int lines_with(const char *beginning)
{
    int n = 0;
    for (const char *at = scene.said; at != NULL && *at != '\0';) {
        n += strncmp(at, beginning, strlen(beginning)) == 0 ? 1 : 0;
        at = strchr(at, '\n');
        at = at != NULL ? at + 1 : NULL;
    }
    return n;
}

/* --- tests --- */

static void ledger_that_is_paid_for_is_not_read_too_often(void **state)
{
    static check_fn *const polls[] = {check_slot_poll, NULL};
    static const struct {
        const char *ledger;
        int64_t every_ms;
        bool told;
    } cases[] = {
        {"dynamodb://t", 20, true}, {"dynamodb://t", 250, false}, {"sqlite:///l", 20, false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config c = *scene.config;
        char ledger[32];
        size_t n = 0;
        free(scene.said);
        (void)snprintf(ledger, sizeof ledger, "%s", cases[i].ledger);
        c.ledger = ledger;
        c.worker.capacity_poll_ms = cases[i].every_ms;
        FILE *out = open_memstream(&scene.said, &n);
        assert_int_equal(check_all(&c, CONFIG_FOR_WORKER, polls, false, out), 0);
        assert_int_equal(fclose(out), 0);
        assert_int_equal(lines_with("warn"), cases[i].told ? 1 : 0);
    }
}

static void store_that_no_program_has_made_is_a_warning_and_is_not_made(void **state)
{
    remove_stores();
    assert_int_equal(check(), 0);
    assert_int_equal(lines_with("warn  queue: open: there is no queue file "), 1);
    assert_int_equal(lines_with("warn  ledger: open: ledger: there is no ledger file "), 1);
    assert_int_equal(lines_with("FAIL"), 0);
    assert_int_equal(rmdir(scene.directory), 0); /* it is empty */
    assert_int_equal(mkdir(scene.directory, 0700), 0);
}

static void check_queue_at(const char *url, const char *says)
{
    static check_fn *const checks[] = {check_queue, NULL};
    struct config c = *scene.config;
    char text[160];
    size_t n = 0;
    (void)snprintf(text, sizeof text, "%s", url);
    c.queue = text;
    free(scene.said);
    FILE *out = open_memstream(&scene.said, &n);
    assert_int_equal(check_all(&c, CONFIG_FOR_WORKER, checks, false, out), 1);
    assert_int_equal(fclose(out), 0);
    assert_said(says);
}

static void store_that_no_program_can_make_fails(void **state)
{
    char url[128];
    (void)snprintf(url, sizeof url, "sqlite://%s/ledger.db/below/queue.db", scene.directory);
    check_queue_at(url, "FAIL  queue: open: there is no queue file ");
    assert_said("/ledger.db (Not a directory): correct the path");
}

static void everything_in_order_is_told_and_ends_with_zero(void **state)
{
    int code = check();
    if (code != 0 || lines_with("warn") > 0 || lines_with("FAIL") > 0) {
        fail_msg("%s", scene.said);
    }
    assert_said("ok    queue: ping: sqlite opened");
    assert_said("ok    ledger: ping: sqlite opened");
    assert_said("access key AKIDEXAMPLE from the environment");
    assert_said("as arn:aws:sts::123456789012:assumed-role/mayfly/i, in region us-east-1");
    assert_said("class arm: GetMicrovmImage: image mayfly exists");
    assert_said("the newest is version 10.0 with 2048 MiB");
    assert_said("were not checked");
    assert_said("1024 Gigabytes allow 128 VMs of class arm");
    assert_said("all classes at their caps need 32 GiB of 1024");
    assert_said("RunMicrovm rate: 5 a second, limits.launch_rate.per_second is 5");
    assert_said("none of the last 2 failed");
    assert_said("ok    github: runner groups: Default of acme admits all repositories");
    assert_said(
        "ok    github: runner groups: Default of acme does not admit public repositories\n");
    assert_null(strstr(scene.said, "not-a-secret"));
    /* Nothing but questions. */
    assert_int_equal(http_server_count(scene.server, "DELETE"), 0);
    assert_int_equal(http_server_count(scene.server, "PUT"), 0);
    assert_int_equal(http_server_count(scene.server, "POST /2025"), 0);
}

static void json_is_one_object_a_line(void **state)
{
    route("GET /app/hook/deliveries", NULL, 200, "[]");
    assert_int_equal(check_as(true), 0);
    struct slice rest = slice_of(scene.said);
    int warnings = 0;
    while (rest.len > 0) {
        struct slice line;
        (void)slice_cut(rest, '\n', &line, &rest);
        json_t *o = json_loadb(line.ptr, line.len, 0, NULL);
        assert_non_null(json_string_value(json_object_get(o, "result")));
        const char *level = json_string_value(json_object_get(o, "level"));
        assert_true(strcmp(level, "ok") == 0 || json_is_string(json_object_get(o, "hint")));
        warnings += strcmp(level, "warn") == 0 ? 1 : 0;
        json_decref(o);
    }
    assert_int_equal(warnings, 1);
}

static void image_that_cannot_run_fails(void **state)
{
    route("GET " IMAGE_PATH "/versions", NULL, 200,
          "{\"items\":[" VERSION("1.0", "INACTIVE", "2048") "]}");
    assert_int_equal(check(), 1);
    assert_said("FAIL  class arm: ListMicrovmImageVersions: the image has no ACTIVE version");
    configure("", ", \"image_version\": \"1.0\"", "");
    assert_int_equal(check(), 1);
    assert_said("lambda.image_version does not exist, or is not ACTIVE");
    route("GET " IMAGE_PATH, NULL, 404,
          "{\"__type\":\"ResourceNotFoundException\",\"message\":\"x\"}");
    assert_int_equal(check(), 1);
    assert_said("FAIL  class arm: GetMicrovmImage: ResourceNotFoundException");
}

/* A second page, and the version that is named rather than the newest. */
static void versions_are_read_to_the_last_page(void **state)
{
    route("GET " IMAGE_PATH "/versions", NULL, 200,
          "{\"items\":[" VERSION("10.0", "ACTIVE", "2048") "],\"nextToken\":\"a=\"}");
    route("GET " IMAGE_PATH "/versions?nextToken=a%3D", NULL, 200,
          "{\"items\":[" VERSION("2.0", "ACTIVE", "8192") "]}");
    configure("", ", \"image_version\": \"2.0\"", "");
    assert_int_equal(check(), 0);
    assert_said("launches use version 2.0 with 8192 MiB");
    assert_said("allow 32 VMs of class arm");
}

static void denied_calls_fail_and_are_named(void **state)
{
    const char *denied = "{\"__type\":\"AccessDeniedException\",\"message\":\"no\"}";
    route("GET /2025-09-09/microvms/microvm-1", NULL, 403, denied);
    assert_int_equal(check(), 1);
    assert_said("FAIL  class arm: GetMicrovm: AccessDeniedException");
    assert_said("permissions: ListMicrovms is allowed");
    route("GET /2025-09-09/microvms?", NULL, 403, denied);
    assert_int_equal(check(), 1);
    assert_int_equal(lines_with("FAIL"), 1);
    route("POST /", "Action=GetCallerIdentity", 403,
          "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>bad</Message></Error>"
          "</ErrorResponse>");
    assert_int_equal(check(), 1);
    assert_said("FAIL  aws: sts:GetCallerIdentity:");
}

/* A policy for one image says nothing about the id of a VM that is not there. */
static void permission_to_read_a_vm_is_tried_on_a_vm_of_the_image_alone(void **state)
{
    (void)state;
    assert_int_equal(check(), 0);
    assert_said("permissions: ListMicrovms and GetMicrovm are allowed; RunMicrovm");
    route("GET /2025-09-09/microvms?", NULL, 200, "{\"items\":[]}");
    route("GET /2025-09-09/microvms/", NULL, 403, "{\"__type\":\"AccessDeniedException\"}");
    assert_int_equal(check(), 0);
    assert_said("permissions: ListMicrovms is allowed; GetMicrovm, RunMicrovm");
}

/* STS answers as JSON where the caller accepts that. */
static void identity_is_read_from_json_too(void **state)
{
    route("POST /", "Action=GetCallerIdentity", 200,
          "{\"GetCallerIdentityResponse\":{\"GetCallerIdentityResult\":{\"Account\":\"1\",\"Arn\":"
          "\"arn:aws:iam::1:user/me\"}}}");
    assert_int_equal(check(), 0);
    assert_said("calls are made as arn:aws:iam::1:user/me");
    route("POST /", "Action=GetCallerIdentity", 200, "<html>");
    assert_int_equal(check(), 0);
    assert_said("warn  aws: sts:GetCallerIdentity: the response contains no identity");
}

static void quotas_that_are_too_small_are_warned_of(void **state)
{
    route("POST /", "L-CD1C0CC4", 200, QUOTA("Max allocated memory", "16", "Gigabytes"));
    route("POST /", "L-535CA9B6", 200, QUOTA("RunMicrovm rate", "2", "None"));
    route("POST /", "L-91B95582", 400,
          "{\"__type\":\"NoSuchResourceException\",\"Message\":\"none\"}");
    route("POST /", "L-2CCA0501", 200, QUOTA("TerminateMicrovm burst", "9", "None"));
    assert_int_equal(check(), 0);
    assert_said("warn  quotas us-east-1: Max allocated memory: 16 Gigabytes allow 2 VMs");
    assert_said("all classes at their caps need 32 GiB of 16");
    assert_said("warn  quotas us-east-1: RunMicrovm rate: 2 a second, "
                "limits.launch_rate.per_second is 5");
    assert_said("L-91B95582 could not be read");
    assert_said("ok    quotas us-east-1: TerminateMicrovm rate: 10 a second, "
                "limits.terminate_rate.per_second is 10");
    assert_said("warn  quotas us-east-1: TerminateMicrovm burst: 9 at once, "
                "limits.terminate_rate.burst is 10");
    assert_said("ok    quotas us-east-1: GetMicrovm burst: 100 at once");
    configure("\"max_vms\": 2,", "", ", \"launch_rate\": {\"per_second\": 0}");
    assert_int_equal(check(), 0);
    assert_said("ok    quotas us-east-1: Max allocated memory: all classes at their caps need 16 "
                "GiB of 16");
    assert_said("limits.launch_rate.per_second is 0 (the rate has no limit)");
}

static void app_that_lacks_something_fails(void **state)
{
    route("GET /app", NULL, 200,
          "{\"slug\":\"mayfly\",\"installations_count\":0,\"events\":[],\"permissions\":"
          "{\"organization_self_hosted_runners\":\"read\",\"metadata\":\"read\"}}");
    route("GET /app/hook/config", NULL, 200,
          "{\"url\":\"https://h.example/hook\",\"content_type\":\"form\",\"insecure_ssl\":1}");
    route("GET /app/hook/deliveries", NULL, 200,
          "[" DELIVERY("3", "401", "Invalid") "," DELIVERY("2", "0", "timed out") "," DELIVERY(
              "1", "202", "OK") "]");
    assert_int_equal(check(), 1);
    assert_said("has 0 installation(s): install");
    assert_said("permission Self-hosted runners (organization) is read, needed is write");
    assert_said("permission Actions (repository) is none, needed is read");
    assert_said("not subscribed to workflow_job");
    assert_said("warn  github: webhook's settings: the URL is https://h.example/hook");
    assert_said("FAIL  github: webhook's settings: the webhook has no secret");
    assert_said(
        "FAIL  github: last deliveries: 2 of the last 3 failed (67 %): 1 with 401, 1 without "
        "an answer; the newest at 2026-11-20T18:12:03.000Z");
    assert_int_equal(lines_with("FAIL"), 6);
}

static void runner_groups_that_differ_from_the_configuration_are_warned_of(void **state)
{
    char allow[] = "allow";
    char repository[] = "repository";
    char group[] = "ours";
    char *refuse = scene.config->github.public_repositories;
    scene.config->github.public_repositories = allow;
    assert_int_equal(check(), 0);
    assert_said("warn  github: runner groups: Default of acme does not admit public repositories: "
                "VMs are launched for their jobs and never get them");
    route("GET " GROUPS_PATH, NULL, 200, GROUP("selected", "true"));
    assert_int_equal(check(), 0);
    assert_said("ok    github: runner groups: Default of acme admits selected repositories");
    assert_said("warn  github: runner groups: Default of acme admits public repositories: a pull "
                "request from a fork");
    scene.config->github.public_repositories = refuse;
    assert_int_equal(check(), 0);
    assert_said("warn  github: runner groups: Default of acme admits public repositories: no VM");
    char *scope = scene.config->github.scope;
    scene.config->github.scope = repository;
    assert_int_equal(check(), 1); /* the App has no permission for it */
    assert_said("ok    github: runner groups: runners register with repositories");
    scene.config->github.scope = scope;
    char *no_group = scene.config->classes[0].runner_group;
    scene.config->classes[0].runner_group = group;
    assert_int_equal(check(), 0);
    assert_said("warn  github: runner groups: organisation acme has no runner group \"ours\"");
    scene.config->classes[0].runner_group = no_group;
    route("GET /app/installations", NULL, 200, "[]");
    assert_int_equal(check(), 0);
    assert_said("warn  github: runner groups: no organization is known to look at");
}

static void owner_who_has_not_accepted_a_permission_is_named(void **state)
{
    route(
        "GET /app/installations", NULL, 200,
        "[{\"id\":11,\"account\":{\"login\":\"acme\",\"type\":\"Organization\"}," GRANTED(
            "read") "},"
                    "{\"id\":12,\"account\":{\"login\":\"ann\",\"type\":\"User\"},\"suspended_at\":"
                    "\"2026-11-20T18:12:03Z\"," GRANTED(
                        "write") "},"
                                 "{\"id\":13,\"account\":{\"login\":\"bob\",\"type\":\"User\"}"
                                 "," GRANTED("write") "}]");
    assert_int_equal(check(), 1);
    assert_said("FAIL  github: GET /app/installations: acme has not accepted Self-hosted runners "
                "(organization): write: its owner must accept");
    assert_said("warn  github: GET /app/installations: ann has suspended it");
    assert_said("ok    github: GET /app/installations: bob (user), with all permissions");
    assert_int_equal(lines_with("FAIL"), 1);
}

static void few_failed_deliveries_are_a_warning(void **state)
{
    route("GET /app/hook/deliveries", NULL, 200,
          "[" DELIVERY("3", "202", "OK") "," DELIVERY("2", "503", "x") "," DELIVERY("1", "202",
                                                                                    "OK") "]");
    route("GET /app/hook/config", NULL, 200,
          "{\"url\":\"https://h.example/webhook\",\"secret\":\"********\",\"insecure_ssl\":\"1\"}");
    assert_int_equal(check(), 0);
    assert_said("warn  github: last deliveries: 1 of the last 3 failed (33 %)");
    assert_said("warn  github: webhook's settings: GitHub does not verify");
    route("GET /app", NULL, 401, "{\"message\":\"A JSON web token could not be decoded\"}");
    assert_int_equal(check(), 1);
    assert_said("FAIL  github: GET /app:");
}

/* What failed is pulled; what somebody accepted is not. */
static void pulled_deliveries_that_failed_are_as_they_should_be(void **state)
{
    route("GET /app/hook/config", NULL, 200, "{\"url\":\"https://mayfly.invalid/webhook\"}");
    route("GET /app/hook/deliveries", NULL, 200,
          "[" DELIVERY("2", "502", "x") "," DELIVERY("1", "0", "timed out") "]");
    scene.config->github.pull_interval_ms = 5000;
    assert_int_equal(check(), 0);
    assert_said("ok    github: webhook's settings: the URL is https://mayfly.invalid/webhook; "
                "deliveries are pulled (github.pull)");
    assert_said("ok    github: last deliveries: the last 2 can be pulled");
    route("GET /app/hook/deliveries", NULL, 200,
          "[" DELIVERY("2", "502", "x") "," DELIVERY("1", "200", "OK") "]");
    assert_int_equal(check(), 0);
    assert_said("warn  github: last deliveries: 1 of the last 2 were accepted (2xx) and are not "
                "pulled");
    route("GET /app/hook/deliveries", NULL, 403, "{\"message\":\"Resource not accessible\"}");
    assert_int_equal(check(), 1);
    assert_said("FAIL  github: last deliveries: ");
    scene.config->github.pull_interval_ms = 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(everything_in_order_is_told_and_ends_with_zero),
        CASE(store_that_no_program_has_made_is_a_warning_and_is_not_made),
        CASE(store_that_no_program_can_make_fails),
        CASE(json_is_one_object_a_line),
        CASE(ledger_that_is_paid_for_is_not_read_too_often),
        CASE(image_that_cannot_run_fails),
        CASE(versions_are_read_to_the_last_page),
        CASE(denied_calls_fail_and_are_named),
        CASE(permission_to_read_a_vm_is_tried_on_a_vm_of_the_image_alone),
        CASE(identity_is_read_from_json_too),
        CASE(quotas_that_are_too_small_are_warned_of),
        CASE(app_that_lacks_something_fails),
        CASE(runner_groups_that_differ_from_the_configuration_are_warned_of),
        CASE(owner_who_has_not_accepted_a_permission_is_named),
        CASE(few_failed_deliveries_are_a_warning),
        CASE(pulled_deliveries_that_failed_are_as_they_should_be),
    };
    lambda_environment();
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(scene.pem);
    return rc;
}
