/* The process's credentials: one look for all, renewal while calls go on, refusals, failures. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/aws/internal.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/base/wakeup.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/aws/aws_fixture.h"

/* A container's endpoint that gives keys AK1, AK2, … that live for so long, and tells of each. */
struct container {
    struct http_server *http;
    struct wakeup told; /* woken by each answer */
    pthread_mutex_t lock;
    int asked;
    int64_t life_ms;
    bool broken;
    bool silent;         /* HTTP 503 */
    struct wakeup *hold; /* not NULL: answers wait until it is raised */
};

static void give_keys(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct container *c = arg;
    (void)q;
    pthread_mutex_lock(&c->lock);
    int n = ++c->asked;
    int status = c->silent ? 503 : c->broken ? 400 : 200;
    int64_t life_ms = c->life_ms;
    struct wakeup *until = c->hold;
    pthread_mutex_unlock(&c->lock);
    wakeup_signal(&c->told);
    if (until != NULL) {
        http_server_release(c->http);
        (void)wakeup_sleep(until, 60000);
        http_server_regain(c->http);
    }
    a->status = status;
    buf_printf(&a->body, "{\"AccessKeyId\":\"AK%d\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"", n);
    if (life_ms != 0) {
        buf_printf(&a->body, ",\"Expiration\":\"%s\"", fixture_time(life_ms));
    }
    buf_append_byte(&a->body, '}');
}

static void container_start(struct container *c, int64_t life_ms)
{
    char uri[128];
    *c = (struct container){.life_ms = life_ms};
    wakeup_init(&c->told);
    assert_int_equal(pthread_mutex_init(&c->lock, NULL), 0);
    c->http = http_server_start(give_keys, c);
    (void)snprintf(uri, sizeof uri, "%s/keys", http_server_url(c->http));
    (void)setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri, 1);
}

static void container_stop(struct container *c)
{
    http_server_stop(c->http);
    wakeup_fini(&c->told);
    pthread_mutex_destroy(&c->lock);
}

static int asked(struct container *c)
{
    pthread_mutex_lock(&c->lock);
    int n = c->asked;
    pthread_mutex_unlock(&c->lock);
    return n;
}

static void set_broken(struct container *c, bool broken)
{
    pthread_mutex_lock(&c->lock);
    c->broken = broken;
    pthread_mutex_unlock(&c->lock);
}

static void set_silent(struct container *c, bool silent)
{
    pthread_mutex_lock(&c->lock);
    c->silent = silent;
    pthread_mutex_unlock(&c->lock);
}

static void hold_answers(struct container *c, struct wakeup *until)
{
    pthread_mutex_lock(&c->lock);
    c->hold = until;
    pthread_mutex_unlock(&c->lock);
}

static void wait_until_asked(struct container *c, int times)
{
    for (;;) {
        uint64_t seen = wakeup_count(&c->told);
        if (asked(c) >= times) {
            return;
        }
        (void)wakeup_wait(&c->told, seen, 60000);
    }
}

static void assert_keys(struct aws_credentials *c, const char *access_key)
{
    struct aws_keys k;
    struct err e;
    assert_int_equal(aws_credentials_get(c, &k, &e), 0);
    assert_string_equal(k.access_key, access_key);
    aws_keys_fini(&k);
}

/* --- when ------------------------------------------------------------------------------------- */

static unsigned char drawn;

static void draw(void *out, size_t size)
{
    memset(out, drawn, size);
}

static void renewal_comes_five_minutes_before_the_end_or_at_three_quarters(void **state)
{
    static const int64_t hour = INT64_C(3600) * 1000;
    random_set_source(draw);
    drawn = 0;
    assert_int_equal(aws_renew_in_ms(hour), hour - 300000);
    assert_int_equal(aws_renew_in_ms(600000), 450000);
    assert_int_equal(aws_renew_in_ms(1200000), 900000);
    assert_int_equal(aws_renew_in_ms(1000), 1000);
    assert_int_equal(aws_renew_in_ms(-5), 1000);
    random_set_source(NULL);
    for (int i = 0; i < 200; i++) {
        int64_t wait_ms = aws_renew_in_ms(hour);
        assert_true(wait_ms <= hour - 300000 && wait_ms > hour - 375000);
    }
}

/* --- one look for all ------------------------------------------------------------------------- */

static void *get_keys(void *arg)
{
    struct aws_keys k;
    struct err e;
    if (aws_credentials_get(arg, &k, &e) == 0) {
        aws_keys_fini(&k);
        return arg;
    }
    return NULL;
}

static void many_that_need_keys_at_once_look_once(void **state)
{
    struct container box;
    struct wakeup until;
    pthread_t threads[8];
    wakeup_init(&until);
    container_start(&box, 0);
    box.hold = &until;
    struct aws_credentials *c = aws_credentials_acquire();
    assert_ptr_equal(aws_credentials_acquire(), c);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, get_keys, c), 0);
    }
    wait_until_asked(&box, 1);
    wakeup_raise(&until);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *got = NULL;
        assert_int_equal(pthread_join(threads[i], &got), 0);
        assert_ptr_equal(got, c);
    }
    assert_int_equal(asked(&box), 1);
    aws_credentials_release(c);
    assert_keys(c, "AK1");
    aws_credentials_release(c);
    container_stop(&box);
    wakeup_fini(&until);
}

/* --- renewal ---------------------------------------------------------------------------------- */

static void keys_are_renewed_before_their_end_without_a_call(void **state)
{
    struct container box;
    container_start(&box, 2000);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_keys(c, "AK1");
    wait_until_asked(&box, 2); /* nobody called */
    aws_credentials_release(c);
    container_stop(&box);
}

/* The request after the next one that works tells that its keys were taken. */
static void renewal_that_fails_is_tried_again_by_itself(void **state)
{
    struct container box;
    container_start(&box, 3000);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_keys(c, "AK1");
    set_broken(&box, true);
    wait_until_asked(&box, 2);
    set_broken(&box, false);
    wait_until_asked(&box, asked(&box) + 2);
    struct aws_keys k;
    struct err e;
    assert_int_equal(aws_credentials_get(c, &k, &e), 0);
    assert_string_not_equal(k.access_key, "AK1");
    aws_keys_fini(&k);
    aws_credentials_release(c);
    container_stop(&box);
}

static void keys_that_have_expired_when_they_come_are_none(void **state)
{
    struct aws_keys k;
    struct err e;
    aws_fixture_file("config",
                     "[default]\ncredential_process = echo '{\"Version\": 1, \"AccessKeyId\": "
                     "\"OLD\", \"SecretAccessKey\": \"s\", \"Expiration\": "
                     "\"2001-01-01T00:00:00Z\"}'\n");
    struct aws_credentials *c = aws_credentials_acquire();
    assert_int_equal(aws_credentials_get(c, &k, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_non_null(strstr(e.message, "credential_process have expired"));
    aws_credentials_release(c);
}

/* --- failures --------------------------------------------------------------------------------- */

static int64_t now_us = 1000000; /* atomic */

static int64_t fake_mono_us(void)
{
    return __atomic_load_n(&now_us, __ATOMIC_RELAXED);
}

static int64_t fake_wall_ms(void)
{
    return 1800000000000 + fake_mono_us() / 1000;
}

static void pass_seconds(int64_t n)
{
    (void)__atomic_fetch_add(&now_us, n * 1000000, __ATOMIC_RELAXED);
}

static const struct clock_source fake = {fake_mono_us, fake_wall_ms};

static void failure_is_shared_by_those_who_come_soon_after(void **state)
{
    struct container box;
    struct aws_keys k;
    struct err e;
    container_start(&box, 0);
    box.broken = true;
    clock_set_source(&fake);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_int_equal(aws_credentials_get(c, &k, &e), -1);
    assert_int_equal(aws_credentials_get(c, &k, &e), -1);
    assert_non_null(strstr(e.message, "HTTP 400"));
    assert_int_equal(asked(&box), 1);
    pass_seconds(1);
    set_broken(&box, false);
    assert_keys(c, "AK2");
    aws_credentials_release(c);
    clock_set_source(NULL);
    container_stop(&box);
}

static void keys_hold_until_their_end_and_then_the_reason_comes_out(void **state)
{
    struct container box;
    struct aws_keys k;
    struct err e;
    clock_set_source(&fake);
    container_start(&box, 600000);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_keys(c, "AK1");
    set_broken(&box, true);
    assert_false(aws_credentials_refused(c, "AK1")); /* a look that fails */
    assert_int_equal(asked(&box), 2);
    pass_seconds(599);
    assert_keys(c, "AK1");
    pass_seconds(2);
    assert_int_equal(aws_credentials_get(c, &k, &e), -1);
    assert_non_null(strstr(e.message, "container: it returned HTTP 400"));
    set_broken(&box, false);
    pass_seconds(1);
    assert_keys(c, "AK4");
    aws_credentials_release(c);
    clock_set_source(NULL);
    container_stop(&box);
}

static void keys_are_used_past_their_end_while_their_source_does_not_respond(void **state)
{
    struct container box;
    clock_set_source(&fake);
    container_start(&box, 600000);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_keys(c, "AK1");
    set_silent(&box, true);
    pass_seconds(601);
    assert_keys(c, "AK1"); /* a look that fails */
    int looks = asked(&box);
    assert_true(looks > 1);
    for (int i = 0; i < 50; i++) {
        pass_seconds(2);
        assert_keys(c, "AK1");
    }
    assert_true(asked(&box) < looks + 40); /* the calls do not ask, the renewing thread does */
    set_silent(&box, false);
    pass_seconds(60);
    assert_true(aws_credentials_refused(c, "AK1")); /* AWS has the last word */
    aws_credentials_release(c);
    clock_set_source(NULL);
    container_stop(&box);
}

static void metadata_that_has_nothing_newer_gives_keys_that_are_used(void **state)
{
    struct container box;
    container_start(&box, -1000);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_keys(c, "AK1");
    aws_credentials_release(c);
    container_stop(&box);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refused_keys_are_looked_up_anew_but_not_all_the_time(void **state)
{
    struct container box;
    container_start(&box, 0);
    clock_set_source(&fake);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_keys(c, "AK1");
    assert_true(aws_credentials_refused(c, "AK1"));
    assert_keys(c, "AK2");
    assert_true(aws_credentials_refused(c, "AK1")); /* renewed since: no look */
    assert_int_equal(asked(&box), 2);
    assert_false(aws_credentials_refused(c, "AK2")); /* too soon after the last look */
    assert_int_equal(asked(&box), 2);
    pass_seconds(10);
    assert_true(aws_credentials_refused(c, "AK2"));
    assert_keys(c, "AK3");
    aws_credentials_release(c);
    clock_set_source(NULL);
    container_stop(&box);
}

struct refused {
    struct aws_credentials *keys;
    bool again;
};

static void *refuse_first(void *arg)
{
    struct refused *r = arg;
    r->again = aws_credentials_refused(r->keys, "AK1");
    return NULL;
}

struct release {
    struct wakeup *ready;
    uint64_t seen;
    struct wakeup *hold;
};

static void *let_go_when_ready(void *arg)
{
    struct release *r = arg;
    (void)wakeup_wait(r->ready, r->seen, 60000);
    wakeup_raise(r->hold);
    return NULL;
}

static void refusals_during_a_look_wait_for_what_it_finds(void **state)
{
    struct container box;
    struct wakeup until;
    struct wakeup ready;
    pthread_t first;
    pthread_t releaser;
    wakeup_init(&until);
    wakeup_init(&ready);
    container_start(&box, 0);
    struct refused one = {.keys = aws_credentials_acquire()};
    struct release release = {&ready, wakeup_count(&ready), &until};
    assert_keys(one.keys, "AK1");
    hold_answers(&box, &until);
    assert_int_equal(pthread_create(&first, NULL, refuse_first, &one), 0);
    assert_int_equal(pthread_create(&releaser, NULL, let_go_when_ready, &release), 0);
    wait_until_asked(&box, 2);
    wakeup_signal(&ready);
    assert_true(aws_credentials_refused(one.keys, "AK1"));
    assert_int_equal(pthread_join(first, NULL), 0);
    assert_int_equal(pthread_join(releaser, NULL), 0);
    assert_true(one.again);
    assert_int_equal(asked(&box), 2);
    aws_credentials_release(one.keys);
    container_stop(&box);
    wakeup_fini(&ready);
    wakeup_fini(&until);
}

static void refused_keys_that_stay_the_same_are_not_tried_again(void **state)
{
    (void)setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    struct aws_credentials *c = aws_credentials_acquire();
    assert_keys(c, "ENV");
    assert_false(aws_credentials_refused(c, "ENV"));
    assert_keys(c, "ENV");
    aws_credentials_release(c);
}

/* --- roles ------------------------------------------------------------------------------------ */

static void role_is_assumed_with_the_own_keys_and_shared_by_its_clients(void **state)
{
    struct fixture_server s;
    struct fixture_answer answers[] = {
        {"POST /", 200, "", fixture_sts("AssumeRole", "ROLE", "2100-01-01T00:00:00Z"), 1, 0}};
    (void)setenv("AWS_ACCESS_KEY_ID", "ENV", 1);
    (void)setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
    fixture_serve(&s, answers, 1);
    (void)setenv("AWS_ENDPOINT_URL_STS", http_server_url(s.http), 1);
    struct aws_credentials *own = aws_credentials_acquire();
    struct aws_credentials *one = aws_credentials_acquire_role("arn:one", "eu-west-1");
    struct aws_credentials *two = aws_credentials_acquire_role("arn:two", "us-east-1");
    assert_ptr_equal(aws_credentials_acquire_role("arn:one", "eu-west-1"), one);
    /* Were that region's STS lost, the others' keys would still be renewed. */
    struct aws_credentials *there = aws_credentials_acquire_role("arn:one", "us-east-1");
    assert_ptr_not_equal(there, one);
    aws_credentials_release(there);
    assert_ptr_not_equal(one, own);
    assert_ptr_not_equal(one, two);
    assert_keys(one, "ROLE");
    assert_keys(own, "ENV");
    const struct served_request *q = http_server_request(s.http, 0);
    assert_non_null(strstr(q->body.data, "&RoleArn=arn%3Aone&"));
    assert_non_null(strstr(served_header(q, "Authorization"), "Credential=ENV/"));
    assert_non_null(strstr(served_header(q, "Authorization"), "/eu-west-1/sts/aws4_request"));
    aws_credentials_release(own);
    aws_credentials_release(one);
    struct aws_keys k;
    struct err e;
    assert_int_equal(aws_credentials_get(two, &k, &e), -1); /* the answer is used up */
    assert_non_null(strstr(e.message, "arn:two"));
    assert_keys(one, "ROLE");
    aws_credentials_release(one);
    aws_credentials_release(two);
    fixture_stop(&s);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, aws_fixture_begin, aws_fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renewal_comes_five_minutes_before_the_end_or_at_three_quarters),
        CASE(many_that_need_keys_at_once_look_once),
        CASE(keys_are_renewed_before_their_end_without_a_call),
        CASE(renewal_that_fails_is_tried_again_by_itself),
        CASE(keys_that_have_expired_when_they_come_are_none),
        CASE(failure_is_shared_by_those_who_come_soon_after),
        CASE(keys_hold_until_their_end_and_then_the_reason_comes_out),
        CASE(keys_are_used_past_their_end_while_their_source_does_not_respond),
        CASE(metadata_that_has_nothing_newer_gives_keys_that_are_used),
        CASE(refused_keys_are_looked_up_anew_but_not_all_the_time),
        CASE(refusals_during_a_look_wait_for_what_it_finds),
        CASE(refused_keys_that_stay_the_same_are_not_tried_again),
        CASE(role_is_assumed_with_the_own_keys_and_shared_by_its_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
