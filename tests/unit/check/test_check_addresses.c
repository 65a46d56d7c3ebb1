/* Which addresses are warned about: those that other hosts reach, without TLS or a password. */
#include <string.h>

#include "common/check/addresses.h"
#include "tests/lib/cmocka.h"

#define TLS "and it has no TLS"
#define PASSWORD "and it asks for no password"
#define BOTH "and it has no TLS and no password"

static void assert_lacks(struct address_gap gap, const char *lacks, const char *of)
{
    if ((gap.lacks == NULL) != (lacks == NULL)) {
        fail_msg("%s: %s", of, gap.lacks != NULL ? gap.lacks : "nothing is missing");
    }
    if (lacks != NULL) {
        size_t n = strlen(gap.lacks);
        assert_true(n > strlen(lacks));
        assert_string_equal(gap.lacks + n - strlen(lacks), lacks);
        assert_non_null(gap.action);
    }
}

static void stores_are_judged_by_host_tls_and_password(void **state)
{
    static const struct {
        const char *url;
        const char *lacks;
    } cases[] = {
        {"redis://127.0.0.1:6379", NULL},
        {"redis://127.9.9.9", NULL},
        {"redis://LocalHost/3?prefix=a", NULL},
        {"redis://[::1]:6379", NULL},
        {"redis:///run/redis.sock", NULL},
        {"redis://10.0.0.4:6379", BOTH},
        {"redis://127.0.0.1.example.com", BOTH},
        {"redis://[2001:db8::1]:6379", BOTH},
        {"redis://cache.internal?cert=/x", BOTH},
        {"redis://:sesame@cache.internal", TLS},
        {"redis://user:p@127.0.0.1@cache.internal:1/0", TLS},
        {"redis://user@cache.internal", BOTH},
        {"rediss://cache.internal:6379", PASSWORD},
        {"rediss://:sesame@cache.internal:6379", NULL},
        {"rediss://cache.internal?cert=/x&key=/y", NULL},
        {"kafka://127.0.0.1:9092,localhost:9093/t", NULL},
        {"kafka://127.0.0.1:9092,b2:9092/t", BOTH},
        {"kafka://b1/t?tls=1", PASSWORD},
        {"kafka://b1/t?tls=1&tls=0", BOTH},
        {"kafka://b1/t?sasl=scram-sha-512&user=u", TLS},
        {"kafka://b1/t?tls=1&sasl=msk-iam", NULL},
        {"kafka://b1/t?tls=1&cert=/x", NULL},
        {"sqlite:///var/lib/q.db", NULL},
        {"sqs://prefix", NULL},
        {"ssm:/mayfly/queue", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_lacks(address_of_store("queue", slice_of(cases[i].url)), cases[i].lacks,
                     cases[i].url);
    }
}

static void admin_port_is_judged_by_its_address(void **state)
{
    static const struct {
        const char *listen;
        const char *lacks;
    } cases[] = {
        {"", NULL},          {"127.0.0.1:9101", NULL}, {"[::1]:9101", NULL}, {"localhost:0", NULL},
        {"0.0.0.0:0", BOTH}, {"[::]:9101", BOTH},      {":9101", BOTH},      {"10.1.2.3:1", BOTH},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_lacks(address_of_admin("admin", slice_of(cases[i].listen)), cases[i].lacks,
                     cases[i].listen);
    }
}

static void program_is_warned_of_what_it_uses(void **state)
{
    struct address_gap found[ADDRESS_GAPS_MAX];
    struct config c = {.queue = (char[]){"redis://a"},
                       .ledger = (char[]){"redis://a"},
                       .events.kafka = (char[]){"kafka://b/t"},
                       .ingress.admin_listen = (char[]){"127.0.0.1:1"},
                       .worker.admin_listen = (char[]){"0.0.0.0:1"},
                       .reaper.admin_listen = (char[]){""}};
    assert_int_equal(addresses_unprotected(&c, CONFIG_FOR_INGRESS, found), 1);
    assert_string_equal(found[0].setting, "queue");
    assert_int_equal(addresses_unprotected(&c, CONFIG_FOR_REAPER, found), 3);
    assert_string_equal(found[2].setting, "events.kafka");
    assert_int_equal(addresses_unprotected(&c, CONFIG_FOR_WORKER, found), 4);
    assert_string_equal(found[1].setting, "ledger");
    assert_string_equal(found[3].setting, "worker.admin_listen");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_are_judged_by_host_tls_and_password),
        cmocka_unit_test(admin_port_is_judged_by_its_address),
        cmocka_unit_test(program_is_warned_of_what_it_uses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
