/* The table, and one value at a time: defaults, types, unknown keys. */
#include <stdlib.h>

#include "common/base/quantity.h"
#include "common/config/private.h"
#include "common/vm/qemu/settings.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

/* --- the table itself --- */

static void table_keys_are_unique_and_sectioned(void **state)
{
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        assert_ptr_equal(setting_find(s->key), s);
        assert_true(s->help != NULL && s->help[strlen(s->help) - 1] == '.');
        assert_int_not_equal(s->readers, 0);
        assert_int_equal(s->required & ~s->readers, 0);
        assert_true((s->required != 0) == (s->example != NULL));
        assert_false(setting_is_section(s->key));
    }
}

/* Durations and sizes are types of their own: the value has the unit, the key has none. */
static void table_keys_end_in_no_unit(void **state)
{
    static const char *const units[] = {"_ms",    "_s",    "_sec", "_secs",  "_seconds", "_minutes",
                                        "_hours", "_days", "_b",   "_bytes", "_kb",      "_kib",
                                        "_mb",    "_mib",  "_gb",  "_gib"};
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        size_t n = strlen(s->key);
        for (size_t k = 0; k < COUNT_OF(units); k++) {
            size_t m = strlen(units[k]);
            if (n > m && strcmp(s->key + n - m, units[k]) == 0) {
                fail_msg("%s ends in a unit", s->key);
            }
        }
    }
}

static void defaults_with_a_unit_are_in_the_largest_one(void **state)
{
    const struct setting *s = NULL;
    size_t seen = 0;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        enum quantity_kind kind = s->type == SETTING_SIZE ? QUANTITY_SIZE : QUANTITY_DURATION;
        const struct quantity q = {.kind = kind, .max = INT64_MAX};
        struct buf why;
        int64_t amount = 0;
        char text[QUANTITY_TEXT_SIZE];
        if (s->type != SETTING_SIZE && s->type != SETTING_DURATION) {
            continue;
        }
        buf_init(&why, 1024);
        assert_true(quantity_read(&q, slice_of(s->fallback), &amount, &why));
        /* 65s stays: no larger unit divides it. */
        assert_string_equal(s->fallback, quantity_text(kind, amount, text));
        assert_in_range(s->min, 0, s->max);
        buf_fini(&why);
        seen++;
    }
    assert_true(seen > 30);
}

static size_t size_of_type(enum setting_type type)
{
    static const size_t sizes[] = {[SETTING_TEXT] = sizeof(char *),
                                   [SETTING_WHOLE] = sizeof(int64_t),
                                   [SETTING_DURATION] = sizeof(int64_t),
                                   [SETTING_SIZE] = sizeof(int64_t),
                                   [SETTING_NUMBER] = sizeof(double),
                                   [SETTING_BOOL] = sizeof(bool),
                                   [SETTING_LIST] = sizeof(struct config_list)};
    return sizes[type];
}

/* Bytes of the struct that none of the rows of the list fills; none may be filled twice. */
static size_t uncovered(const struct setting *rows, size_t n, const struct object_list *list,
                        size_t size)
{
    unsigned char *covered = calloc(1, size);
    size_t open_bytes = 0;
    assert_non_null(covered);
    for (size_t i = 0; i < n; i++) {
        const struct setting *s = &rows[i];
        for (size_t k = 0; object_list_of(s->key) == list && k < size_of_type(s->type); k++) {
            assert_true(s->offset + k < size);
            assert_int_equal(covered[s->offset + k]++, 0);
        }
    }
    for (size_t i = 0; i < size; i++) {
        open_bytes += covered[i] == 0 ? 1 : 0;
    }
    free(covered);
    return open_bytes;
}

static void table_fills_every_member_once(void **state)
{
    /* The classes, the places, those of targets, the Apps, the sources, their numbers, the file's path, the text's hash, what was not fetched, what is automatic, the warnings and whether there are credentials are filled
     * by the walk itself; the two bools of the section aws together, those of the sections reaper and metrics, and the last one alone,
     * pad to eight bytes. */
    size_t count = config_setting_count + config_ingress_setting_count;
    struct setting *rows = calloc(count, sizeof *rows);
    assert_non_null(rows);
    for (size_t i = 0; i < count; i++) {
        rows[i] = *setting_at(i);
    }
    assert_int_equal(uncovered(rows, count, &config_root, sizeof(struct config)),
                     5 * (sizeof(void *) + sizeof(size_t)) + sizeof(char *) +
                         3 * sizeof(struct config_list) + 8 - 2 * sizeof(bool) +
                         2 * (8 - sizeof(bool)) + 8 + sizeof(uint64_t));
    /* All but the targets, what a place is of, the providers' own, what is the configuration's, the openings and the revision; its bool pads to eight bytes. */
    assert_int_equal(
        uncovered(rows, count, object_list_named("classes"), sizeof(struct config_class)),
        3 * sizeof(void *) + sizeof(size_t) + sizeof(void *) + sizeof(void **) +
            sizeof(const char *) + sizeof(int64_t) + sizeof(uint64_t) + 8 - sizeof(bool));
    assert_int_equal(
        uncovered(rows, count, object_list_named("github.apps"), sizeof(struct config_app)), 0);
    assert_int_equal(
        uncovered(rows, count, object_list_named("sources"), sizeof(struct config_source)), 0);
    free(rows);
}

static void providers_settings_are_below_their_name_and_fill_their_struct(void **state)
{
    char names[256] = "";
    bool has_default = false;
    for (size_t i = 0; i < config_provider_count; i++) {
        const struct config_provider *p = config_providers[i];
        char section[64];
        (void)snprintf(section, sizeof section, "classes[].%s.", p->name);
        for (size_t k = 0; k < p->setting_count; k++) {
            struct slice key = slice_of(p->settings[k].key);
            assert_true(
                slice_starts_with(key, slice_of(section)) ||
                (p->at_target != NULL && slice_starts_with(key, SLICE("classes[].targets["))));
        }
        /* But for the role of a target. */
        assert_true(uncovered(p->settings, p->setting_count, object_list_named("classes"),
                              p->size) < 8 + (p->at_target != NULL ? sizeof(char *) : 0));
        assert_true(p->at_target == NULL ||
                    uncovered(p->settings, p->setting_count, object_list_named("classes[].targets"),
                              sizeof(struct config_target)) == 0);
        assert_ptr_equal(config_provider_find(p->name), p);
        has_default = has_default || strcmp(config_provider_default, p->name) == 0;
        size_t used = strlen(names);
        (void)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? " " : "", p->name);
    }
    assert_string_equal(config_provider_names, names);
    assert_true(has_default);
    assert_null(config_provider_find("none"));
}

static void assert_default_is_accepted(const struct setting *s)
{
    const struct object_list *list = object_list_of(s->key);
    void *object = calloc(1, list->size);
    struct buf why;
    assert_non_null(object);
    object_init(list, object);
    void *base = object_base(s->key, object);
    buf_init(&why, 1024);
    const char *trouble = setting_read(s, base, slice_of(s->fallback), &why);
    if (trouble != NULL) {
        fail_msg("%s: its default %s", s->key, trouble);
    }
    object_fini(list, object);
    free(object);
    buf_fini(&why);
}

static void defaults_are_values_that_would_be_accepted(void **state)
{
    const struct setting *s = NULL;
    for (size_t i = 0; (s = setting_at(i)) != NULL; i++) {
        if (s->type != SETTING_LIST && s->required == 0) {
            assert_default_is_accepted(s);
        }
    }
}

static void defaults_of_a_small_text_are_filled(void **state)
{
    struct config *c = parse_ok(GOOD, CONFIG_FOR_CHECK);
    assert_string_equal(c->deployment, "mayfly");
    assert_string_equal(c->queue, "sqlite:///tmp/q.db");
    assert_string_equal(c->github.api_url, "https://api.github.com");
    assert_string_equal(c->github.app_id, "");
    assert_string_equal(c->github.scope, "organization");
    assert_string_equal(c->ingress.listen, "0.0.0.0:8080");
    assert_int_equal(c->ingress.max_body_size_bytes, 1048576);
    assert_int_equal(c->worker.launch_threads, 8);
    assert_int_equal(c->retry.max_delay_ms, 300000);
    assert_true(c->limits.launch_rate.per_second > 4.9 && c->limits.launch_rate.per_second < 5.1);
    assert_int_equal(c->class_count, 1);
    assert_string_equal(c->classes[0].name, "small");
    assert_int_equal(c->classes[0].labels.count, 2);
    assert_int_equal(c->classes[0].required_labels.count, 0);
    assert_string_equal(c->classes[0].provider, "qemu");
    assert_int_equal(qemu_settings_of(&c->classes[0])->memory_bytes, 1 << 30);
    assert_true(qemu_settings_of(&c->classes[0])->restore);
    config_free(c);
}

static void shape_of_the_documentation_is_read(void **state)
{
    struct config *c = parse_ok(
        "queue:  sqlite:///var/lib/mayfly/queue.db\n"
        "ledger: sqlite:///var/lib/mayfly/ledger.db\n"
        "github:\n"
        "  api_url: https://github.example.com/api/v3//\n"
        "  token: ghp_0123456789\n"
        "  webhook_secrets: [first-secret, second-secret]\n"
        "  scope: repository\n"
        "  repositories: [acme/web, other/*]\n"
        "  groups: {acme/web: \"Web = all\", \"other/*\": rest}\n"
        "ingress: {listen: '[::1]:0', path: /hook, tls: {certificate: /c.pem, key: k.pem}}\n"
        "limits:  {max_vms: 100, launch_rate: {per_second: 0.5, burst: 7}}\n"
        "retry:   {max_attempts: 3, base_delay: 10ms, max_delay: 20ms}\n"
        "classes:\n"
        "  - {name: small, labels: [self-hosted, linux, x64], required_labels: [self-hosted],\n"
        "     provider: qemu, max_vms: 4, max_duration: 20m, idle_timeout: 2m,\n"
        "     proxy: {http: 'http://10.0.2.1:3128'},\n"
        "     qemu: {image: /img, cpus: 2, memory: 512MiB, network: proxy, restore: false}}\n"
        "  - {name: large, labels: [self-hosted, big], scope: organization,\n"
        "     qemu: {image: /img2}}\n",
        CONFIG_FOR_CHECK);
    assert_string_equal(config_mapped_group(c, "Acme/web"), "Web = all");
    assert_string_equal(config_mapped_group(c, "other/any"), "rest");
    assert_string_equal(config_mapped_group(c, "acme/site"), "");
    assert_string_equal(config_class_group(c, &c->classes[0]), "Default");
    assert_int_equal(config_scope_of(c, &c->classes[0]), CONFIG_REPOSITORY);
    assert_int_equal(config_scope_of(c, &c->classes[1]), CONFIG_ORGANIZATION);
    assert_true(config_uses_scope(c, CONFIG_REPOSITORY) &&
                config_uses_scope(c, CONFIG_ORGANIZATION) &&
                !config_uses_scope(c, CONFIG_ENTERPRISE));
    assert_false(config_allows_public_repositories(c));
    assert_string_equal(c->github.api_url, "https://github.example.com/api/v3");
    assert_int_equal(c->github.webhook_secrets.count, 2);
    assert_string_equal(c->github.repositories.items[1], "other/*");
    assert_string_equal(c->ingress.listen, "[::1]:0");
    assert_string_equal(c->ingress.tls_certificate, "/c.pem");
    assert_string_equal(c->ingress.tls_key, "k.pem");
    assert_int_equal(c->limits.launch_rate.burst, 7);
    assert_int_equal(c->class_count, 2);
    assert_int_equal(c->classes[0].max_duration_ms, 1200000);
    assert_string_equal(c->classes[0].proxy.http, "http://10.0.2.1:3128");
    assert_false(qemu_settings_of(&c->classes[0])->restore);
    assert_int_equal(qemu_settings_of(&c->classes[1])->cpus, 1);
    assert_ptr_equal(config_class_by_name(c, SLICE("large")), &c->classes[1]);
    assert_null(config_class_by_name(c, SLICE("Large")));
    config_free(c);
}

static int quota_readings;

static void read_quotas(struct config *c)
{
    quota_readings++;
    c->limits.max_vms = 42;
}

static int fetch_nothing(const struct config_aws *aws, struct slice written, struct buf *out,
                         struct err *e)
{
    (void)aws;
    (void)written;
    (void)out;
    return err_set(e, ERR_PERMANENT, 0, "nothing");
}

#define AUTO                                                                                       \
    GOOD_TOP GOOD_GITHUB                                                                           \
        "limits: {max_vms: auto, launch_rate: auto, terminate_rate: {burst: auto}}\n"              \
        "classes:\n"                                                                               \
        "- {name: a, labels: [x], qemu: {image: /i}}\n"                                            \
        "- {name: b, labels: [y], max_vms: auto, qemu: {image: /i}}\n"

static void limits_that_are_auto_are_left_to_the_quota_reader(void **state)
{
    struct config *c = parse_ok(AUTO, CONFIG_FOR_WORKER);
    assert_int_equal(c->limits.max_vms, 100); /* without one, the default */
    assert_int_equal(c->limits.launch_rate.burst, 5);
    assert_true(config_is_automatic(c, "limits.max_vms"));
    assert_true(config_is_automatic(c, "limits.launch_rate.per_second"));
    assert_true(config_is_automatic(c, "limits.launch_rate.burst"));
    assert_false(config_is_automatic(c, "limits.terminate_rate.per_second"));
    assert_true(config_is_automatic(c, "limits.terminate_rate.burst"));
    assert_false(config_is_automatic(c, "classes[0].max_vms"));
    assert_true(config_is_automatic(c, "classes[1].max_vms"));
    config_free(c);
    config_set_quota_reader(read_quotas);
    config_free(parse_ok(AUTO, CONFIG_FOR_WORKER)); /* a check of the text alone */
    assert_int_equal(quota_readings, 0);
    config_set_fetcher(fetch_nothing);
    c = parse_ok(AUTO, CONFIG_FOR_WORKER);
    assert_int_equal(c->limits.max_vms, 42);
    config_free(c);
    config_free(parse_ok(GOOD, CONFIG_FOR_WORKER)); /* none is auto */
    assert_int_equal(quota_readings, 1);
    config_set_fetcher(NULL);
    config_set_quota_reader(NULL);
}

static void durations_and_sizes_are_stored_in_the_unit_of_their_member(void **state)
{
    struct config *c = parse_ok(GOOD_TOP GOOD_GITHUB
                                "ingress: {retry_after: 0s, max_header_size: 4096B}\n"
                                "worker: {capacity_poll: 250ms, visibility_timeout: 90s}\n"
                                "reaper: {startup_timeout: 20m, retention: 7d, log_retention: 6h}\n"
                                "classes:\n"
                                "- {name: a, labels: [x], idle_timeout: 1500ms, qemu: {image: /i,"
                                " memory: 2GiB, disk_size: 512MiB, max_console_size: 64KiB}}\n",
                                CONFIG_FOR_CHECK);
    const struct qemu_settings *q = qemu_settings_of(&c->classes[0]);
    assert_int_equal(c->ingress.retry_after_ms, 0);
    assert_int_equal(c->ingress.max_header_size_bytes, 4096);
    assert_int_equal(c->worker.capacity_poll_ms, 250);
    assert_int_equal(c->worker.visibility_timeout_ms, 90000);
    assert_int_equal(c->reaper.startup_timeout_ms, 1200000);
    assert_int_equal(c->reaper.retention_ms, 604800000);
    assert_int_equal(c->reaper.log_retention_ms, 21600000);
    assert_int_equal(c->classes[0].idle_timeout_ms, 1500);
    assert_int_equal(q->memory_bytes, 2147483648);
    assert_int_equal(q->disk_size_bytes, 536870912);
    assert_int_equal(q->max_console_size_bytes, 65536);
    config_free(c);
}

static void queue_may_be_on_any_store(void **state)
{
    static const char *const urls[] = {
        "redis://h:6379/0?prefix=p", "sqs://mayfly?region=eu-west-1&poll_wait=20s",
        "sqs://?queue.events=https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F123456789012%2Fjobs"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        char text[1024];
        (void)snprintf(text, sizeof text, "queue: \"%s\"\nledger: redis://h\n%s%s", urls[i],
                       GOOD_GITHUB, GOOD_CLASSES);
        struct config *c = parse_ok(text, CONFIG_FOR_CHECK);
        assert_string_equal(c->queue, urls[i]);
        config_free(c);
    }
}

/* --- unknown keys --- */

static void unknown_key_names_the_nearest_known_one(void **state)
{
    assert_complaint_of_line("ingress: {max_boddy_size: 1}",
                             "m.yaml:1: ingress.max_boddy_size: unknown key: did you mean "
                             "max_body_size?");
    assert_complaint_of_line("ingres: {}", "m.yaml:1: ingres: unknown key: did you mean ingress?");
    assert_complaint_of_line("limits: {lauch_rate: {}}",
                             "m.yaml:1: limits.lauch_rate: unknown key: did you mean "
                             "launch_rate?");
    assert_complaint_of_line("limits: {launch_rate: {brust: 3}}",
                             "m.yaml:1: limits.launch_rate.brust: unknown key: did you mean "
                             "burst?");
}

static void unknown_key_of_a_class_names_the_nearest_known_one(void **state)
{
    assert_complaints(GOOD_TOP GOOD_GITHUB "classes:\n"
                                           "- name: a\n"
                                           "  labels: [x]\n"
                                           "  qemu:\n"
                                           "    image: /i\n"
                                           "    memory_mib: 3\n"
                                           "  lables: [y]\n",
                      CONFIG_FOR_CHECK,
                      "m.yaml:9: classes[0].qemu.memory_mib: unknown key: did you mean memory?\n"
                      "m.yaml:10: classes[0].lables: unknown key: did you mean labels?");
}

static void unknown_key_that_belongs_elsewhere_names_the_place(void **state)
{
    assert_complaint_of_line("max_body_size: 1", "m.yaml:1: max_body_size: unknown key: did you "
                                                 "mean ingress.max_body_size?");
}

static void unknown_key_far_from_all_lists_the_known_ones(void **state)
{
    assert_complaint_of_line("retry: {zebra: 1}", "m.yaml:1: retry.zebra: unknown key: known keys: "
                                                  "max_attempts, base_delay, max_delay");
}

static void dotted_key_is_no_nesting(void **state)
{
    assert_complaint_of_line("retry.max_delay: 3",
                             "m.yaml:1: retry.max_delay: unknown key: a dot does "
                             "not make a section: write sections as maps");
}

/* --- values of each type --- */

static void wrong_value_says_what_it_must_be(void **state)
{
    static const struct {
        const char *line;
        const char *complaint;
    } cases[] = {
        {"ingress: {batch: many}", "ingress.batch: \"many\" is refused: it must be a whole number "
                                   "from 1 to 512"},
        {"ingress: {batch: 0}", "ingress.batch: \"0\" is refused: it must be a whole number from "
                                "1 to 512"},
        {"ingress: {batch: 513}", "ingress.batch: \"513\" is refused: it must be a whole number "
                                  "from 1 to 512"},
        {"ingress: {batch: 1.5}", "ingress.batch: \"1.5\" is refused: it must be a whole number "
                                  "from 1 to 512"},
        {"ingress: {batch: 99999999999999999999}",
         "ingress.batch: \"99999999999999999999\" is refused: it must be a whole number from 1 to "
         "512"},
        {"ingress: {batch: [1]}", "ingress.batch: must be a single value, not a list"},
        {"limits: {launch_rate: {per_second: nan}}",
         "limits.launch_rate.per_second: \"nan\" is refused: it must be a number from 0 to "
         "100000"},
        {"limits: {launch_rate: {per_second: -1}}",
         "limits.launch_rate.per_second: \"-1\" is refused: it must be a number from 0 to "
         "100000"},
        {"limits: {launch_rate: {per_second: 1e9}}",
         "limits.launch_rate.per_second: \"1e9\" is refused: it must be a number from 0 to "
         "100000"},
        {"limits: {launch_rate: 5}",
         "limits.launch_rate: must be a map, not a single value: write its keys below it, "
         "indented"},
        {"worker: {visibility_timeout: 30}",
         "worker.visibility_timeout: \"30\" is refused: it has no unit: write a number and "
         "its unit (ms, s, m, h or d), such as 30s, 1.5h or 1h30m, from 100ms to 1d"},
        {"worker: {visibility_timeout: 99ms}",
         "worker.visibility_timeout: \"99ms\" is refused: it must be from 100ms to 1d"},
        {"retry: {max_attempts: auto}",
         "retry.max_attempts: \"auto\" is refused: it must be a whole number from 1 to 1000"},
        {"retry: auto",
         "retry: must be a map, not a single value: write its keys below it, indented"},
        {"reaper: {retention: 3651d}",
         "reaper.retention: \"3651d\" is refused: it must be from 0s to 3650d"},
        {"ingress: {retry_after: 1.00005s}",
         "ingress.retry_after: \"1.00005s\" is refused: it has too fine a fraction: write a number "
         "and "
         "its unit (ms, s, m, h or d), such as 10s, 1.5h or 1h30m, from 0s to 1h"},
        {"ingress: {max_body_size: 1048576}",
         "ingress.max_body_size: \"1048576\" is refused: it has no unit: write a number and "
         "its unit (B, KiB, MiB, GiB or TiB), such as 1MiB or 1.5GiB, from 1KiB to 25MiB"},
        {"ingress: {max_body_size: 5m}",
         "ingress.max_body_size: \"5m\" is refused: it has an unknown unit: write a number "
         "and its unit (B, KiB, MiB, GiB or TiB), such as 1MiB or 1.5GiB, from 1KiB to 25MiB"},
        {"ingress: {max_body_size: 26MiB}",
         "ingress.max_body_size: \"26MiB\" is refused: it must be from 1KiB to 25MiB"},
        {"log_level: loud", "log_level: \"loud\" is refused: it must be one of `debug`, `info`, "
                            "`warn`, `error`"},
        {"deployment: My_Fleet", "deployment: \"My_Fleet\" is refused: it must be lower-case "
                                 "letters, digits and -"},
        {"deployment: aaaaaaaaaaaaaaaaaaaaa", "deployment: \"aaaaaaaaaaaaaaaaaaaaa\" is refused: "
                                              "it must have 1 to 20 bytes"},
        {"deployment: \"a\\nb\"",
         "deployment: \"a\nb\" is refused: it must not contain line breaks "
         "or control characters: remove them"},
        {"ingress: {listen: localhost:80}",
         "ingress.listen: \"localhost:80\" is refused: it must be address:port, such as "
         "0.0.0.0:8080 or [::]:8080"},
        {"ingress: {listen: 1.2.3.4:65536}",
         "ingress.listen: \"1.2.3.4:65536\" is refused: it must be address:port, such as "
         "0.0.0.0:8080 or [::]:8080"},
        {"ingress: {listen: ''}", "ingress.listen: \"\" is refused: it must be address:port, such "
                                  "as 0.0.0.0:8080 or [::]:8080"},
        {"worker: {admin_listen: 'fe80::1:80'}",
         "worker.admin_listen: \"fe80::1:80\" is refused: it must be address:port, such as "
         "127.0.0.1:9101, or unix:/PATH of at most 107 bytes"},
        {"ingress: {path: hook}", "ingress.path: \"hook\" is refused: it must be a path that "
                                  "begins with /"},
        {"classes: small", "classes: must be a list, not a single value: begin each element with "
                           "\"- name: …\""},
        {"ingress: {tls: yes}", "ingress.tls: must be a map, not a single value: write its keys "
                                "below it, indented"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf text;
        struct buf expected;
        buf_init(&text, 4096);
        buf_init(&expected, 4096);
        bool has_classes = strncmp(cases[i].line, "classes", 7) == 0;
        buf_printf(&text, "%s\n%s", cases[i].line,
                   has_classes ? GOOD_TOP GOOD_GITHUB : GOOD_TOP GOOD_GITHUB GOOD_CLASSES);
        buf_printf(&expected, "m.yaml:1: %s", cases[i].complaint);
        assert_complaints(text.data, CONFIG_FOR_CHECK, expected.data);
        buf_fini(&expected);
        buf_fini(&text);
    }
}

static void wrong_value_in_github_or_a_class_says_what_it_must_be(void **state)
{
    assert_complaints(
        GOOD_TOP "github:\n"
                 "  token: t\n"
                 "  webhook_secrets: a-long-secret\n"
                 "  api_url: ftp://x\n"
                 "  repositories: [acme, 'a/b/c', acme/*, a/]\n"
                 "  scope: org\n"
                 "  public_repositories: yes\n"
                 "  groups: {acme: x, acme/a: '', acme/b: [x], acme/c: ok}\n"
                 "classes:\n"
                 "  - just-a-word\n"
                 "  - {name: Big, labels: ['', ' x', 'a,b', [c]], qemu: {image: /i, restore: "
                 "yes}, provider: lambada}\n",
        CONFIG_FOR_CHECK,
        "m.yaml:5: github.webhook_secrets: must be a list, not a single value: put it in "
        "brackets, as webhook_secrets: [one, two]\n"
        "m.yaml:6: github.api_url: \"ftp://x\" is refused: it must be a URL that begins with "
        "http:// or https://\n"
        "m.yaml:7: github.repositories[0]: \"acme\" is refused: it must be owner/name or owner/*\n"
        "m.yaml:7: github.repositories[1]: \"a/b/c\" is refused: it must be owner/name or "
        "owner/*\n"
        "m.yaml:7: github.repositories[3]: \"a/\" is refused: it must be owner/name or owner/*\n"
        "m.yaml:8: github.scope: \"org\" is refused: it must be one of `organization`, "
        "`repository`, `enterprise`\n"
        "m.yaml:9: github.public_repositories: \"yes\" is refused: it must be one of `refuse`, "
        "`allow`\n"
        "m.yaml:10: github.groups.acme: \"acme=x\" is refused: it must be owner/name or owner/*, "
        "each with a group's name of 1 to 100 bytes\n"
        "m.yaml:10: github.groups.acme/a: \"acme/a=\" is refused: it must be owner/name or "
        "owner/*, each with a group's name of 1 to 100 bytes\n"
        "m.yaml:10: github.groups.acme/b: must be a single value, not a list\n"
        "m.yaml:12: classes[0]: must be a map: write {name: …, …}\n"
        "m.yaml:13: classes[1].name: \"Big\" is refused: it must be lower-case letters, digits "
        "and -\n"
        "m.yaml:13: classes[1].labels[0]: \"\" is refused: it must be a label without commas and "
        "without spaces at its ends\n"
        "m.yaml:13: classes[1].labels[1]: \" x\" is refused: it must be a label without commas "
        "and without spaces at its ends\n"
        "m.yaml:13: classes[1].labels[2]: \"a,b\" is refused: it must be a label without commas "
        "and without spaces at its ends\n"
        "m.yaml:13: classes[1].labels[3]: must be a single value, not a list\n"
        "m.yaml:13: classes[1].qemu.restore: \"yes\" is refused: it must be true or false\n"
        "m.yaml:13: classes[1].provider: \"lambada\" is refused: it must be one of `qemu`, "
        "`lambda`");
}

static void nothing_behind_a_key_is_its_default(void **state)
{
    struct config *c = parse_ok("ingress:\nretry: {max_delay: , base_delay: null}\nworker: {"
                                "admin_listen: ''}\n" GOOD,
                                CONFIG_FOR_CHECK);
    assert_int_equal(c->retry.max_delay_ms, 300000);
    assert_int_equal(c->ingress.batch, 256);
    assert_string_equal(c->worker.admin_listen, "");
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_keys_are_unique_and_sectioned),
        cmocka_unit_test(table_keys_end_in_no_unit),
        cmocka_unit_test(defaults_with_a_unit_are_in_the_largest_one),
        cmocka_unit_test(table_fills_every_member_once),
        cmocka_unit_test(providers_settings_are_below_their_name_and_fill_their_struct),
        cmocka_unit_test(defaults_are_values_that_would_be_accepted),
        cmocka_unit_test(defaults_of_a_small_text_are_filled),
        cmocka_unit_test(shape_of_the_documentation_is_read),
        cmocka_unit_test(limits_that_are_auto_are_left_to_the_quota_reader),
        cmocka_unit_test(durations_and_sizes_are_stored_in_the_unit_of_their_member),
        cmocka_unit_test(queue_may_be_on_any_store),
        cmocka_unit_test(unknown_key_names_the_nearest_known_one),
        cmocka_unit_test(unknown_key_of_a_class_names_the_nearest_known_one),
        cmocka_unit_test(unknown_key_that_belongs_elsewhere_names_the_place),
        cmocka_unit_test(unknown_key_far_from_all_lists_the_known_ones),
        cmocka_unit_test(dotted_key_is_no_nesting),
        cmocka_unit_test(wrong_value_says_what_it_must_be),
        cmocka_unit_test(wrong_value_in_github_or_a_class_says_what_it_must_be),
        cmocka_unit_test(nothing_behind_a_key_is_its_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
