/*
 * usage: kafka_client OPEN SASL TLS MTLS FOLDER: the URLs of a broker's listeners
 * (tests/fakes/kafka/lib/security.mjs) and the folder of their certificates and password.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/kafka/internal.h"
#include "common/kafka/topics.h"
#include "tests/lib/cmocka.h"

static const char *open_url;
static const char *sasl_url;
static const char *tls_url;
static const char *mtls_url;
static const char *folder;

typedef int make_token_fn(const struct kafka_cluster *c, struct kafka_token *out, struct err *e);

struct connection {
    struct kafka_cluster *cluster;
    rd_kafka_t *rk;
};

/* options: '@' stands for the folder. make_token: NULL, or that of tests. */
static struct connection connect_with(const char *url, const char *options,
                                      make_token_fn *make_token)
{
    struct buf full;
    struct connection c;
    struct err e = {0};
    buf_init(&full, 2048);
    buf_printf(&full, "%s/test?timeout=3s&", url);
    for (; *options != '\0'; options++) {
        if (*options == '@') {
            buf_append_cstr(&full, folder);
        } else {
            buf_append_byte(&full, *options);
        }
    }
    if (kafka_cluster_new(full.data, NULL, 0, &c.cluster, &e) != 0) {
        fail_msg("%s: %s", full.data, e.message);
    }
    if (make_token != NULL) {
        c.cluster->make_token = make_token;
    }
    if (kafka_client_new(RD_KAFKA_PRODUCER, kafka_conf_new(c.cluster, NULL), &c.rk, &e) != 0) {
        fail_msg("%s: %s", full.data, e.message);
    }
    buf_fini(&full);
    return c;
}

static void disconnect(struct connection *c)
{
    rd_kafka_destroy(c->rk);
    kafka_cluster_free(c->cluster);
}

static void must_respond(struct connection *c)
{
    struct err e = {0};
    int brokers = 0;
    if (kafka_brokers_count(c->cluster, c->rk, &brokers, &e) != 0) {
        fail_msg("%s", e.message);
    }
    assert_int_equal(brokers, 1);
}

static void must_connect(const char *url, const char *options, make_token_fn *make_token)
{
    struct connection c = connect_with(url, options, make_token);
    must_respond(&c);
    disconnect(&c);
}

static void must_fail(const char *url, const char *options, make_token_fn *make_token,
                      enum err_class class, const char *says)
{
    struct connection c = connect_with(url, options, make_token);
    struct err e = {0};
    int brokers;
    assert_int_equal(kafka_brokers_count(c.cluster, c.rk, &brokers, &e), -1);
    if (e.class != class || strstr(e.message, says) == NULL) {
        fail_msg("class %s, \"%s\" wanted in: %s", err_class_name(e.class), says, e.message);
    }
    disconnect(&c);
}

/* --- topics --- */
static void missing_topics_are_created_as_wished(void **state)
{
    static const struct kafka_topic_wish wishes[] = {
        {.name = "test.events", .partitions = 6, .retention_ms = -1, .min_insync = 1},
        {.name = "test.dead", .partitions = 1, .replicas = 1, .compacted = true}};
    struct connection c = connect_with(open_url, "", NULL);
    struct kafka_topic topics[] = {
        {.name = "test.events"}, {.name = "test.none"}, {.name = "test.dead"}};
    struct err e = {0};
    for (int i = 0; i < 2; i++) { /* what exists stays as it is */
        assert_int_equal(kafka_topics_create(c.cluster, c.rk, wishes, 2, &e), 0);
        assert_int_equal(kafka_topics_describe(c.cluster, c.rk, topics, 3, &e), 0);
        assert_true(topics[0].exists && topics[0].configs_known);
        assert_int_equal(topics[0].partitions, 6);
        assert_int_equal(topics[0].replicas, 1);
        assert_int_equal(topics[0].retention_ms, -1);
        assert_int_equal(topics[0].retention_bytes, -1);
        assert_int_equal(topics[0].min_insync, 1);
        assert_true(topics[0].deletes && !topics[0].compacted);
        assert_false(topics[1].exists || topics[1].configs_known);
        assert_true(topics[2].exists && topics[2].compacted && !topics[2].deletes);
    }
    disconnect(&c);
}

static void topic_that_cannot_be_created_says_why(void **state)
{
    static const struct kafka_topic_wish wishes[] = {{.name = "test.many", .replicas = 9}};
    struct connection c = connect_with(open_url, "", NULL);
    struct err e = {0};
    assert_int_equal(kafka_topics_create(c.cluster, c.rk, wishes, 1, &e), -1);
    assert_non_null(strstr(e.message, "create topic test.many"));
    assert_non_null(strstr(e.message, "9"));
    disconnect(&c);
}

/* --- TLS --- */
static void brokers_certificate_is_verified(void **state)
{
    must_connect(tls_url, "tls=1&ca=@/ca.pem", NULL);
    must_fail(tls_url, "tls=1&ca=@/other-ca.pem", NULL, ERR_AUTH, "certificate verify failed");
}

static void client_certificate_is_sent(void **state)
{
    must_connect(mtls_url, "tls=1&ca=@/ca.pem&cert=@/client.pem&key=@/client.key", NULL);
    must_fail(mtls_url, "tls=1&ca=@/ca.pem", NULL, ERR_AUTH, "certificate");
}

static void client_without_tls_is_cut_off_by_a_listener_with(void **state)
{
    must_fail(tls_url, "", NULL, ERR_RETRY, "Disconnected");
}

/* --- passwords --- */
static void password_is_accepted_and_a_wrong_one_is_of_class_auth(void **state)
{
    must_connect(sasl_url, "tls=1&ca=@/ca.pem&sasl=plain&user=mayfly&password_file=@/password",
                 NULL);
    must_fail(sasl_url, "tls=1&ca=@/ca.pem&sasl=plain&user=ann&password_file=@/password", NULL,
              ERR_AUTH, "uthentication");
}

static void scram_is_accepted(void **state)
{
    if (!kafka_scram_works(rd_kafka_version())) {
        print_message("not tried: Kafka refuses SCRAM of librdkafka %s\n", rd_kafka_version_str());
        skip();
    }
    must_connect(sasl_url,
                 "tls=1&ca=@/ca.pem&sasl=scram-sha-256&user=mayfly&password_file=@/password", NULL);
    must_connect(sasl_url,
                 "tls=1&ca=@/ca.pem&sasl=scram-sha-512&user=mayfly&password_file=@/password", NULL);
    must_fail(sasl_url, "tls=1&ca=@/ca.pem&sasl=scram-sha-512&user=ann&password_file=@/password",
              NULL, ERR_AUTH, "uthentication");
}

/* --- tokens --- */
#define MSK_IAM "tls=1&ca=@/ca.pem&sasl=msk-iam&region=eu-west-1"
#define SHORT_LIFE_MS 2000

static atomic_int tokens_made;

/* An unsecured JSON Web Token, which the broker of the tests accepts. */
static int make_unsecured(int64_t life_ms, struct kafka_token *out)
{
    char claims[200];
    int64_t now_ms = clock_wall_ms();
    (void)snprintf(claims, sizeof claims, "{\"sub\":\"mayfly\",\"iat\":%lld,\"exp\":%lld}",
                   (long long)(now_ms / 1000), (long long)(now_ms / 1000 + 60));
    buf_init(&out->text, 4096);
    codec_base64url(&out->text, SLICE("{\"alg\":\"none\"}"));
    buf_append_byte(&out->text, '.');
    codec_base64url(&out->text, slice_of(claims));
    buf_append_byte(&out->text, '.');
    out->expires_ms = now_ms + life_ms;
    atomic_fetch_add(&tokens_made, 1);
    return 0;
}

static int make_good(const struct kafka_cluster *c, struct kafka_token *out, struct err *e)
{
    return make_unsecured(60000, out);
}

static int make_short(const struct kafka_cluster *c, struct kafka_token *out, struct err *e)
{
    return make_unsecured(SHORT_LIFE_MS, out);
}

static int make_none(const struct kafka_cluster *c, struct kafka_token *out, struct err *e)
{
    return err_set(e, ERR_AUTH, 0, "no AWS credentials: none of the sources has any");
}

static void token_is_accepted(void **state)
{
    must_connect(sasl_url, MSK_IAM, make_good);
}

/* Without a poll by the caller. */
static void token_is_renewed_before_it_ends(void **state)
{
    struct connection c = connect_with(sasl_url, MSK_IAM, make_short);
    atomic_store(&tokens_made, 0);
    while (atomic_load(&tokens_made) < 3) {
        must_respond(&c);
        clock_sleep_until(clock_mono_ms() + 50);
    }
    disconnect(&c);
}

/* This one is no JSON Web Token: it is MSK that understands it. */
static void refused_token_is_of_class_auth(void **state)
{
    setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    must_fail(sasl_url, MSK_IAM, NULL, ERR_AUTH, "uthentication");
}

static void missing_credentials_are_in_the_message(void **state)
{
    must_fail(sasl_url, MSK_IAM, make_none, ERR_AUTH, "none of the sources has any");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_topics_are_created_as_wished),
        cmocka_unit_test(topic_that_cannot_be_created_says_why),
        cmocka_unit_test(brokers_certificate_is_verified),
        cmocka_unit_test(client_certificate_is_sent),
        cmocka_unit_test(client_without_tls_is_cut_off_by_a_listener_with),
        cmocka_unit_test(password_is_accepted_and_a_wrong_one_is_of_class_auth),
        cmocka_unit_test(scram_is_accepted),
        cmocka_unit_test(token_is_accepted),
        cmocka_unit_test(token_is_renewed_before_it_ends),
        cmocka_unit_test(refused_token_is_of_class_auth),
        cmocka_unit_test(missing_credentials_are_in_the_message),
    };
    if (argc != 6) {
        return 2;
    }
    open_url = argv[1];
    sasl_url = argv[2];
    tls_url = argv[3];
    mtls_url = argv[4];
    folder = argv[5];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
