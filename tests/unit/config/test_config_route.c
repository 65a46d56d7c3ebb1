/* Which class a job belongs to, and which repositories are ours. */
#include <stdlib.h>

#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

static struct config *config;

static int parse_classes(void **state)
{
    config = parse_ok(
        GOOD_TOP GOOD_GITHUB
        "classes:\n"
        "  - {name: small, labels: [Self-Hosted, linux, x64, microvm], required_labels: "
        "[self-hosted, MICROVM], qemu: {image: /i}}\n"
        "  - {name: gpu, labels: [self-hosted, linux, x64, gpu, microvm], required_labels: [gpu], "
        "qemu: {image: /i}}\n"
        "  - {name: any, labels: [self-hosted, linux, arm64], qemu: {image: /i}}\n"
        "  - {name: later, labels: [self-hosted, linux, riscv], qemu: {image: /i}}\n"
        "  - {name: gone, labels: [self-hosted, old], max_vms: 0, qemu: {image: /i}}\n",
        CONFIG_FOR_CHECK);
    return 0;
}

static int free_config(void **state)
{
    config_free(config);
    return 0;
}

#define LABELS_MAX 6

static void job_belongs_to_the_first_class_that_takes_it(void **state)
{
    static const struct {
        const char *labels[LABELS_MAX];
        const char *class; /* NULL: none */
    } cases[] = {
        /* All of the job's labels, and all that the class requires. */
        {{"self-hosted", "microvm"}, "small"},
        {{"microvm", "self-hosted"}, "small"},
        {{"self-hosted", "linux", "x64", "microvm"}, "small"},
        {{"self-hosted", "self-hosted", "microvm"}, "small"},
        /* Case does not count, on either side. */
        {{"SELF-HOSTED", "MicroVM", "Linux"}, "small"},
        /* A label the first class lacks sends it to the next that has it. */
        {{"self-hosted", "microvm", "gpu"}, "gpu"},
        {{"GPU"}, "gpu"},
        {{"self-hosted", "microvm", "gpu", "arm64"}, NULL},
        /* Without a required label the class is passed over. */
        {{"microvm"}, NULL},
        {{"self-hosted", "linux", "x64"}, NULL},
        {{"self-hosted"}, "any"},
        {{"linux"}, "any"},
        {{"arm64", "linux"}, "any"},
        /* A label that no class has. */
        {{"self-hosted", "microvm", "windows"}, NULL},
        {{"ubuntu-latest"}, NULL},
        {{"self-hosted "}, NULL},
        {{""}, NULL},
        /* No labels match nothing. */
        {{NULL}, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice labels[LABELS_MAX];
        size_t n = 0;
        for (; n < LABELS_MAX && cases[i].labels[n] != NULL; n++) {
            labels[n] = slice_of(cases[i].labels[n]);
        }
        const struct config_class *class = config_route(config, labels, n);
        const char *name = class != NULL ? class->name : "(none)";
        assert_string_equal(name, cases[i].class != NULL ? cases[i].class : "(none)");
    }
}

static void nearest_class_differs_least(void **state)
{
    static const struct {
        const char *labels;
        const char *mismatch;
        const char *class; /* "" none */
        const char *label;
        size_t more;
        const char *words;
    } cases[] = {
        {"self-hosted,microvm,windows", "label_unknown", "small", "windows", 0,
         "the nearest class, small, does not have the label \"windows\""},
        {"microvm", "label_not_carried", "small", "self-hosted", 0,
         "the nearest class, small, requires the label \"self-hosted\", which the job lacks"},
        {"self-hosted,microvm,gpus", "label_unknown", "small", "gpus", 0, NULL},
        /* The class with more in common, of two that differ as much. */
        {"self-hosted,linux,riscv,big", "label_unknown", "later", "big", 0, NULL},
        {"self-hosted,windows,gpus", "label_unknown", "any", "windows", 1,
         "the nearest class, any, does not have the label \"windows\" (and 1 more differ)"},
        {"self-hosted,linux,x64,theirs", "label_unknown", "small", "theirs", 1,
         "the nearest class, small, does not have the label \"theirs\" (and 1 more differ)"},
        {"Self-Hosted,OLD", "class_retired", "gone", "", 0,
         "class gone has its labels, but is retired (max_vms: 0)"},
        /* A retired class is only worth naming if it had accepted the job. */
        {"old,windows", "no_common_label", "", "", 0,
         "no class has any of its labels: it may be for GitHub's own runners"},
        {"ubuntu-latest", "no_common_label", "", "", 0, NULL},
        {"", "no_labels", "", "", 0, "the job has no labels"},
        {"gpu", "none", "gpu", "", 0, "class gpu accepts its labels"},
        /* runs-on: self-hosted, microvm */
        {"\"self-hosted, microvm\"", "labels_in_one", "", "\"self-hosted, microvm\"", 0,
         "\"self-hosted, microvm\" is one label with commas in it: write runs-on as a list, "
         "[self-hosted, microvm]"},
        {"\"ubuntu-latest,x\"", "no_common_label", "", "", 0, NULL},
        {"\"\"", "no_common_label", "", "", 0, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_nearest nearest;
        char label[64];
        struct buf words;
        buf_init(&words, 1024);
        config_nearest_class(config, cases[i].labels, &nearest);
        config_nearest_describe(&nearest, &words);
        assert_string_equal(config_mismatch_name(nearest.mismatch), cases[i].mismatch);
        assert_string_equal(nearest.class != NULL ? nearest.class->name : "", cases[i].class);
        assert_true(slice_to_cstr(nearest.label, label, sizeof label));
        assert_string_equal(label, cases[i].label);
        assert_int_equal(nearest.more, cases[i].more);
        if (cases[i].words != NULL) {
            assert_string_equal(words.data, cases[i].words);
        }
        buf_fini(&words);
    }
}

static void labels_of_every_runner_make_no_job_ours(void **state)
{
    static const struct {
        const char *labels;
        bool defaults_only;
    } cases[] = {
        {"self-hosted,linux,x64,theirs", true},
        {"Self-Hosted,Linux,X64", true},
        {"self-hosted,microvm,theirs", false},
        {"self-hosted,riscv,theirs", false},
        {"self-hosted,arm64,theirs", false}, /* "any" has no other labels */
        {"ubuntu-latest", false},
        {"\"self-hosted, microvm\"", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct config_nearest nearest;
        config_nearest_class(config, cases[i].labels, &nearest);
        assert_int_equal(nearest.shares_defaults_only, cases[i].defaults_only);
    }
}

static bool admits(const char *repositories, const char *full_name)
{
    struct buf text;
    buf_init(&text, 4096);
    buf_printf(&text,
               GOOD_TOP "github: {token: t, webhook_secrets: [a-long-secret], repositories: "
                        "%s}\n" GOOD_CLASSES,
               repositories);
    struct config *c = parse_ok(text.data, CONFIG_FOR_CHECK);
    bool admitted = config_admits_repository(c, slice_of(full_name));
    config_free(c);
    buf_fini(&text);
    return admitted;
}

static void repository_is_admitted_by_name_or_owner(void **state)
{
    assert_true(admits("[acme/web, other/*]", "acme/web"));
    assert_true(admits("[acme/web, other/*]", "ACME/Web"));
    assert_true(admits("[acme/web, other/*]", "Other/thing"));
    assert_false(admits("[acme/web, other/*]", "acme/webs"));
    assert_false(admits("[acme/web, other/*]", "acme/we"));
    assert_false(admits("[acme/web, other/*]", "acme/*"));
    assert_false(admits("[acme/web, other/*]", "others/thing"));
    assert_false(admits("[acme/web, other/*]", "x/other/thing"));
}

static void empty_list_admits_every_repository(void **state)
{
    assert_true(admits("[]", "any/thing"));
}

static void name_without_owner_is_never_admitted(void **state)
{
    assert_false(admits("[]", "thing"));
    assert_false(admits("[]", "/thing"));
    assert_false(admits("[]", "owner/"));
    assert_false(admits("[]", ""));
    assert_false(admits("[other/*]", "other/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_belongs_to_the_first_class_that_takes_it),
        cmocka_unit_test(nearest_class_differs_least),
        cmocka_unit_test(labels_of_every_runner_make_no_job_ours),
        cmocka_unit_test(repository_is_admitted_by_name_or_owner),
        cmocka_unit_test(empty_list_admits_every_repository),
        cmocka_unit_test(name_without_owner_is_never_admitted),
    };
    return cmocka_run_group_tests(tests, parse_classes, free_config);
}
