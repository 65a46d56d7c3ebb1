/* What is kept of the console of a VM that failed: cleaned, and bounded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fleet/output.h"
#include "tests/lib/cmocka.h"

static char *cleaned(const char *raw, size_t len)
{
    struct buf out;
    buf_init(&out, FLEET_OUTPUT_MAX);
    fleet_output_clean((struct slice){raw, len}, &out);
    assert_false(out.failed);
    buf_append_cstr(&out, "");
    return out.data != NULL ? buf_take(&out) : strdup("");
}

static void assert_cleaned(const char *raw, const char *expected)
{
    char *text = cleaned(raw, strlen(raw));
    assert_string_equal(text, expected);
    free(text);
}

static void clean_removes_what_acts_on_a_terminal(void **state)
{
    (void)state;
    assert_cleaned("\x1b[31;1mred\x1b[0m alert\r\n", "red alert");
    /* As a supervisor has escaped it. */
    assert_cleaned("\\u001b[2J\\u001b[?25lkernel\\u001b", "kernel");
    assert_cleaned("a\x07"
                   "b\xc2\x9b"
                   "2Jc\xe2\x80\xae",
                   "a\\u0007b\\u009b2Jc\\u202e");
    assert_cleaned("\n\n  \none\n\n\ntwo\n\n", "one\ntwo");
    char *text = cleaned("a\0b\xff", 4);
    assert_string_equal(text, "a\\u0000b\xef\xbf\xbd");
    free(text);
}

static void clean_removes_what_looks_like_a_secret_of_the_payload(void **state)
{
    (void)state;
    static const char key[] =
        "eyJkIjoiQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3";
    char raw[400];
    char expected[100];
    (void)snprintf(raw, sizeof raw, "+ run.sh --jitconfig %s", key);
    (void)snprintf(expected, sizeof expected, "+ run.sh --jitconfig [removed: %zu characters]",
                   strlen(key));
    assert_cleaned(raw, expected);
    (void)snprintf(raw, sizeof raw, "--jitconfig=%s==", key);
    (void)snprintf(expected, sizeof expected, "[removed: %zu characters]", strlen(raw));
    assert_cleaned(raw, expected);
    assert_cleaned("token ghs_16C7e42F292c6912E7710c838347Ae178B4a.",
                   "token [removed: 40 characters].");
    /* Behind its name, which belongs to the same run of characters. */
    assert_cleaned("curl /x?token=ghp_16C7e42F292c6912E7710c838347Ae178B4a",
                   "curl /x?[removed: 46 characters]");
    assert_cleaned("GH=github_pat_11ABCDEFG0aaaaaaaaaaaaaa", "[removed: 38 characters]");
    assert_cleaned("github_pat_11ABCDEFG0aaaaaaaaaaaaaa", "[removed: 35 characters]");
    assert_cleaned("proxy http://jo:s3cret@proxy:3128/ is down",
                   "proxy http://[removed]@proxy:3128/ is down");
    assert_cleaned("GET https://api.github.com/a@b", "GET https://api.github.com/a@b");
    /* Colours within it do not hide it. */
    assert_cleaned("ghs_16C7e42F292c6912\x1b[0mE7710c838347Ae178B4a", "[removed: 40 characters]");
}

static void clean_keeps_paths_digests_and_rulers(void **state)
{
    (void)state;
    static const char *const kept[] = {
        "/opt/runner/_work/_temp/Very/Long/Path/With9/Many/Parts/of/It/and/More/of/It",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/opt/gha_runner_and_its_tools/highs_and_more_words",
        "==============================================================================",
        "mf-demo-arm64-0123456789abcdef: Kernel panic - not syncing: VFS: Unable to mount root",
    };
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        assert_cleaned(kept[i], kept[i]);
    }
}

static void clean_keeps_the_end_in_whole_lines(void **state)
{
    (void)state;
    struct buf raw;
    buf_init(&raw, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        buf_printf(&raw, "line %d \xc3\xa4\xc3\xb6\n", i);
    }
    char *text = cleaned(raw.data, raw.len);
    assert_in_range(strlen(text), FLEET_OUTPUT_MAX - 20, FLEET_OUTPUT_MAX);
    assert_int_equal(strncmp(text, "line ", 5), 0);
    assert_non_null(strstr(text, "line 999 "));
    free(text);
    buf_reset(&raw);
    for (int i = 0; i < 6000; i++) {
        buf_append_cstr(&raw, "\xc3\xa4"); /* one line: what is kept begins with a character */
    }
    text = cleaned(raw.data, raw.len);
    assert_int_equal(strlen(text), FLEET_OUTPUT_MAX);
    assert_int_equal((unsigned char)text[0], 0xc3);
    free(text);
    buf_fini(&raw);
}

/* A read that was full begins anywhere, perhaps within a secret. */
static void clean_of_a_full_read_drops_its_first_line(void **state)
{
    (void)state;
    char raw[FLEET_OUTPUT_RAW_MAX];
    memset(raw, ' ', sizeof raw);
    memcpy(raw, "Ae178B4a\nnext", 13);
    char *text = cleaned(raw, sizeof raw);
    assert_string_equal(text, "next");
    free(text);
    assert_cleaned("Ae178B4a\nnext", "Ae178B4a\nnext");
}

static void ends_are_told_apart(void **state)
{
    (void)state;
    assert_true(fleet_ended_well("job-done"));
    assert_true(fleet_ended_well("idle-timeout"));
    assert_true(fleet_ended_well("terminated"));
    assert_false(fleet_ended_well("runner-failed-in-job"));
    assert_false(fleet_ended_well("died: powered off without a status of the agent"));
    assert_false(fleet_ended_well(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_removes_what_acts_on_a_terminal),
        cmocka_unit_test(clean_removes_what_looks_like_a_secret_of_the_payload),
        cmocka_unit_test(clean_keeps_paths_digests_and_rulers),
        cmocka_unit_test(clean_keeps_the_end_in_whole_lines),
        cmocka_unit_test(clean_of_a_full_read_drops_its_first_line),
        cmocka_unit_test(ends_are_told_apart),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
