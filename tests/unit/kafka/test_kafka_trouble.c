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
    kafka_trouble_remember(c, ERR_AUTH, "b1: SASL authentication error: wrong");
    kafka_trouble_remember(c, ERR_RETRY, "b2: Connection refused");
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
    kafka_trouble_remember(c, ERR_AUTH, "refused");
    now_us += 44000000;
    assert_true(kafka_cluster_trouble(c, &e));
    assert_string_equal(e.message, "refused");
    now_us += 2000000;
    assert_false(kafka_cluster_trouble(c, &e));
    kafka_trouble_remember(c, ERR_RETRY, "other");
    assert_true(kafka_cluster_trouble(c, &e));
    assert_int_equal(e.class, ERR_RETRY);
    clock_set_source(NULL);
    kafka_cluster_free(c);
}

static void long_reasons_are_cut(void **state)
{
    struct kafka_cluster *c = cluster("kafka://one/x");
    struct err e;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    kafka_trouble_remember(c, ERR_RETRY, text);
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
        cmocka_unit_test(long_reasons_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
