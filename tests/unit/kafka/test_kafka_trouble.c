/* Why a call failed whose only error is that it timed out. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/kafka/internal.h"
#include "common/kafka/topics.h"
#include "tests/lib/cmocka.h"

static int64_t now_us = 1000000;

static int64_t mono_us(void)
{
    return now_us;
}

static int64_t wall_ms(void)
{
    return now_us / 1000;
}

static struct kafka_cluster *cluster(const char *url)
{
    struct kafka_cluster *c;
    struct err e;
    assert_int_equal(kafka_cluster_new(url, NULL, 0, &c, &e), 0);
    return c;
}

static void refused_connection_is_in_the_message(void **state)
{
    struct kafka_cluster *c = cluster("kafka://127.0.0.1:1/x?timeout=1s");
    rd_kafka_t *rk;
    struct err e;
    int brokers;
    assert_int_equal(kafka_client_new(RD_KAFKA_PRODUCER, kafka_conf_new(c, NULL), &rk, &e), 0);
    assert_int_equal(kafka_brokers_count(c, rk, &brokers, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "Connection refused"));
    assert_null(strstr(e.message, "[thrd:"));
    rd_kafka_destroy(rk);
    kafka_cluster_free(c);
}

static void clients_know_their_own_cluster(void **state)
{
    struct kafka_cluster *c[2] = {cluster("kafka://127.0.0.1:1/a"),
                                  cluster("kafka://127.0.0.1:1/b")};
    rd_kafka_t *rk[3];
    struct err e;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kafka_client_new(i == 0 ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER,
                                          kafka_conf_new(c[i % 2], &e), &rk[i], &e),
                         0);
        assert_ptr_equal(rd_kafka_opaque(rk[i]), &e);
    }
    assert_ptr_equal(kafka_cluster_of(rk[0]), c[0]);
    assert_ptr_equal(kafka_cluster_of(rk[1]), c[1]);
    assert_ptr_equal(kafka_cluster_of(rk[2]), c[0]);
    for (int i = 0; i < 3; i++) {
        rd_kafka_destroy(rk[i]);
    }
    kafka_cluster_free(c[0]);
    kafka_cluster_free(c[1]);
}

static void refused_credentials_are_of_class_auth(void **state)
{
    struct kafka_cluster *c = cluster("kafka://one/x");
    struct err e;
    (void)kafka_trouble_remember(c, ERR_AUTH, "b1: SASL authentication error: wrong");
    (void)kafka_trouble_remember(c, ERR_RETRY, "b2: Connection refused");
    (void)kafka_error(c, RD_KAFKA_RESP_ERR__TIMED_OUT, "put", &e);
    assert_int_equal(e.class, ERR_AUTH);
    assert_non_null(strstr(e.message, "SASL authentication error: wrong"));
    /* What a broker said itself is not coloured by it. */
    (void)kafka_error(c, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "put", &e);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_null(strstr(e.message, "SASL"));
    kafka_cluster_free(c);
}

static void old_trouble_is_forgotten(void **state)
{
    static const struct clock_source source = {mono_us, wall_ms};
    struct kafka_cluster *c = cluster("kafka://one/x");
    struct err e;
    clock_set_source(&source);
    assert_false(kafka_cluster_trouble(c, &e));
    assert_true(kafka_trouble_remember(c, ERR_AUTH, "refused"));
    now_us += 44000000;
    assert_true(kafka_cluster_trouble(c, &e));
    assert_string_equal(e.message, "refused");
    now_us += 2000000;
    assert_false(kafka_cluster_trouble(c, &e));
    assert_false(kafka_trouble_remember(c, ERR_RETRY, "other"));
    assert_true(kafka_cluster_trouble(c, &e));
    assert_int_equal(e.class, ERR_RETRY);
    clock_set_source(NULL);
    kafka_cluster_free(c);
}

static void same_refusal_is_reported_every_30_s(void **state)
{
    static const struct clock_source source = {mono_us, wall_ms};
    struct kafka_cluster *c = cluster("kafka://one/x");
    int reports = 0;
    clock_set_source(&source);
    for (int i = 0; i < 70; i++) {
        reports += kafka_trouble_remember(c, ERR_AUTH, "refused") ? 1 : 0;
        now_us += 1000000;
    }
    assert_int_equal(reports, 3);
    clock_set_source(NULL);
    kafka_cluster_free(c);
}

static void classes_of_what_librdkafka_logs(void **state)
{
    static const struct {
        enum err_class class;
        const char *text;
    } lines[] = {
        {ERR_AUTH, "sasl_ssl://b:9093/bootstrap: SASL authentication error: Authentication failed: "
                   "Invalid username or password (after 303ms in state AUTH_REQ)"},
        {ERR_AUTH, "sasl_ssl://b:9093/bootstrap: SASL PLAIN mechanism handshake failed: Broker: "
                   "Unsupported SASL mechanism: broker's supported mechanisms: OAUTHBEARER"},
        {ERR_AUTH, "ssl://b:9093/bootstrap: SSL handshake failed: error:0A000086:SSL "
                   "routines::certificate verify failed: broker certificate could not be verified"},
        {ERR_AUTH, "ssl://b:9093/1: Receive failed: error:0A000412:SSL routines::sslv3 alert bad "
                   "certificate: SSL alert number 42 (after 5ms in state APIVERSION_QUERY)"},
        {ERR_AUTH, "ssl://b:9093/1: Receive failed: error:0A00045C:SSL routines::tlsv13 alert "
                   "certificate required: SSL alert number 116"},
        {ERR_RETRY, "b:9092/1: Connect to ipv4#127.0.0.1:9092 failed: Connection refused"},
        {ERR_RETRY, "b:9092/1: Disconnected: verify that security.protocol is correctly "
                    "configured, broker might require SASL authentication"},
        {ERR_RETRY, "sasl_ssl://b:9093/1: SASL authentication error: SaslAuthenticateRequest "
                    "failed: Local: Broker transport failure"},
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        if (kafka_trouble_class(lines[i].text) != lines[i].class) {
            fail_msg("%s", lines[i].text);
        }
    }
}

static void classes_of_codes(void **state)
{
    static const struct {
        rd_kafka_resp_err_t code;
        enum err_class class;
    } codes[] = {
        {RD_KAFKA_RESP_ERR__TRANSPORT, ERR_RETRY},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, ERR_RETRY},
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, ERR_RETRY},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, ERR_RETRY},
        {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, ERR_RETRY},
        {RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, ERR_RETRY}, /* brokers may come back */
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERR_AUTH},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERR_AUTH},
        {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ERR_AUTH},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERR_NOT_FOUND},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERR_PERMANENT},
        {RD_KAFKA_RESP_ERR_INVALID_CONFIG, ERR_PERMANENT},
        {RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, ERR_CAPACITY},
    };
    struct kafka_cluster *c = cluster("kafka://one/x");
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        struct err e = {0};
        assert_int_equal(kafka_error(c, codes[i].code, "put", &e), -1);
        assert_int_equal(e.class, codes[i].class);
        assert_int_equal(e.code, (int)codes[i].code);
    }
    kafka_cluster_free(c);
}

static void long_reasons_are_cut(void **state)
{
    struct kafka_cluster *c = cluster("kafka://one/x");
    struct err e;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)kafka_trouble_remember(c, ERR_RETRY, text);
    assert_true(kafka_cluster_trouble(c, &e));
    assert_int_equal(strlen(e.message), 319);
    kafka_cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_connection_is_in_the_message),
        cmocka_unit_test(clients_know_their_own_cluster),
        cmocka_unit_test(refused_credentials_are_of_class_auth),
        cmocka_unit_test(old_trouble_is_forgotten),
        cmocka_unit_test(same_refusal_is_reported_every_30_s),
        cmocka_unit_test(classes_of_what_librdkafka_logs),
        cmocka_unit_test(classes_of_codes),
        cmocka_unit_test(long_reasons_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
