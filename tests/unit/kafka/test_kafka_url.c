#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/kafka/internal.h"
#include "tests/lib/cmocka.h"

static char password_file[] = "/tmp/mayfly-kafka-password-XXXXXX";

static void write_password(const char *text, size_t size)
{
    FILE *f = fopen(password_file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static int make_password_file(void **state)
{
    int fd = mkstemp(password_file);
    return fd < 0 ? -1 : close(fd);
}

static int remove_password_file(void **state)
{
    return unlink(password_file);
}

static struct kafka_cluster *must_open(const char *url)
{
    struct kafka_cluster *c;
    struct err e;
    if (kafka_cluster_new(url, NULL, 0, &c, &e) != 0) {
        fail_msg("%s: %s", url, e.message);
    }
    return c;
}

static void must_refuse(const char *url, const char *says)
{
    struct kafka_cluster *c = NULL;
    struct err e = {0};
    if (kafka_cluster_new(url, NULL, 0, &c, &e) == 0) {
        fail_msg("%s was accepted", url);
    }
    assert_int_equal(e.class, ERR_PERMANENT);
    if (strstr(e.message, says) == NULL) {
        fail_msg("%s: \"%s\" is not in: %s", url, says, e.message);
    }
    assert_null(c);
}

/* What librdkafka was given. */
static void property_is(const struct kafka_cluster *c, const char *name, const char *value)
{
    char got[512] = "";
    size_t size = sizeof got;
    rd_kafka_conf_t *conf = kafka_conf_new(c, NULL);
    (void)rd_kafka_conf_get(conf, name, got, &size);
    rd_kafka_conf_destroy(conf);
    assert_string_equal(got, value);
}

static void short_url_has_the_defaults(void **state)
{
    struct kafka_cluster *c = must_open("kafka://one");
    assert_string_equal(kafka_cluster_brokers(c), "one");
    assert_string_equal(kafka_cluster_prefix(c), "mayfly");
    assert_int_equal(kafka_cluster_timeout_ms(c), 5000);
    property_is(c, "security.protocol", "plaintext");
    kafka_cluster_free(c);
}

static void full_url_gives_every_part(void **state)
{
    int64_t partitions = 0;
    const struct url_option more = {
        .name = "partitions", .number = &partitions, .least = 1, .most = 100};
    struct kafka_cluster *c;
    struct err e;
    assert_int_equal(kafka_cluster_new("kafka://one:9093,two:9093/blue-1?timeout=2s&tls=1&ca=/ca%20"
                                       "file&cert=/cert&key=/key&partitions=12",
                                       &more, 1, &c, &e),
                     0);
    assert_int_equal(partitions, 12);
    assert_string_equal(kafka_cluster_prefix(c), "blue-1");
    property_is(c, "bootstrap.servers", "one:9093,two:9093");
    property_is(c, "socket.timeout.ms", "2000");
    property_is(c, "security.protocol", "ssl");
    property_is(c, "ssl.ca.location", "/ca file");
    property_is(c, "ssl.certificate.location", "/cert");
    property_is(c, "ssl.key.location", "/key");
    property_is(c, "ssl.endpoint.identification.algorithm", "https");
    kafka_cluster_free(c);
}

static void certificate_file_may_hold_the_key_too(void **state)
{
    struct kafka_cluster *c = must_open("kafka://one/x?tls=1&cert=/both");
    property_is(c, "ssl.key.location", "/both");
    kafka_cluster_free(c);
}

static void password_comes_from_its_file(void **state)
{
    char url[256];
    write_password("p&ss %w\r\n", 9);
    (void)snprintf(url, sizeof url, "kafka://one/x?tls=1&sasl=plain&user=ann&password_file=%s",
                   password_file);
    struct kafka_cluster *c = must_open(url);
    property_is(c, "security.protocol", "sasl_ssl");
    property_is(c, "sasl.mechanism", "PLAIN");
    property_is(c, "sasl.username", "ann");
    property_is(c, "sasl.password", "p&ss %w");
    kafka_cluster_free(c);
}

static void bad_password_files_are_refused(void **state)
{
    char url[256];
    (void)snprintf(url, sizeof url, "kafka://one/x?tls=1&sasl=plain&user=ann&password_file=%s",
                   password_file);
    write_password("", 0);
    must_refuse(url, "is empty");
    write_password("\n", 1);
    must_refuse(url, "is empty");
    write_password("a\0b", 3);
    must_refuse(url, password_file);
    struct kafka_cluster *c;
    struct err e;
    assert_int_equal(
        kafka_cluster_new("kafka://one/x?tls=1&sasl=plain&user=ann&password_file=/none", NULL, 0,
                          &c, &e),
        -1);
    assert_non_null(strstr(e.message, "password_file of the Kafka URL"));
    assert_non_null(strstr(e.message, "/none"));
}

static void options_that_do_not_go_together_are_refused(void **state)
{
    must_refuse("kafka://one/x?ca=/ca", "add tls=1");
    must_refuse("kafka://one/x?cert=/cert", "add tls=1");
    must_refuse("kafka://one/x?tls=1&key=/key", "add cert=PATH");
    must_refuse("kafka://one/x?user=ann", "no sasl");
    must_refuse("kafka://one/x?password_file=/p", "no sasl");
    must_refuse("kafka://one/x?region=eu-west-1", "no sasl");
    must_refuse("kafka://one/x?tls=1&sasl=gssapi", "unknown sasl");
    must_refuse("kafka://one/x?tls=1&sasl=plain&user=ann", "password_file=PATH");
    must_refuse("kafka://one/x?tls=1&sasl=plain&password_file=/p", "user=NAME");
    must_refuse("kafka://one/x?sasl=plain&user=ann&password_file=/p", "add tls=1");
    must_refuse("kafka://one/x?tls=1&sasl=plain&user=ann&password_file=/p&region=eu-west-1",
                "msk-iam alone");
    must_refuse("kafka://one/x?sasl=msk-iam&region=eu-west-1", "add tls=1");
    must_refuse("kafka://one/x?tls=1&sasl=msk-iam&region=eu-west-1&user=ann", "AWS credentials");
    must_refuse("kafka://one/x?password=secret", "password_file");
}

static void bad_urls_are_refused(void **state)
{
    must_refuse("http://one/x", "kafka://HOST:PORT/NAME");
    must_refuse("kafka://", "has no broker");
    must_refuse("kafka:///x", "has no broker");
    must_refuse("kafka://one/a%20b", "prefix");
    must_refuse("kafka://one/x?timeout=100ms", "timeout");
}

static void scram_needs_a_librdkafka_that_kafka_accepts(void **state)
{
    char url[256];
    write_password("p\n", 2);
    (void)snprintf(url, sizeof url, "kafka://one/x?sasl=scram-sha-512&user=ann&password_file=%s",
                   password_file);
    if (kafka_scram_works(rd_kafka_version())) {
        struct kafka_cluster *c = must_open(url);
        property_is(c, "security.protocol", "sasl_plaintext");
        property_is(c, "sasl.mechanism", "SCRAM-SHA-512");
        kafka_cluster_free(c);
    } else {
        must_refuse(url, rd_kafka_version_str());
        must_refuse(url, "2.6.1 or newer");
    }
    assert_false(kafka_scram_works(0x020002ff)); /* Debian 12: 2.0.2 */
    assert_false(kafka_scram_works(0x020600ff));
    assert_true(kafka_scram_works(0x020601ff));
    assert_true(kafka_scram_works(0x020800ff));
}

static void unreadable_certificates_are_named(void **state)
{
    struct kafka_cluster *c = must_open("kafka://one/x?tls=1&ca=/none.pem");
    rd_kafka_t *rk;
    struct err e;
    assert_int_equal(kafka_client_new(RD_KAFKA_PRODUCER, kafka_conf_new(c, NULL), &rk, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "ssl.ca.location"));
    kafka_cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_url_has_the_defaults),
        cmocka_unit_test(full_url_gives_every_part),
        cmocka_unit_test(certificate_file_may_hold_the_key_too),
        cmocka_unit_test(password_comes_from_its_file),
        cmocka_unit_test(bad_password_files_are_refused),
        cmocka_unit_test(options_that_do_not_go_together_are_refused),
        cmocka_unit_test(bad_urls_are_refused),
        cmocka_unit_test(scram_needs_a_librdkafka_that_kafka_accepts),
        cmocka_unit_test(unreadable_certificates_are_named),
    };
    return cmocka_run_group_tests(tests, make_password_file, remove_password_file);
}
