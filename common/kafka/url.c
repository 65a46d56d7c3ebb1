/*
 * The URL of a Kafka cluster.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/url_options.h"
#include "common/kafka/internal.h"

#define STORE "Kafka"
#define TIMEOUT_DEFAULT_MS 5000
#define OPTIONS_MAX 32

static int read_options(struct slice query, const struct url_option *more, size_t more_count,
                        struct kafka_cluster *c, struct err *e)
{
    const struct url_option own[] = {
        {.name = "timeout", .duration_ms = &c->timeout_ms, .least = 1000, .most = 60000},
        {.name = "tls", .number = &c->tls, .least = 0, .most = 1},
        {.name = "ca", .text = c->ca, .size = sizeof c->ca},
        {.name = "cert", .text = c->cert, .size = sizeof c->cert},
        {.name = "key", .text = c->key, .size = sizeof c->key},
        {.name = "sasl", .text = c->sasl, .size = sizeof c->sasl},
        {.name = "user", .text = c->user, .size = sizeof c->user},
        {.name = "password_file", .text = c->password_file, .size = sizeof c->password_file},
        {.name = "region", .text = c->region, .size = sizeof c->region}};
    struct url_option known[OPTIONS_MAX];
    ASSERT(COUNT_OF(own) + more_count <= OPTIONS_MAX);
    memcpy(known, own, sizeof own);
    if (more_count > 0) { /* `more` may be NULL */
        memcpy(known + COUNT_OF(own), more, more_count * sizeof *more);
    }
    const struct url_options options = {
        .store = STORE, .known = known, .count = COUNT_OF(own) + more_count};
    return url_options_read(query, &options, e);
}

static int read_place(struct slice place, struct kafka_cluster *c, struct err *e)
{
    struct slice brokers;
    struct slice name;
    const struct url_option prefix = {
        .name = "prefix", .text = c->prefix, .size = sizeof c->prefix, .identifier = true};
    const struct url_option addresses = {
        .name = "list of brokers", .text = c->brokers, .size = sizeof c->brokers};
    (void)slice_cut(place, '/', &brokers, &name);
    if (brokers.len == 0) {
        return err_set(e, ERR_PERMANENT, 0,
                       "the Kafka URL has no broker: write kafka://HOST:PORT/NAME");
    }
    if (url_option_parse(STORE, &addresses, brokers, e) != 0) {
        return -1;
    }
    return name.len > 0 ? url_option_parse(STORE, &prefix, name, e) : 0;
}

int kafka_cluster_new(const char *url, const struct url_option *more, size_t more_count,
                      struct kafka_cluster **out, struct err *e)
{
    struct slice rest = slice_of(url);
    struct slice place;
    struct slice query;
    if (!slice_starts_with(rest, SLICE("kafka://"))) {
        return err_set(e, ERR_PERMANENT, 0,
                       "not the URL of a Kafka cluster: write kafka://HOST:PORT/NAME");
    }
    rest.ptr += strlen("kafka://");
    rest.len -= strlen("kafka://");
    (void)slice_cut(rest, '?', &place, &query);
    struct kafka_cluster *c = calloc(1, sizeof *c);
    ASSERT(c != NULL);
    memcpy(c->prefix, "mayfly", sizeof "mayfly");
    c->timeout_ms = TIMEOUT_DEFAULT_MS;
    c->trouble = kafka_trouble_new();
    kafka_cluster_add(c);
    if (read_place(place, c, e) != 0 || read_options(query, more, more_count, c, e) != 0 ||
        kafka_security_open(c, e) != 0) {
        kafka_cluster_free(c);
        return -1;
    }
    *out = c;
    return 0;
}

void kafka_cluster_free(struct kafka_cluster *c)
{
    if (c != NULL) {
        kafka_cluster_remove(c);
        kafka_security_close(c);
        kafka_trouble_free(c->trouble);
        free(c);
    }
}
