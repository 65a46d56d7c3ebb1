/* The shared config and credentials files: sections, keys, nesting, comments, what wins. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/aws/profile.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/aws/aws_fixture.h"

static struct aws_profiles parsed(const char *config, const char *credentials)
{
    struct aws_profiles p = {0};
    struct err e;
    assert_int_equal(aws_profiles_parse(&p, AWS_FILE_CONFIG, slice_of(config), &e), 0);
    assert_int_equal(aws_profiles_parse(&p, AWS_FILE_CREDENTIALS, slice_of(credentials), &e), 0);
    return p;
}

static void assert_value(const struct aws_profiles *p, const char *profile, const char *key,
                         const char *want)
{
    const char *is = aws_profile_get(p, profile, key);
    if (want == NULL) {
        assert_null(is);
    } else {
        assert_non_null(is);
        assert_string_equal(is, want);
    }
}

static void section_of_either_file_is_the_same_profile(void **state)
{
    struct aws_profiles p = parsed("[default]\nregion = eu-west-1\n"
                                   "[profile dev]\nREGION=us-east-2\n"
                                   "[profile \"two words\"]\nregion = eu-north-1\n"
                                   "[dev2]\nregion = not-a-profile\n",
                                   "[default]\naws_access_key_id = AKID1\n"
                                   "[dev]\naws_access_key_id=AKID2\n");
    assert_value(&p, "default", "region", "eu-west-1");
    assert_value(&p, "default", "aws_access_key_id", "AKID1");
    assert_value(&p, "dev", "region", "us-east-2");
    assert_value(&p, "dev", "aws_access_key_id", "AKID2");
    assert_value(&p, "two words", "region", "eu-north-1");
    assert_value(&p, "dev2", "region", NULL);
    assert_true(aws_profile_is_there(&p, "dev"));
    assert_false(aws_profile_is_there(&p, "dev2"));
    aws_profiles_fini(&p);
}

static void credentials_file_wins_over_the_config_file(void **state)
{
    struct aws_profiles p = parsed("[profile a]\naws_access_key_id = OLD\nregion = eu-west-1\n",
                                   "[a]\naws_access_key_id = NEW\n");
    assert_value(&p, "a", "aws_access_key_id", "NEW");
    assert_value(&p, "a", "region", "eu-west-1");
    aws_profiles_fini(&p);
}

static void comments_and_line_ends_are_no_part_of_a_value(void **state)
{
    struct aws_profiles p = parsed("# first\r\n; second\r\n[profile a] # third\r\n"
                                   "region = eu-west-1 # there\r\n"
                                   "aws_secret_access_key = a#b;c+/= ; end\r\n"
                                   "role_arn =\r\n"
                                   "no equals sign\r\n",
                                   "");
    assert_value(&p, "a", "region", "eu-west-1");
    assert_value(&p, "a", "aws_secret_access_key", "a#b;c+/=");
    assert_value(&p, "a", "role_arn", NULL);
    aws_profiles_fini(&p);
}

static void nested_keys_belong_to_the_key_above(void **state)
{
    struct aws_profiles p = parsed("[profile a]\nservices = mine\n"
                                   "s3 =\n  region = inner\n  endpoint_url = http://s3\n"
                                   "region = outer\n"
                                   "  stray = 1\n"
                                   "endpoint_url = http://all\n"
                                   "[services mine]\n"
                                   "sqs =\n  endpoint_url = http://sqs\n"
                                   "kms =\n\tendpoint_url = http://kms\n",
                                   "");
    assert_value(&p, "a", "region", "outer");
    assert_value(&p, "a", "s3.region", "inner");
    assert_value(&p, "a", "stray", NULL);
    assert_string_equal(aws_profile_endpoint(&p, "a", "sqs"), "http://sqs");
    assert_string_equal(aws_profile_endpoint(&p, "a", "kms"), "http://kms");
    assert_string_equal(aws_profile_endpoint(&p, "a", "ssm"), "http://all");
    assert_null(aws_profile_endpoint(&p, "b", "sqs"));
    aws_profiles_fini(&p);
}

static void file_over_its_bounds_is_refused(void **state)
{
    struct aws_profiles p = {0};
    struct err e;
    struct buf text;
    buf_init(&text, AWS_FILE_LIMIT_BYTES + 16);
    buf_append_cstr(&text, "[profile a]\n");
    for (int i = 0; i < AWS_PROFILE_ENTRIES_MAX; i++) {
        buf_append_cstr(&text, "k = v\n");
    }
    assert_int_equal(aws_profiles_parse(&p, AWS_FILE_CONFIG, buf_slice(&text), &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    aws_profiles_fini(&p);
    buf_fini(&text);
}

static void files_are_where_the_environment_says(void **state)
{
    struct aws_profiles p = {0};
    struct err e;
    aws_fixture_file("config", "[profile a]\nregion = eu-west-1\n");
    aws_fixture_file("elsewhere", "[profile a]\nregion = eu-west-2\n");
    aws_fixture_file("credentials", "[a]\naws_access_key_id = K\n");
    assert_int_equal(aws_profiles_load(&p, &e), 0);
    assert_value(&p, "a", "region", "eu-west-1");
    assert_value(&p, "a", "aws_access_key_id", "K");
    aws_profiles_fini(&p);
    (void)setenv("AWS_CONFIG_FILE", aws_fixture_path(".aws/elsewhere"), 1);
    (void)setenv("AWS_SHARED_CREDENTIALS_FILE", aws_fixture_path(".aws/missing"), 1);
    assert_int_equal(aws_profiles_load(&p, &e), 0);
    assert_value(&p, "a", "region", "eu-west-2");
    assert_value(&p, "a", "aws_access_key_id", NULL);
    aws_profiles_fini(&p);
}

static void named_file_that_cannot_be_read_is_an_error(void **state)
{
    struct aws_profiles p = {0};
    struct err e;
    aws_fixture_file("config", "");
    (void)setenv("AWS_CONFIG_FILE", aws_fixture_path(".aws"), 1); /* a directory */
    assert_int_equal(aws_profiles_load(&p, &e), -1);
    assert_non_null(strstr(e.message, ".aws"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(section_of_either_file_is_the_same_profile),
        cmocka_unit_test(credentials_file_wins_over_the_config_file),
        cmocka_unit_test(comments_and_line_ends_are_no_part_of_a_value),
        cmocka_unit_test(nested_keys_belong_to_the_key_above),
        cmocka_unit_test(file_over_its_bounds_is_refused),
        cmocka_unit_test_setup_teardown(files_are_where_the_environment_says, aws_fixture_begin,
                                        aws_fixture_end),
        cmocka_unit_test_setup_teardown(named_file_that_cannot_be_read_is_an_error,
                                        aws_fixture_begin, aws_fixture_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
