/* Reload: what changes at once, what waits for a restart, and who may hold on to what. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/vm/qemu/settings.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

/* The text to be read comes from the environment, so that no file is needed. */
static struct config_live *live_of(const char *text)
{
    struct config *first = NULL;
    struct err e;
    setenv("MAYFLY_CONFIG", text, 1);
    assert_int_equal(config_load(NULL, CONFIG_FOR_CHECK, &first, NULL, &e), 0);
    return config_live_new(first, NULL, CONFIG_FOR_CHECK);
}

static void reload_ok(struct config_live *live, const char *text, const char *expected_ignored)
{
    struct buf ignored;
    struct err e;
    buf_init(&ignored, 1 << 16);
    setenv("MAYFLY_CONFIG", text, 1);
    if (config_live_reload(live, &ignored, &e) != 0) {
        fail_msg("refused: %s", e.message);
    }
    assert_string_equal(ignored.len > 0 ? ignored.data : "", expected_ignored);
    buf_fini(&ignored);
}

static void reload_changes_what_is_reloadable(void **state)
{
    struct config_live *live = live_of(GOOD);
    reload_ok(live,
              GOOD_TOP "log_level: debug\n"
                       "github: {token: t-o-k-e-n, webhook_secrets: [a-new-secret, "
                       "a-long-secret]}\n"
                       "limits: {max_vms: 3, launch_rate: {per_second: 0.25}}\n"
                       "classes: [{name: small, labels: [self-hosted, linux, more], max_vms: 9, "
                       "qemu: {image: /i}}]\n",
              "");
    const struct config *c = config_live_get(live);
    assert_string_equal(c->log_level, "debug");
    assert_int_equal(c->github.webhook_secrets.count, 2);
    assert_string_equal(c->github.webhook_secrets.items[0], "a-new-secret");
    assert_int_equal(c->limits.max_vms, 3);
    assert_true(c->limits.launch_rate.per_second < 0.3);
    assert_int_equal(c->classes[0].labels.count, 3);
    assert_int_equal(c->classes[0].max_vms, 9);
    config_live_put(live, c);
    config_live_free(live);
}

static void reload_keeps_and_names_what_needs_a_restart(void **state)
{
    struct config_live *live = live_of(GOOD);
    reload_ok(live,
              "queue: sqlite:///tmp/other.db\n"
              "ledger: sqlite:///tmp/l.db\n"
              "ingress: {batch: 7, tls: {certificate: /c, key: /k}}\n"
              "github: {token: another, webhook_secrets: [a-long-secret]}\n"
              "classes: [{name: small, labels: [self-hosted, linux], max_vms: 5, qemu: {image: "
              "/other, restore: false}}]\n",
              "queue: changed, requires a restart\n"
              "github.token: changed, requires a restart\n"
              "ingress.tls.certificate: changed, requires a restart\n"
              "ingress.tls.key: changed, requires a restart\n"
              "ingress.batch: changed, requires a restart\n");
    const struct config *c = config_live_get(live);
    assert_string_equal(c->queue, "sqlite:///tmp/q.db");
    assert_string_equal(c->github.token, "t-o-k-e-n");
    assert_string_equal(c->ingress.tls_key, "");
    assert_int_equal(c->ingress.batch, 256);
    assert_string_equal(qemu_settings_of(&c->classes[0])->image, "/other");
    assert_false(qemu_settings_of(&c->classes[0])->restore);
    assert_int_equal(c->classes[0].max_vms, 5);
    config_live_put(live, c);
    config_live_free(live);
}

#define CLASS(name, max)                                                                           \
    "  - {name: " name ", labels: [" name "], max_vms: " max ", qemu: {image: /i}}\n"

static const char *name_of(const struct config *c, size_t i)
{
    return i < c->class_count ? c->classes[i].name : "";
}

static void reload_adds_changes_and_retires_classes(void **state)
{
    static const struct slice label[] = {{"b", 1}};
    struct config_live *live =
        live_of(GOOD_TOP GOOD_GITHUB "classes:\n" CLASS("a", "1") CLASS("b", "2") CLASS("c", "3"));
    reload_ok(live,
              GOOD_TOP GOOD_GITHUB "classes:\n" CLASS("new", "7") CLASS("c", "30") CLASS("a", "10"),
              "");
    const struct config *c = config_live_get(live);
    assert_int_equal(c->class_count, 4);
    assert_string_equal(name_of(c, 0), "new");
    assert_string_equal(name_of(c, 1), "c");
    assert_int_equal(c->classes[1].max_vms, 30);
    assert_string_equal(name_of(c, 2), "a");
    assert_int_equal(c->classes[2].max_vms, 10);
    assert_string_equal(name_of(c, 3), "b"); /* removed: its VMs and its lane are still here */
    assert_true(config_class_is_retired(&c->classes[3]));
    assert_string_equal(qemu_settings_of(&c->classes[3])->image, "/i");
    assert_ptr_equal(c->classes[3].state_dir, c->state_dir);
    config_live_put(live, c);
    reload_ok(
        live,
        GOOD_TOP GOOD_GITHUB
        "classes:\n  - {name: c, labels: [b], max_vms: 0, qemu: {image: /i}}\n" CLASS("b", "2"),
        "");
    c = config_live_get(live);
    assert_int_equal(c->class_count, 4);
    assert_string_equal(config_route(c, label, 1)->name, "b"); /* it came back; c is retired */
    config_live_put(live, c);
    config_live_free(live);
}

static void class_keeps_its_provider_until_the_restart(void **state)
{
    struct config_live *live =
        live_of(GOOD_TOP GOOD_GITHUB "classes:\n" CLASS("a", "1") CLASS("b", "2"));
    reload_ok(live,
              GOOD_TOP GOOD_GITHUB
              "classes:\n" CLASS("b", "3") "  - {name: a, labels: [x], provider: lambda, lambda: "
                                           "{image: \"arn:aws:lambda:us-east-1:123456789012:"
                                           "microvm-image:i\"}}\n",
              "classes[a].provider: changed, requires a restart\n");
    const struct config *c = config_live_get(live);
    assert_int_equal(c->class_count, 2);
    assert_string_equal(c->classes[1].provider, "qemu");
    assert_int_equal(c->classes[1].max_vms, 1);
    assert_string_equal(qemu_settings_of(&c->classes[1])->image, "/i");
    config_live_put(live, c);
    config_live_free(live);
}

static void class_is_opened_anew_if_a_setting_of_its_provider_changed(void **state)
{
    struct config_live *live = live_of(GOOD_TOP GOOD_GITHUB "classes:\n" CLASS("a", "1"));
    const struct config *first = config_live_get(live);
    reload_ok(live, GOOD_TOP GOOD_GITHUB "classes:\n" CLASS("a", "2"), "");
    const struct config *c = config_live_get(live);
    assert_int_equal(c->classes[0].opening, first->classes[0].opening);
    config_live_put(live, c);
    reload_ok(live,
              GOOD_TOP GOOD_GITHUB "classes: [{name: a, labels: [x], qemu: {image: /other}}]\n",
              "");
    c = config_live_get(live);
    assert_int_equal(c->classes[0].opening, first->classes[0].opening + 1);
    config_live_put(live, c);
    config_live_put(live, first);
    config_live_free(live);
}

static void class_is_opened_anew_if_its_image_leads_to_another_version(void **state)
{
    char dir[] = "/tmp/mayfly-test-config-XXXXXX";
    char text[512];
    char link[64];
    assert_non_null(mkdtemp(dir));
    (void)snprintf(link, sizeof link, "%s/image", dir);
    (void)snprintf(text, sizeof text,
                   GOOD_TOP GOOD_GITHUB "classes: [{name: a, labels: [x], qemu: {image: %s}}]\n",
                   link);
    assert_int_equal(symlink("/", link), 0);
    struct config_live *live = live_of(text);
    for (int64_t opening = 0; opening < 2; opening++) {
        reload_ok(live, text, "");
        const struct config *c = config_live_get(live);
        assert_int_equal(c->classes[0].opening, opening);
        config_live_put(live, c);
        assert_int_equal(unlink(link), 0);
        assert_int_equal(symlink(opening == 0 ? "/tmp" : "/", link), 0);
        reload_ok(live, text, "");
    }
    config_live_free(live);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void failed_reload_changes_nothing(void **state)
{
    struct err e;
    struct config_live *live = live_of(GOOD);
    const struct config *before = config_live_get(live);
    setenv("MAYFLY_CONFIG", GOOD "log_level: loud\n", 1);
    assert_int_equal(config_live_reload(live, NULL, &e), -1);
    assert_non_null(strstr(e.message, "MAYFLY_CONFIG:6: log_level: "));
    unsetenv("MAYFLY_CONFIG");
    assert_int_equal(config_live_reload(live, NULL, &e), -1);
    const struct config *after = config_live_get(live);
    assert_ptr_equal(before, after);
    config_live_put(live, after);
    config_live_put(live, before);
    config_live_free(live);
}

static void held_configuration_stays_as_it_was(void **state)
{
    struct config_live *live = live_of(GOOD);
    const struct config *held = config_live_get(live);
    const struct config *again = config_live_get(live);
    assert_ptr_equal(held, again);
    config_live_put(live, again);
    reload_ok(live, "log_level: warn\n" GOOD, "");
    reload_ok(live, "log_level: error\n" GOOD, "");
    assert_string_equal(held->log_level, "info");
    const struct config *current = config_live_get(live);
    assert_string_equal(current->log_level, "error");
    config_live_put(live, held);
    config_live_put(live, current);
    config_live_free(live);
}

#define READERS 4
#define RELOADS 50

struct readers {
    struct config_live *live;
    int stopped; /* set once, read with __atomic */
    int mixed;   /* views that mixed two texts */
};

/* Each text says the same number twice; a reader that sees two numbers saw half a reload. */
static void *read_on(void *arg)
{
    struct readers *r = arg;
    while (!__atomic_load_n(&r->stopped, __ATOMIC_ACQUIRE)) {
        const struct config *c = config_live_get(r->live);
        if (c->limits.max_vms != c->classes[0].max_vms) {
            __atomic_fetch_add(&r->mixed, 1, __ATOMIC_RELAXED);
        }
        config_live_put(r->live, c);
    }
    return NULL;
}

static void readers_see_whole_configurations_during_reloads(void **state)
{
    pthread_t threads[READERS];
    char text[1024];
    struct readers r = {
        .live = live_of(GOOD_TOP GOOD_GITHUB "limits: {max_vms: 1}\nclasses:\n" CLASS("a", "1"))};
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    }
    for (int i = 2; i < RELOADS; i++) {
        struct buf b;
        buf_init(&b, sizeof text);
        buf_printf(&b,
                   GOOD_TOP GOOD_GITHUB "limits: {max_vms: %d}\nclasses: [{name: a, labels: [x], "
                                        "max_vms: %d, qemu: {image: /i}}]\n",
                   i, i);
        reload_ok(r.live, b.data, "");
        buf_fini(&b);
    }
    __atomic_store_n(&r.stopped, 1, __ATOMIC_RELEASE);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(r.mixed, 0);
    config_live_free(r.live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reload_changes_what_is_reloadable),
        cmocka_unit_test(reload_keeps_and_names_what_needs_a_restart),
        cmocka_unit_test(reload_adds_changes_and_retires_classes),
        cmocka_unit_test(class_keeps_its_provider_until_the_restart),
        cmocka_unit_test(class_is_opened_anew_if_a_setting_of_its_provider_changed),
        cmocka_unit_test(class_is_opened_anew_if_its_image_leads_to_another_version),
        cmocka_unit_test(failed_reload_changes_nothing),
        cmocka_unit_test(held_configuration_stays_as_it_was),
        cmocka_unit_test(readers_see_whole_configurations_during_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
