#include <stdio.h>
#include <string.h>

#include "common/redis/internal.h"
#include "tests/lib/cmocka.h"

static struct redis_url must_parse(const char *url)
{
    struct redis_url u;
    struct err e;
    if (redis_url_parse(url, &u, &e) != 0) {
        fail_msg("%s: %s", url, e.message);
    }
    return u;
}

static void short_url_has_the_defaults(void **state)
{
    struct redis_url u = must_parse("redis://cache");
    assert_string_equal(u.host, "cache");
    assert_int_equal(u.port, 6379);
    assert_int_equal(u.db, 0);
    assert_string_equal(u.prefix, "mayfly");
    assert_int_equal(u.timeout_ms, 5000);
    assert_int_equal(u.connections, 64);
    assert_false(u.tls || u.wait_aof || u.wait_replicas != 0);
    assert_string_equal(u.user, "");
    assert_string_equal(u.password, "");
    assert_string_equal(u.socket, "");
}

static void full_url_gives_every_part(void **state)
{
    struct redis_url u = must_parse("rediss://ann:p%40s%2Fs+%25@redis.example:7000/5?prefix=blue-1&"
                                    "timeout=900ms&connections=3&wait_replicas=2&wait_aof=1&"
                                    "ca=/etc/ssl/my%20ca.pem&cert=/c&key=/k");
    assert_true(u.tls);
    assert_string_equal(u.user, "ann");
    assert_string_equal(u.password, "p@s/s+%");
    assert_string_equal(u.host, "redis.example");
    assert_int_equal(u.port, 7000);
    assert_int_equal(u.db, 5);
    assert_string_equal(u.prefix, "blue-1");
    assert_int_equal(u.timeout_ms, 900);
    assert_int_equal(u.connections, 3);
    assert_int_equal(u.wait_replicas, 2);
    assert_true(u.wait_aof);
    assert_string_equal(u.ca, "/etc/ssl/my ca.pem");
    assert_string_equal(u.cert, "/c");
    assert_string_equal(u.key, "/k");
}

static void socket_and_ipv6_and_bare_password(void **state)
{
    struct redis_url u = must_parse("redis://:a:b@/run/redis/redis.sock?db=2");
    assert_string_equal(u.socket, "/run/redis/redis.sock");
    assert_string_equal(u.password, "a:b");
    assert_string_equal(u.user, "");
    assert_int_equal(u.db, 2);
    u = must_parse("redis://[::1]:6380/1");
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, 6380);
    assert_int_equal(u.db, 1);
    assert_string_equal(must_parse("redis://[fe80::2]").host, "fe80::2");
}

static void bad_urls_are_refused_and_tell_no_password(void **state)
{
    static const char *const bad[] = {"redis:/host",
                                      "http://host",
                                      "redis://",
                                      "redis:///",
                                      "rediss:///run/redis.sock",
                                      "redis://host:0",
                                      "redis://host:70000",
                                      "redis://host:x",
                                      "redis://[::1",
                                      "redis://[::1]x",
                                      "redis://host/minus",
                                      "redis://host/-1",
                                      "redis://:hunter2%zz@host",
                                      "redis://:hunter2%00@host",
                                      "redis://:hunter2%4@host",
                                      "redis://ann@host",
                                      "redis://:hunter2@host?prefix=",
                                      "redis://:hunter2@host?prefix=a}b",
                                      "redis://:hunter2@host?color=red",
                                      "redis://:hunter2@host?timeout=5ms",
                                      "redis://:hunter2@host?connections=0",
                                      "redis://:hunter2@host?wait_aof=2",
                                      "redis://:hunter2@host?db=x"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct redis_url u = {.port = 42};
        struct err e;
        if (redis_url_parse(bad[i], &u, &e) == 0) {
            fail_msg("%s was taken", bad[i]);
        }
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_int_equal(u.port, 42);
        assert_null(strstr(e.message, "hunter2"));
    }
}

static void parts_that_are_too_long_are_refused(void **state)
{
    char url[1200];
    char part[1000];
    struct redis_url u;
    struct err e;
    memset(part, 'a', sizeof part - 1);
    part[sizeof part - 1] = '\0';
    static const char *const forms[] = {"redis://%s", "redis://:%s@host", "redis://%s:p@host",
                                        "redis:///%s", "redis://host?prefix=%s"};
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        size_t at = (size_t)(strstr(forms[i], "%s") - forms[i]);
        (void)snprintf(url, sizeof url, "%.*s%s%s", (int)at, forms[i], part, forms[i] + at + 2);
        assert_int_equal(redis_url_parse(url, &u, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_url_has_the_defaults),
        cmocka_unit_test(full_url_gives_every_part),
        cmocka_unit_test(socket_and_ipv6_and_bare_password),
        cmocka_unit_test(bad_urls_are_refused_and_tell_no_password),
        cmocka_unit_test(parts_that_are_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
