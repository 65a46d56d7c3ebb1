#include "common/queue/sqs/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/url_options.h"
#include "common/job/lane.h"

#define POLL_WAIT_DEFAULT_MS 10000
#define SENDERS_DEFAULT 8
#define TIMEOUT_DEFAULT_MS 5000
#define NAMED_MAX 256
#define DEAD "-dead"

/* No '_', which stands for a lane's '.': so no two pairs of prefix and lane have the same name. */
static const char prefix_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
static const char name_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* --- names --- */
bool sqs_is_address(const char *name_or_url)
{
    return slice_starts_with(slice_of(name_or_url), SLICE("http://")) ||
           slice_starts_with(slice_of(name_or_url), SLICE("https://"));
}

const char *sqs_name_of(const char *name_or_url)
{
    const char *slash = strrchr(name_or_url, '/');
    return slash != NULL ? slash + 1 : name_or_url;
}

static bool ends_with(const char *s, const char *end)
{
    size_t len = strlen(s);
    size_t end_len = strlen(end);
    return len >= end_len && memcmp(s + len - end_len, end, end_len) == 0;
}

static int check_name(const char *name, const char *what, struct err *e)
{
    size_t len = strlen(name);
    if (ends_with(name, ".fifo")) {
        return err_set(e, ERR_PERMANENT, 0,
                       "%s: %s is a FIFO queue, which blocks all jobs of a repository behind one "
                       "that is retried and cannot delay a single message: use a standard queue",
                       what, name);
    }
    if (len == 0 || len > SQS_NAME_MAX || strspn(name, name_letters) != len) {
        return err_set(e, ERR_PERMANENT, 0,
                       "%s: \"%.100s\" is not the name of an SQS queue: use 1 to %d letters, "
                       "digits, '-' or '_'",
                       what, name, SQS_NAME_MAX);
    }
    return 0;
}

static const struct sqs_named *find_named(const struct sqs_url *u, const char *lane)
{
    for (size_t i = 0; i < u->named_count; i++) {
        if (strcmp(u->named[i].lane, lane) == 0) {
            return &u->named[i];
        }
    }
    return NULL;
}

static int name_by_prefix(const struct sqs_url *u, const char *lane, bool dead, char *out,
                          struct err *e)
{
    if (u->prefix[0] == '\0') {
        return err_set(e, ERR_PERMANENT, 0,
                       "lane %s has no queue: the SQS URL has neither a prefix nor queue.%s=NAME",
                       lane, lane);
    }
    if (ends_with(lane, DEAD)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "lane %s cannot be on SQS: a queue whose name ends with %s is a dead-letter "
                       "queue; rename the class",
                       lane, DEAD);
    }
    size_t len = strlen(u->prefix) + 1 + strlen(lane) + strlen(DEAD);
    if (len > SQS_NAME_MAX) {
        return err_set(e, ERR_PERMANENT, 0,
                       "lane %s: its queues %s-%s and …%s would have names of up to %zu "
                       "characters; SQS allows %d: shorten the prefix or the class's name",
                       lane, u->prefix, lane, DEAD, len, SQS_NAME_MAX);
    }
    (void)snprintf(out, SQS_ADDRESS_SIZE, "%s-%s%s", u->prefix, lane, dead ? DEAD : "");
    for (char *dot = out; (dot = strchr(dot, '.')) != NULL;) {
        *dot = '_';
    }
    return 0;
}

int sqs_url_queue(const struct sqs_url *u, const char *lane, bool dead, char *out, struct err *e)
{
    const struct sqs_named *named = find_named(u, lane);
    if (named == NULL || (named->live[0] == '\0' && !(dead && named->dead[0] != '\0'))) {
        return name_by_prefix(u, lane, dead, out, e);
    }
    bool own = dead && named->dead[0] != '\0';
    int n = snprintf(out, SQS_ADDRESS_SIZE, "%s%s", own ? named->dead : named->live,
                     dead && !own ? DEAD : "");
    if (n < 0 || n >= SQS_ADDRESS_SIZE) {
        return err_set(e, ERR_PERMANENT, 0, "lane %s: its queue's URL is too long", lane);
    }
    return check_name(sqs_name_of(out), lane, e);
}

bool sqs_url_lane(const struct sqs_url *u, const char *name, char lane[QUEUE_LANE_MAX + 1])
{
    size_t len = strlen(u->prefix);
    if (len == 0 || strncmp(name, u->prefix, len) != 0 || name[len] != '-' ||
        ends_with(name, DEAD) ||
        !slice_to_cstr(slice_of(name + len + 1), lane, QUEUE_LANE_MAX + 1)) {
        return false;
    }
    for (char *line = lane; (line = strchr(line, '_')) != NULL;) {
        *line = '.';
    }
    return strcmp(lane, EVENTS_LANE) == 0 || launch_lane_class(lane) != NULL;
}

/* --- the URL --- */
static struct sqs_named *find_or_add_named(struct sqs_url *u, struct slice lane)
{
    for (size_t i = 0; i < u->named_count; i++) {
        if (slice_eq_cstr(lane, u->named[i].lane)) {
            return &u->named[i];
        }
    }
    if (u->named_count == NAMED_MAX) {
        return NULL;
    }
    u->named = realloc(u->named, (u->named_count + 1) * sizeof *u->named);
    ASSERT(u->named != NULL);
    struct sqs_named *added = &u->named[u->named_count];
    *added = (struct sqs_named){0};
    if (lane.len == 0 || !slice_to_cstr(lane, added->lane, sizeof added->lane)) {
        return NULL;
    }
    u->named_count++;
    return added;
}

/* queue.<lane>=NAME-OR-URL and dead.<lane>=NAME-OR-URL */
static int read_queue_option(void *arg, struct slice name, struct slice value, struct err *e)
{
    struct slice which;
    struct slice lane;
    bool cut = slice_cut(name, '.', &which, &lane);
    bool dead = slice_eq_cstr(which, "dead");
    if (!cut || (!dead && !slice_eq_cstr(which, "queue"))) {
        return 1;
    }
    struct sqs_named *named = find_or_add_named(arg, lane);
    if (named == NULL) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the SQS URL's %.*s names no lane, or the URL names too many lanes",
                       SLICE_ARG(name));
    }
    char *out = dead ? named->dead : named->live;
    const struct url_option o = {
        .name = dead ? "dead." : "queue.", .text = out, .size = SQS_ADDRESS_SIZE};
    if (url_option_parse("SQS", &o, value, e) != 0) {
        return -1;
    }
    return check_name(sqs_name_of(out), dead ? "the SQS URL's dead." : "the SQS URL's queue.", e);
}

static int read_options(struct slice query, struct sqs_url *u, struct err *e)
{
    int64_t create = u->create;
    const struct url_option known[] = {
        {.name = "region", .text = u->region, .size = sizeof u->region},
        {.name = "endpoint", .text = u->endpoint, .size = sizeof u->endpoint},
        {.name = "account", .text = u->account, .size = sizeof u->account},
        {.name = "create", .number = &create, .least = 0, .most = 1},
        {.name = "poll_wait", .duration_ms = &u->poll_wait_ms, .least = 1000, .most = 20000},
        {.name = "senders", .number = &u->senders, .least = 1, .most = 64},
        {.name = "timeout", .duration_ms = &u->timeout_ms, .least = 100, .most = 60000}};
    const struct url_options options = {.store = "SQS",
                                        .known = known,
                                        .count = COUNT_OF(known),
                                        .other = read_queue_option,
                                        .arg = u,
                                        .others = "queue.<lane>, dead.<lane>"};
    if (url_options_read(query, &options, e) != 0) {
        return -1;
    }
    u->create = create != 0;
    size_t digits = strlen(u->account);
    if (digits > 0 && (digits != 12 || strspn(u->account, "0123456789") != 12)) {
        return err_set(e, ERR_PERMANENT, 0, "the SQS URL's account has 12 digits");
    }
    return 0;
}

static int read_prefix(struct slice prefix, struct sqs_url *u, struct err *e)
{
    struct slice end = {prefix.ptr + (prefix.len >= 5 ? prefix.len - 5 : 0),
                        prefix.len >= 5 ? 5 : 0};
    if (slice_eq_cstr(end, ".fifo")) {
        return check_name(".fifo", "the SQS URL", e);
    }
    if (!slice_to_cstr(prefix, u->prefix, sizeof u->prefix) ||
        strspn(u->prefix, prefix_letters) != prefix.len) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the SQS URL's prefix may contain letters, digits and '-': write "
                       "sqs://PREFIX (for queues with other names: queue.<lane>=NAME)");
    }
    return 0;
}

static int parse_rest(struct slice rest, struct sqs_url *u, struct err *e)
{
    struct slice prefix;
    struct slice options;
    (void)slice_cut(rest, '?', &prefix, &options);
    if (read_prefix(prefix, u, e) != 0 || read_options(options, u, e) != 0) {
        return -1;
    }
    if (u->prefix[0] == '\0' && u->named_count == 0) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the SQS URL names no queues: write sqs://PREFIX, as in sqs://mayfly");
    }
    return 0;
}

int sqs_url_parse(const char *url, struct sqs_url *out, struct err *e)
{
    struct slice rest = slice_of(url);
    struct sqs_url u = {.poll_wait_ms = POLL_WAIT_DEFAULT_MS,
                        .senders = SENDERS_DEFAULT,
                        .timeout_ms = TIMEOUT_DEFAULT_MS};
    if (!slice_starts_with(rest, SLICE("sqs://"))) {
        return err_set(e, ERR_PERMANENT, 0, "not the URL of a queue on SQS: write sqs://PREFIX");
    }
    rest.ptr += 6;
    rest.len -= 6;
    if (parse_rest(rest, &u, e) != 0) {
        sqs_url_fini(&u);
        return -1;
    }
    *out = u;
    return 0;
}

void sqs_url_fini(struct sqs_url *u)
{
    free(u->named);
    u->named = NULL;
    u->named_count = 0;
}
