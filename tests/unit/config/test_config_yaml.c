/* The text as a tree: what YAML may say here, what it may not, and on which line it was said. */
#include <stdlib.h>

#include "common/config/private.h"
#include "common/vm/qemu/settings.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

static void tree_of_yaml_keeps_values_as_texts(void **state)
{
    struct config_tree tree;
    struct complaints c = {.count = 0};
    config_yaml_read(slice_of("a: 1\nb: [x, 'null', null]\nc: {d: true}\ne:\n"), &tree, &c);
    assert_int_equal(c.count, 0);
    char *text = json_dumps(tree.root, JSON_COMPACT);
    assert_string_equal(text, "{\"a\":\"1\",\"b\":[\"x\",\"null\",null],\"c\":{\"d\":\"true\"},"
                              "\"e\":null}");
    free(text);
    config_tree_fini(&tree);
}

static void line_of_path_is_that_of_its_key_or_what_holds_it(void **state)
{
    struct config_tree tree;
    struct complaints c = {.count = 0};
    config_yaml_read(slice_of("\na: 1\nb:\n  - x\n  -\n    c: 2\n    d:\n      1\n"), &tree, &c);
    assert_int_equal(config_tree_line(&tree, "a"), 2);
    assert_int_equal(config_tree_line(&tree, "b"), 3);
    assert_int_equal(config_tree_line(&tree, "b[0]"), 4);
    assert_int_equal(config_tree_line(&tree, "b[1].c"), 6);
    assert_int_equal(config_tree_line(&tree, "b[1].d"), 7);
    assert_int_equal(config_tree_line(&tree, "b[1].missing.deeper"), 6);
    assert_int_equal(config_tree_line(&tree, "b[7]"), 3);
    assert_int_equal(config_tree_line(&tree, "nowhere"), 1);
    config_tree_fini(&tree);
}

static void json_is_read_as_yaml(void **state)
{
    struct config *c = parse_ok("{\"queue\": \"sqlite:///q\", \"ledger\": \"sqlite:///l\",\n"
                                "\t\"github\": {\"token\": \"a\\u00e4\", \"webhook_secrets\": "
                                "[\"secret \\\"12345\"]},\n"
                                "\"limits\": {\"max_vms\": 7, \"launch_rate\": {\"per_second\": "
                                "1.5e1}},\n"
                                "\"classes\": [{\"name\": \"a\", \"labels\": [\"x\"], \"qemu\": "
                                "{\"image\": \"/i\", \"restore\": false}}]}",
                                CONFIG_FOR_CHECK);
    assert_string_equal(c->github.token, "a\xc3\xa4");
    assert_string_equal(c->github.webhook_secrets.items[0], "secret \"12345");
    assert_int_equal(c->limits.max_vms, 7);
    assert_true(c->limits.launch_rate.per_second > 14.9 && c->limits.launch_rate.per_second < 15.1);
    assert_false(qemu_settings_of(&c->classes[0])->restore);
    config_free(c);
}

static void syntax_error_names_line_and_column(void **state)
{
    assert_complaints("queue: sqlite:///q\nledger: [a\ngithub: }\n", CONFIG_FOR_CTL,
                      "m.yaml:3: this is not YAML: while parsing a flow sequence, did not find "
                      "expected ',' or ']' (column 7): fix the indentation, quotes or brackets");
}

static void key_given_twice_is_refused_with_both_lines(void **state)
{
    assert_complaints(GOOD_TOP "retry:\n  max_delay: 3s\n  max_delay: 4s\nqueue: sqlite:///x\n",
                      CONFIG_FOR_CTL,
                      "m.yaml:5: retry.max_delay: is given twice, first on line 4: remove one of "
                      "them\n"
                      "m.yaml:6: queue: is given twice, first on line 1: remove one of them");
}

static void alias_anchor_and_tag_are_refused(void **state)
{
    assert_complaints(GOOD_TOP "deployment: &d x\nlog_level: *d\nretry: !!map {max_delay: 2s}\n",
                      CONFIG_FOR_CTL,
                      "m.yaml:3: deployment: anchors (&name) are not supported: remove it and "
                      "write the value where it is needed\n"
                      "m.yaml:4: log_level: aliases (*name) are not supported: write the value "
                      "out\n"
                      "m.yaml:5: retry: tags (!name) are not supported: remove it, each key knows "
                      "its type");
}

static void billion_laughs_is_refused_in_bounded_time(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 16);
    buf_append_cstr(&text, "a0: &a0 [x]\n");
    for (int i = 1; i < 30; i++) {
        buf_printf(&text, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1,
                   i - 1, i - 1, i - 1);
    }
    char *all = complaints_of(text.data, CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "aliases (*name) are not supported"));
    assert_non_null(strstr(all, "more complaints"));
    free(all);
    buf_fini(&text);
}

static void deep_nesting_is_refused(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_append_cstr(&text, "queue: ");
    for (int i = 0; i < 100000; i++) {
        buf_append_byte(&text, '[');
    }
    char *all = complaints_of(text.data, CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "is nested more than 12 deep"));
    free(all);
    buf_fini(&text);
}

static void too_many_values_are_refused(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_append_cstr(&text, "github: {repositories: [a");
    for (int i = 0; i < CONFIG_NODE_LIMIT; i++) {
        buf_append_cstr(&text, ",a");
    }
    buf_append_cstr(&text, "]}");
    char *all = complaints_of(text.data, CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "the text has more than 20000 values"));
    free(all);
    buf_fini(&text);
}

static void too_large_a_text_is_refused(void **state)
{
    char *text = malloc(CONFIG_TEXT_LIMIT_BYTES + 1);
    assert_non_null(text);
    memset(text, '#', CONFIG_TEXT_LIMIT_BYTES + 1);
    char *all =
        complaints_of_slice((struct slice){text, CONFIG_TEXT_LIMIT_BYTES + 1}, CONFIG_FOR_CTL);
    assert_string_equal(all, "m.yaml:1: the text is larger than 1048576 bytes: shorten it");
    free(all);
    free(text);
}

static void second_document_is_refused(void **state)
{
    assert_complaints(GOOD_TOP "---\n" GOOD_TOP, CONFIG_FOR_CTL,
                      "m.yaml:3: a second document begins here: one file holds one, remove the "
                      "rest");
}

static void marked_single_document_is_fine(void **state)
{
    config_free(parse_ok("%YAML 1.1\n---\n" GOOD_TOP "...\n", CONFIG_FOR_CTL));
}

static void strange_keys_are_refused(void **state)
{
    static const char long_key[] = "0123456789012345678901234567890123456789"
                                   "0123456789012345678901234: long";
    static const char *const texts[] = {"[a]: b", "{a: b}: c", "\"\": b", "? |\n  a\n  b\n: c",
                                        long_key};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char *all = complaints_of(texts[i], CONFIG_FOR_CTL);
        assert_non_null(strstr(all, "m.yaml:1: a key must be a text of at most 64 bytes"));
        free(all);
    }
}

static void bytes_that_are_no_text_are_refused(void **state)
{
    char *all = complaints_of("queue: \xff\xfe", CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "this is not YAML"));
    free(all);
    all = complaints_of("queue: \"a\\0b\"", CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "m.yaml:1: queue: contains a NUL byte: remove it"));
    free(all);
}

static void empty_text_lacks_what_is_required(void **state)
{
    static const char *const texts[] = {"", "# nothing\n", "---\n", "{}", "null"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_complaints(texts[i], CONFIG_FOR_CTL,
                          "m.yaml:1: queue: is required: add \"queue: "
                          "sqlite:///var/lib/mayfly/queue.db\"\n"
                          "m.yaml:1: ledger: is required: add \"ledger: "
                          "sqlite:///var/lib/mayfly/ledger.db\"");
    }
}

static void text_that_is_no_map_is_refused(void **state)
{
    char *all = complaints_of("[a, b]", CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "m.yaml:1: must be a map of settings, not a list"));
    free(all);
    all = complaints_of("hello", CONFIG_FOR_CTL);
    assert_non_null(strstr(all, "must be a map of settings, not a single value"));
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_of_yaml_keeps_values_as_texts),
        cmocka_unit_test(line_of_path_is_that_of_its_key_or_what_holds_it),
        cmocka_unit_test(json_is_read_as_yaml),
        cmocka_unit_test(syntax_error_names_line_and_column),
        cmocka_unit_test(key_given_twice_is_refused_with_both_lines),
        cmocka_unit_test(alias_anchor_and_tag_are_refused),
        cmocka_unit_test(billion_laughs_is_refused_in_bounded_time),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(too_large_a_text_is_refused),
        cmocka_unit_test(second_document_is_refused),
        cmocka_unit_test(marked_single_document_is_fine),
        cmocka_unit_test(strange_keys_are_refused),
        cmocka_unit_test(bytes_that_are_no_text_are_refused),
        cmocka_unit_test(empty_text_lacks_what_is_required),
        cmocka_unit_test(text_that_is_no_map_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
