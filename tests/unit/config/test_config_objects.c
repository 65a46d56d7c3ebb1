/* Lists of objects: github.apps[], and one within a class, in a provider's section of its own. */
#include <stdio.h>
#include <stdlib.h>

#include "common/config/private.h"
#include "common/config/rows.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

/* --- a provider with a list: these tables take the place of common/vm/providers.c and
 * common/config/table_lists.c --- */

struct host {
    char *name;
    char *password;
    struct config_list tags;
    struct config_rate rate;
};

struct standin {
    char *image;
    struct host *hosts;
    size_t host_count;
};

#define IN_STANDIN(member) offsetof(struct standin, member)
#define IN_HOST(member) offsetof(struct host, member)

static const struct setting rows[] = {
    TEXT("classes[].standin.image", IN_STANDIN(image), "i", 1, 64, .readers = FOR_FLEET,
         .help = "An image."),
    TEXT("classes[].standin.hosts[].name", IN_HOST(name), "", 1, 64, .readers = FOR_ALL,
         .required = FOR_FLEET, .example = "name: one", .help = "A name."),
    TEXT("classes[].standin.hosts[].password", IN_HOST(password), "none", 1, 8,
         .flags = SETTING_SECRET | SETTING_RELOADABLE, .readers = FOR_WORKER, .help = "A secret."),
    LIST("classes[].standin.hosts[].tags", IN_HOST(tags), 0, 2, .flags = SETTING_RELOADABLE,
         .readers = FOR_ALL, .help = "Words."),
    NUMBER("classes[].standin.hosts[].rate.per_second", IN_HOST(rate.per_second), "2", 0, 100,
           .flags = SETTING_AUTO, .readers = FOR_ALL, .help = "A rate."),
    WHOLE("classes[].standin.hosts[].rate.burst", IN_HOST(rate.burst), "3", 1, 100,
          .flags = SETTING_AUTO, .readers = FOR_ALL, .help = "A burst."),
};

static void check_nothing(const struct config_class_check *c)
{
    (void)c;
}

static const struct config_provider standin_config = {.name = "standin",
                                                      .size = sizeof(struct standin),
                                                      .settings = rows,
                                                      .setting_count = COUNT_OF(rows),
                                                      .check = check_nothing};
const struct config_provider *const config_providers[] = {&standin_config};
const size_t config_provider_count = COUNT_OF(config_providers);
const char config_provider_names[] = "standin";
const char config_provider_default[] = "standin";

const struct object_list config_lists[] = {
    {.key = "classes[]",
     .first = "name",
     .distinct = true,
     .reloadable = true,
     .limit = 3,
     .size = sizeof(struct config_class),
     .items = offsetof(struct config, classes),
     .count = offsetof(struct config, class_count),
     .init = config_class_make_blocks,
     .fini = config_class_free_blocks,
     .locate = config_class_locate},
    {.key = "classes[].standin.hosts[]",
     .first = "name",
     .distinct = true,
     .limit = 3,
     .size = sizeof(struct host),
     .items = IN_STANDIN(hosts),
     .count = IN_STANDIN(host_count)},
    {.key = "github.apps[]",
     .first = "id",
     .limit = 3,
     .size = sizeof(struct config_app),
     .items = offsetof(struct config, github.apps),
     .count = offsetof(struct config, github.app_count)},
    {.key = "sources[]",
     .first = "scale_set",
     .limit = 3,
     .size = sizeof(struct config_source),
     .items = offsetof(struct config, sources),
     .count = offsetof(struct config, source_count)},
};
const size_t config_list_count = COUNT_OF(config_lists);

static const struct standin *standin_of(const struct config *c, size_t i)
{
    return c->classes[i].settings;
}

/* A class with these hosts. */
#define WITH_HOSTS(hosts)                                                                          \
    GOOD_TOP GOOD_GITHUB "classes:\n  - {name: small, labels: [x], standin: {hosts: " hosts "}}\n"
#define HOST "classes[0].standin.hosts"

/* --- reading --- */

static void elements_are_read_with_their_defaults(void **state)
{
    setenv("TEST_HOST_PASSWORD", "p-w", 1);
    struct config *c =
        parse_ok(GOOD_TOP GOOD_GITHUB "classes:\n"
                                      "  - name: small\n"
                                      "    labels: [x]\n"
                                      "    standin:\n"
                                      "      hosts:\n"
                                      "        - {name: one, tags: [a, b], rate: {burst: 7}}\n"
                                      "        - {name: two, password: env:TEST_HOST_PASSWORD}\n"
                                      "  - {name: large, labels: [y]}\n",
                 CONFIG_FOR_CHECK);
    const struct standin *s = standin_of(c, 0);
    assert_int_equal(s->host_count, 2);
    assert_string_equal(s->image, "i");
    assert_string_equal(s->hosts[0].name, "one");
    assert_string_equal(s->hosts[0].password, "none");
    assert_int_equal(s->hosts[0].tags.count, 2);
    assert_string_equal(s->hosts[0].tags.items[1], "b");
    assert_int_equal(s->hosts[0].rate.burst, 7);
    assert_true(s->hosts[0].rate.per_second > 1.9);
    assert_string_equal(s->hosts[1].password, "p-w");
    assert_int_equal(s->hosts[1].rate.burst, 3);
    assert_int_equal(standin_of(c, 1)->host_count, 0);
    config_free(c);
}

static void secret_of_another_program_is_not_read(void **state)
{
    struct config *c =
        parse_ok(WITH_HOSTS("[{name: one, password: env:NOT_SET_AT_ALL}]"), CONFIG_FOR_REAPER);
    assert_string_equal(standin_of(c, 0)->hosts[0].password, "none");
    config_free(c);
}

static void automatic_limits_have_the_path_of_their_element(void **state)
{
    struct config *c =
        parse_ok(WITH_HOSTS("[{name: one}, {name: two, rate: auto}]"), CONFIG_FOR_CHECK);
    assert_false(config_is_automatic(c, HOST "[0].rate.burst"));
    assert_true(config_is_automatic(c, HOST "[1].rate.burst"));
    assert_true(config_is_automatic(c, HOST "[1].rate.per_second"));
    config_free(c);
}

static void complaints_name_the_element(void **state)
{
    static const struct {
        const char *hosts;
        const char *says;
    } cases[] = {
        {"small", "must be a list, not a single value: begin each element with \"- name: …\""},
        {"[one]", "[0]: must be a map: write {name: …, …}"},
        {"[{name: a}, {name: b, tgas: [c]}]", "[1].tgas: unknown key: did you mean tags?"},
        {"[{name: a, rate: {brust: 1}}]", "[0].rate.brust: unknown key: did you mean burst?"},
        {"[{name: a, rate: 3}]", "[0].rate: must be a map, not a single value: write its keys "
                                 "below it, indented"},
        {"[{name: a}, {tags: [b]}]", "[1].name: is required: add \"name: one\""},
        {"[{name: a}, {name: b}, {name: b}]",
         "[2].name: is the name of classes[0].standin.hosts[1] too: give each its own"},
        {"[{name: a, tags: [x, y, z]}]",
         "[0].tags[2]: \"z\" is refused: it must have at most 2 items"},
        {"[{name: a, password: far-too-long}]",
         "[0].password: the value is refused: it must have 1 to 8 bytes"},
        {"[{name: a}, {name: b}, {name: c}, {name: d}]",
         "has 4 elements, more than the 3 that are allowed: remove some"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[1024];
        char says[256];
        (void)snprintf(text, sizeof text,
                       GOOD_TOP GOOD_GITHUB
                       "classes:\n  - {name: small, labels: [x], standin: {hosts: %s}}\n",
                       cases[i].hosts);
        (void)snprintf(says, sizeof says, "m.yaml:5: " HOST "%s%s",
                       cases[i].says[0] == '[' ? "" : ": ", cases[i].says);
        assert_complaints(text, CONFIG_FOR_CHECK, says);
    }
}

static void list_alone_is_the_default(void **state)
{
    struct config *c = parse_ok(WITH_HOSTS(""), CONFIG_FOR_CHECK);
    assert_int_equal(standin_of(c, 0)->host_count, 0);
    config_free(c);
}

/* --- Apps --- */

#define APP(id, more) "{id: " id ", private_key: kms:alias/" id more "}"
#define WITH_APPS(apps)                                                                            \
    GOOD_TOP "github: {webhook_secrets: [a-long-secret], apps: " apps "}\n"                        \
             "classes: [{name: small, labels: [x]}]\n"

static void apps_are_read(void **state)
{
    struct config *c = parse_ok(WITH_APPS("[" APP("1", ", organizations: [acme, Other]") ", " APP(
                                    "2", ", api_url: https://ghe.example.com/api/v3/") "]"),
                                CONFIG_FOR_CHECK);
    const struct config_github *g = &c->github;
    assert_int_equal(g->app_count, 2);
    assert_string_equal(g->apps[0].id, "1");
    assert_string_equal(g->apps[0].key, "kms:alias/1");
    assert_string_equal(g->apps[0].organizations.items[1], "Other");
    assert_string_equal(g->apps[0].api_url, "");
    assert_string_equal(g->apps[1].api_url, "https://ghe.example.com/api/v3");
    assert_int_equal(g->apps[1].organizations.count, 0);
    config_free(c);
}

static void keys_of_apps_are_not_read_by_the_ingress(void **state)
{
    struct config *c =
        parse_ok(WITH_APPS("[{id: 1, private_key: env:NOT_SET_AT_ALL}]"), CONFIG_FOR_INGRESS);
    assert_string_equal(c->github.apps[0].key, "");
    config_free(c);
}

static void apps_are_checked(void **state)
{
    assert_complaints(WITH_APPS("[{id: 1}, " APP("2", ", organizations: [\"a/b\"]") "]"),
                      CONFIG_FOR_CHECK,
                      "m.yaml:3: github.apps[1].organizations[0]: \"a/b\" is refused: it must be "
                      "the name of an organization or a user: letters, digits and -\n"
                      "m.yaml:3: github.apps[0].private_key: is required: add \"private_key: "
                      "file:/etc/mayfly/app.pem\"");
    assert_complaints(
        WITH_APPS("[{id: 1, private_key: \"-----BEGIN OPENSSH PRIVATE KEY-----\"}]"),
        CONFIG_FOR_CHECK,
        "m.yaml:3: github.apps[0].private_key: is an OpenSSH key, not the App's: give the .pem "
        "file that GitHub made for the App");
    assert_complaints(WITH_APPS("[" APP("1", "") "], token: t-o-k-e-n"), CONFIG_FOR_CHECK,
                      "m.yaml:3: github.token: excludes github.apps: remove one of the two");
    assert_complaints(WITH_APPS("[" APP("1", "") "], app: " APP("2", "")), CONFIG_FOR_CHECK,
                      "m.yaml:3: github.app: excludes github.apps: move it there");
}

static void apps_of_two_servers_name_their_organizations(void **state)
{
    static const char says[] = "m.yaml:3: github.apps[1].organizations: names an organization that "
                               "github.apps[0], of another server, serves too (empty: all): let "
                               "each name its own";
#define ELSEWHERE ", api_url: https://ghe.example.com/api/v3"
    assert_complaints(WITH_APPS("[" APP("1", "") ", " APP("2", ELSEWHERE) "]"), CONFIG_FOR_CHECK,
                      says);
    assert_complaints(WITH_APPS("[" APP("1", ", organizations: [a, Acme]") ", " APP(
                          "2", ELSEWHERE ", organizations: [acme]") "]"),
                      CONFIG_FOR_CHECK, says);
    assert_complaints(
        WITH_APPS("[" APP("1", ", organizations: [a]") ", " APP("1", ", organizations: [b]") "]"),
        CONFIG_FOR_CHECK,
        "m.yaml:3: github.apps[1].id: is the id of github.apps[0] too: name all its "
        "organizations in one of the two, and remove the other");
    config_free(
        parse_ok(WITH_APPS("[" APP("1", "") ", " APP("2", ELSEWHERE ", organizations: [acme]") "]"),
                 CONFIG_FOR_CHECK));
    assert_complaints(WITH_APPS("[" APP("1", "") ", " APP("2", "") "], installation: 7"),
                      CONFIG_FOR_CHECK,
                      "m.yaml:3: github.installation: is of one App, and github.apps has several: "
                      "remove it, they are looked up");
}

/* --- an enterprise --- */

static void enterprise_needs_its_slug_and_a_token(void **state)
{
    assert_complaints(GOOD_TOP
                      "github: {scope: enterprise, webhook_secrets: [a-long-secret], apps: "
                      "[" APP("1", "") "]}\nclasses: [{name: small, labels: [x]}]\n",
                      CONFIG_FOR_CHECK,
                      "m.yaml:3: github.token: is required with the scope enterprise, which GitHub "
                      "gives no App: add a classic token with manage_runners:enterprise\n"
                      "m.yaml:3: github.enterprise: is required with the scope enterprise: add the "
                      "slug of github.com/enterprises/SLUG");
    struct config *c = parse_ok(
        GOOD_TOP
        "github: {enterprise: acme-inc, token: t-o-k-e-n, webhook_secrets: [a-long-secret], "
        "apps: [" APP(
            "1",
            "") "]}\n"
                "classes: [{name: small, labels: [x], scope: enterprise}, {name: large, labels: "
                "[y]}]\n",
        CONFIG_FOR_CHECK);
    assert_string_equal(c->github.enterprise, "acme-inc");
    assert_int_equal(config_scope_of(c, &c->classes[0]), CONFIG_ENTERPRISE);
    assert_int_equal(config_scope_of(c, &c->classes[1]), CONFIG_ORGANIZATION);
    config_free(c);
}

/* --- reload --- */

static struct config_live *live_of(const char *text)
{
    struct config *first = NULL;
    struct err e;
    setenv("MAYFLY_CONFIG", text, 1);
    assert_int_equal(config_load(NULL, CONFIG_FOR_CHECK, &first, NULL, &e), 0);
    return config_live_new(first, NULL, CONFIG_FOR_CHECK);
}

static const struct config *reloaded(struct config_live *live, const char *text,
                                     const char *expected_ignored)
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
    return config_live_get(live);
}

static void key_of_an_app_rotates(void **state)
{
    struct config_live *live = live_of(WITH_APPS("[" APP("1", "") ", " APP("2", "") "]"));
    const struct config *c = reloaded(
        live, WITH_APPS("[" APP("1", "") ", {id: 2, private_key: kms:new, organizations: [b]}]"),
        "");
    assert_string_equal(c->github.apps[0].key, "kms:alias/1");
    assert_string_equal(c->github.apps[1].key, "kms:new");
    assert_int_equal(c->github.apps[1].organizations.count, 1);
    config_live_put(live, c);
    config_live_free(live);
}

#define WITH_APP(id, key)                                                                          \
    GOOD_TOP "github: {webhook_secrets: [a-long-secret], app: {id: " id ", private_key: kms:" key  \
             "}}\nclasses: [{name: small, labels: [x]}]\n"

static void key_of_the_single_app_rotates_unless_the_app_changed(void **state)
{
    struct config_live *live = live_of(WITH_APP("1", "first"));
    const struct config *c = reloaded(live, WITH_APP("1", "second"), "");
    assert_string_equal(c->github.app_key, "kms:second");
    config_live_put(live, c);
    c = reloaded(live, WITH_APP("2", "third"),
                 "github.app.id: changed, requires a restart\n"
                 "github.app.private_key: changed, requires a restart\n");
    assert_string_equal(c->github.app_key, "kms:second");
    config_live_put(live, c);
    config_live_free(live);
}

static void app_that_became_another_stays_whole(void **state)
{
    struct config_live *live = live_of(WITH_APPS("[" APP("1", "") ", " APP("2", "") "]"));
    const struct config *c = reloaded(
        live, WITH_APPS("[{id: 3, private_key: kms:other}, {id: 2, private_key: kms:new}]"),
        "github.apps[0]: changed, requires a restart\n");
    assert_int_equal(c->github.app_count, 2);
    assert_string_equal(c->github.apps[0].id, "1");
    assert_string_equal(c->github.apps[0].key, "kms:alias/1");
    assert_string_equal(c->github.apps[1].key, "kms:new");
    config_live_put(live, c);
    c = reloaded(live, WITH_APPS("[{id: 1, private_key: kms:third}]"),
                 "github.apps: elements added or removed, requires a restart\n");
    assert_int_equal(c->github.app_count, 2);
    assert_string_equal(c->github.apps[0].key, "kms:third");
    assert_string_equal(c->github.apps[1].key, "kms:new");
    config_live_put(live, c);
    config_live_free(live);
}

static void class_is_opened_anew_if_its_list_changed(void **state)
{
    struct config_live *live = live_of(WITH_HOSTS("[{name: a}, {name: b}]"));
    const struct config *c =
        reloaded(live, WITH_HOSTS("[{name: a, tags: [t]}, {name: b, password: p}]"), "");
    assert_int_equal(c->classes[0].opening, 0);
    assert_string_equal(standin_of(c, 0)->hosts[1].password, "p");
    config_live_put(live, c);
    c = reloaded(live, WITH_HOSTS("[{name: a}, {name: c}]"), "");
    assert_int_equal(c->classes[0].opening, 1);
    assert_string_equal(standin_of(c, 0)->hosts[1].name, "c");
    config_live_put(live, c);
    c = reloaded(live, WITH_HOSTS("[{name: a}]"), "");
    assert_int_equal(c->classes[0].opening, 2);
    assert_int_equal(standin_of(c, 0)->host_count, 1);
    config_live_put(live, c);
    config_live_free(live);
}

static void retired_class_keeps_its_list(void **state)
{
    struct config_live *live = live_of(WITH_HOSTS("[{name: a, tags: [t]}]"));
    const struct config *c =
        reloaded(live, GOOD_TOP GOOD_GITHUB "classes: [{name: other, labels: [x]}]\n", "");
    assert_int_equal(c->class_count, 2);
    assert_string_equal(c->classes[1].name, "small");
    assert_string_equal(standin_of(c, 1)->hosts[0].tags.items[0], "t");
    config_live_put(live, c);
    config_live_free(live);
}

/* --- the reference --- */

static void reference_has_the_rows_of_lists(void **state)
{
    struct buf page;
    buf_init(&page, 1 << 20);
    config_reference(&page);
    assert_non_null(strstr(page.data, "| `github.apps[].private_key` | text | *required* | "));
    assert_non_null(strstr(page.data, "| `classes[].standin.hosts[].rate.burst` | whole number or "
                                      "`auto` | `3` | 1 to 100 | reload | A burst. |"));
    buf_fini(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_read_with_their_defaults),
        cmocka_unit_test(secret_of_another_program_is_not_read),
        cmocka_unit_test(automatic_limits_have_the_path_of_their_element),
        cmocka_unit_test(complaints_name_the_element),
        cmocka_unit_test(list_alone_is_the_default),
        cmocka_unit_test(apps_are_read),
        cmocka_unit_test(keys_of_apps_are_not_read_by_the_ingress),
        cmocka_unit_test(apps_are_checked),
        cmocka_unit_test(apps_of_two_servers_name_their_organizations),
        cmocka_unit_test(enterprise_needs_its_slug_and_a_token),
        cmocka_unit_test(key_of_an_app_rotates),
        cmocka_unit_test(key_of_the_single_app_rotates_unless_the_app_changed),
        cmocka_unit_test(app_that_became_another_stays_whole),
        cmocka_unit_test(class_is_opened_anew_if_its_list_changed),
        cmocka_unit_test(retired_class_keeps_its_list),
        cmocka_unit_test(reference_has_the_rows_of_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
