/* Values that come from elsewhere (env:, file:), and who may look them up: least secret. */
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/vm/qemu/settings.h"
#include "tests/lib/cmocka.h"
#include "tests/unit/config/config_testing.h"

static char directory[] = "/tmp/mayfly-config-XXXXXX";

static void write_file(const char *name, const char *content)
{
    char path[256];
    struct err e;
    int n = snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_true(n > 0 && (size_t)n < sizeof path);
    assert_int_equal(fs_write_atomic(path, slice_of(content), 0600, &e), 0);
}

static struct config *parse_in_directory(const char *text, struct err *e)
{
    char origin[256];
    struct config *c = NULL;
    int n = snprintf(origin, sizeof origin, "%s/m.yaml", directory);
    assert_true(n > 0 && (size_t)n < sizeof origin);
    if (config_parse(slice_of(text), origin, CONFIG_FOR_CHECK, &c, NULL, e) != 0) {
        return NULL;
    }
    return c;
}

static void env_gives_values_of_every_type(void **state)
{
    setenv("T_TOKEN", "t-1", 1);
    setenv("T_SECRET", "a-long-secret", 1);
    setenv("T_WHOLE", "12", 1);
    setenv("T_NUMBER", "2.5", 1);
    setenv("T_BOOL", "false", 1);
    struct config *c = parse_ok(
        GOOD_TOP "github: {token: env:T_TOKEN, webhook_secrets: [env:T_SECRET, other-secret]}\n"
                 "limits: {max_vms: env:T_WHOLE, launch_rate: {per_second: 'env:T_NUMBER'}}\n"
                 "classes: [{name: a, labels: [x], qemu: {image: /i, restore: env:T_BOOL}}]\n",
        CONFIG_FOR_CHECK);
    assert_string_equal(c->github.token, "t-1");
    assert_string_equal(c->github.webhook_secrets.items[0], "a-long-secret");
    assert_int_equal(c->limits.max_vms, 12);
    assert_true(c->limits.launch_rate.per_second > 2.4 && c->limits.launch_rate.per_second < 2.6);
    assert_false(qemu_settings_of(&c->classes[0])->restore);
    config_free(c);
}

static void env_that_is_not_set_is_named(void **state)
{
    unsetenv("T_UNSET");
    assert_complaint_of_line("log_level: env:T_UNSET",
                             "m.yaml:1: log_level: the environment variable T_UNSET is not set: "
                             "set it for this program, or write the value here");
    assert_complaint_of_line("log_level: 'env:'",
                             "m.yaml:1: log_level: env: needs the name of an environment "
                             "variable, letters, digits and _: write env:NAME");
}

static void value_found_elsewhere_is_not_shown(void **state)
{
    setenv("T_WRONG", "do-not-show-me", 1);
    assert_complaint_of_line("limits: {max_vms: env:T_WRONG}",
                             "m.yaml:1: limits.max_vms: the value found there is refused: it must "
                             "be a whole number from 1 to 1000000");
    assert_complaint_of_line(
        "worker: {visibility_timeout: env:T_WRONG}",
        "m.yaml:1: worker.visibility_timeout: the value found there is "
        "refused: it does not begin with a number: write a number and "
        "its unit (ms, s, m, h or d), such as 30s, 1.5h or 1h30m, from 100ms to 1d");
    setenv("T_WRONG", "77777", 1);
    assert_complaint_of_line("worker: {visibility_timeout: env:T_WRONG}",
                             "m.yaml:1: worker.visibility_timeout: the value found there is "
                             "refused: it has no unit: write a number and its unit (ms, s, "
                             "m, h or d), such as 30s, 1.5h or 1h30m, from 100ms to 1d");
}

static void duration_and_size_may_come_from_the_environment(void **state)
{
    setenv("T_WAIT", "45s", 1);
    setenv("T_BODY", "2MiB", 1);
    struct config *c = parse_ok("worker: {visibility_timeout: env:T_WAIT}\n"
                                "ingress: {max_body_size: env:T_BODY}\n" GOOD,
                                CONFIG_FOR_CHECK);
    assert_int_equal(c->worker.visibility_timeout_ms, 45000);
    assert_int_equal(c->ingress.max_body_size_bytes, 2097152);
    config_free(c);
}

static void file_gives_its_content_less_one_line_end(void **state)
{
    struct err e;
    write_file("token", "t-2\n");
    write_file("secret", "line-one-secret\r\n");
    write_file("vms", "17");
    struct config *c = parse_in_directory(
        GOOD_TOP "github: {token: file:token, webhook_secrets: [file:./secret]}\n"
                 "limits: {max_vms: file:vms}\n" GOOD_CLASSES,
        &e);
    assert_non_null(c);
    assert_string_equal(c->github.token, "t-2");
    assert_string_equal(c->github.webhook_secrets.items[0], "line-one-secret");
    assert_int_equal(c->limits.max_vms, 17);
    config_free(c);
}

static void file_with_more_than_one_line_is_no_token(void **state)
{
    struct err e;
    write_file("lines", "t-2\n\n");
    assert_null(parse_in_directory(
        GOOD_TOP "github: {token: file:lines, webhook_secrets: [a-long-secret]}\n" GOOD_CLASSES,
        &e));
    assert_non_null(strstr(e.message, "github.token: the value found there is refused: it must "
                                      "not contain line breaks"));
}

static char *new_key(void)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    long len = BIO_get_mem_data(bio, &data);
    char *pem = slice_dup((struct slice){data, (size_t)len - 1}); /* without its last newline */
    BIO_free(bio);
    EVP_PKEY_free(key);
    return pem;
}

static void private_key_comes_from_a_file_of_lines(void **state)
{
    char *pem = new_key();
    struct err e;
    write_file("app.pem", pem);
    struct config *c =
        parse_in_directory(GOOD_TOP "github:\n"
                                    "  app: {id: 123456, private_key: file:app.pem}\n"
                                    "  webhook_secrets: [a-long-secret]\n" GOOD_CLASSES,
                           &e);
    assert_non_null(c);
    assert_string_equal(c->github.app_id, "123456");
    assert_string_equal(c->github.app_key, pem);
    free(pem);
    config_free(c);
    assert_null(parse_in_directory(GOOD_TOP "github:\n"
                                            "  app: {id: 123456, private_key: app.pem}\n"
                                            "  webhook_secrets: [a-long-secret]\n" GOOD_CLASSES,
                                   &e));
    assert_non_null(strstr(e.message, "m.yaml:4: github.app.private_key: the value is refused: it "
                                      "must be the text of a PEM private key, file:PATH"));
}

static void file_that_cannot_be_read_is_named(void **state)
{
    struct err e;
    assert_null(parse_in_directory("log_level: file:missing\n" GOOD, &e));
    assert_non_null(strstr(e.message, "m.yaml:1: log_level: file: cannot open "));
    assert_non_null(strstr(e.message, "/missing"));
    assert_null(parse_in_directory("log_level: 'file:'\n" GOOD, &e));
    assert_non_null(strstr(e.message, "log_level: file: needs a path: write file:PATH"));
}

/* A stand-in for AWS: gives what the name says, and remembers what was asked. */
static struct {
    char asked[8][128];
    size_t count;
    char region[64];
} fetched;

static int fetch(const struct config_aws *aws, struct slice written, struct buf *out, struct err *e)
{
    assert_true(fetched.count < COUNT_OF(fetched.asked));
    assert_true(slice_to_cstr(written, fetched.asked[fetched.count++], sizeof fetched.asked[0]));
    assert_true(slice_to_cstr(slice_of(aws->region), fetched.region, sizeof fetched.region));
    if (slice_eq_cstr(written, "ssm:missing")) {
        return err_set(e, ERR_NOT_FOUND, 400, "ssm:missing: there is none: make it");
    }
    buf_append_cstr(out, slice_eq_cstr(written, "ssm:vms") ? "19" : "fetched-secret");
    return 0;
}

static void credential_gives_the_content_of_its_file(void **state)
{
    struct err e;
    write_file("hook", "the-hook-secret\n");
    setenv("CREDENTIALS_DIRECTORY", directory, 1);
    struct config *c = parse_in_directory(
        GOOD_TOP "github: {token: t, webhook_secrets: [credential:hook]}\n" GOOD_CLASSES, &e);
    assert_non_null(c);
    assert_string_equal(c->github.webhook_secrets.items[0], "the-hook-secret");
    assert_true(c->has_credentials);
    assert_int_equal(c->unfetched.count, 0);
    config_free(c);
    c = parse_in_directory(GOOD, &e);
    assert_non_null(c);
    assert_false(c->has_credentials);
    config_free(c);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void credential_that_cannot_be_read_is_named(void **state)
{
    struct err e;
    setenv("CREDENTIALS_DIRECTORY", directory, 1);
    assert_null(parse_in_directory("log_level: credential:absent\n" GOOD, &e));
    assert_non_null(strstr(e.message, "m.yaml:1: log_level: credential:absent: the unit needs "
                                      "LoadCredential=absent:PATH: "));
    static const char *const paths[] = {"", "../hook", "/etc/passwd", "."};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "log_level: 'credential:%s'\n%s", paths[i], GOOD);
        assert_null(parse_in_directory(text, &e));
        assert_non_null(strstr(e.message, "log_level: credential: needs the name of a credential"));
    }
    unsetenv("CREDENTIALS_DIRECTORY");
}

/* A check by hand reports it; a program that wants to run is refused. */
static void credential_outside_of_a_unit_is_not_checked(void **state)
{
    struct err e;
    static const char text[] =
        GOOD_TOP "github: {token: t, webhook_secrets: [credential:hook]}\n" GOOD_CLASSES;
    unsetenv("CREDENTIALS_DIRECTORY");
    struct config *c = parse_in_directory(text, &e);
    assert_non_null(c);
    assert_int_equal(c->unfetched.count, 1);
    assert_string_equal(c->unfetched.items[0], "github.webhook_secrets[0] (credential:hook)");
    config_free(c);
    config_set_fetcher(fetch);
    assert_null(parse_in_directory(text, &e));
    assert_non_null(strstr(e.message, "github.webhook_secrets[0]: credential:hook: "
                                      "$CREDENTIALS_DIRECTORY is not set: start the program by a "
                                      "systemd unit with LoadCredential=hook:PATH"));
    config_set_fetcher(NULL);
}

static void relative_paths_start_at_the_configuration(void **state)
{
    struct err e;
    char expected[256];
    struct config *c = parse_in_directory(GOOD_TOP GOOD_GITHUB
                                          "classes:\n"
                                          "  - {name: a, labels: [x], qemu: {image: images/a}}\n",
                                          &e);
    assert_non_null(c);
    int n = snprintf(expected, sizeof expected, "%s/images/a", directory);
    assert_true(n > 0 && (size_t)n < sizeof expected);
    assert_string_equal(qemu_settings_of(&c->classes[0])->image, expected);
    assert_string_equal(c->classes[0].state_dir, "/var/lib/mayfly/vms");
    config_free(c);
}

/* --- values that AWS keeps --- */

static int use_fetcher(void **state)
{
    memset(&fetched, 0, sizeof fetched);
    config_set_fetcher(fetch);
    return 0;
}

static int use_no_fetcher(void **state)
{
    config_set_fetcher(NULL);
    return 0;
}

/* Whatever the order in the text: the section aws is complete when something is fetched. */
static void kept_values_are_fetched_with_the_section_aws(void **state)
{
    struct config *c = parse_ok(
        GOOD_TOP "github: {token: ssm:/mayfly/token, webhook_secrets: "
                 "['secretsmanager:arn:aws:secretsmanager:eu-west-1:1:secret:x#hook']}\n"
                 "limits: {max_vms: ssm:vms}\n" GOOD_CLASSES "aws: {region: env:T_REGION}\n",
        CONFIG_FOR_CHECK);
    assert_string_equal(c->github.token, "fetched-secret");
    assert_string_equal(c->github.webhook_secrets.items[0], "fetched-secret");
    assert_int_equal(c->limits.max_vms, 19);
    assert_int_equal(c->unfetched.count, 0);
    assert_int_equal(fetched.count, 3);
    assert_string_equal(fetched.region, "eu-central-1");
    config_free(c);
}

static void kept_value_that_is_missing_is_named_with_its_mend(void **state)
{
    assert_complaint_of_line("limits: {max_vms: ssm:missing}",
                             "m.yaml:1: limits.max_vms: ssm:missing: there is none: make it");
    assert_complaint_of_line("log_level: ssm:level",
                             "m.yaml:1: log_level: the value found there is refused: it must be "
                             "one of `debug`, `info`, `warn`, `error`");
}

static void kept_value_of_another_program_is_not_fetched(void **state)
{
    struct config *c = parse_ok("ledger: ssm:ledger\nqueue: sqlite:///q\n"
                                "limits: {max_vms: ssm:vms}\n"
                                "github: {token: ssm:token, webhook_secrets: "
                                "[ssm:hook]}\n" GOOD_CLASSES,
                                CONFIG_FOR_INGRESS);
    assert_int_equal(fetched.count, 1);
    assert_string_equal(fetched.asked[0], "ssm:hook");
    assert_int_equal(c->limits.max_vms, 100);
    config_free(c);
}

static void section_aws_cannot_be_kept_by_aws(void **state)
{
    assert_complaint_of_line("aws: {proxy: ssm:proxy}",
                             "m.yaml:1: aws.proxy: a setting of aws cannot be stored in AWS: "
                             "write the value, env:NAME or file:PATH");
    assert_int_equal(fetched.count, 0);
}

static void kept_values_without_a_fetcher_are_told_and_not_missed(void **state)
{
    struct config *c =
        parse_ok("queue: ssm:queue\nledger: sqlite:///l\nlog_level: ssm:level\n"
                 "limits: {max_vms: ssm:vms}\n"
                 "github: {app: {id: 1, private_key: ssm:key}, webhook_secrets: [ssm:a, "
                 "secretsmanager:b]}\n" GOOD_CLASSES,
                 CONFIG_FOR_CHECK);
    static const char *const told[] = {"queue (ssm:queue)",
                                       "log_level (ssm:level)",
                                       "limits.max_vms (ssm:vms)",
                                       "github.app.private_key (ssm:key)",
                                       "github.webhook_secrets[0] (ssm:a)",
                                       "github.webhook_secrets[1] (secretsmanager:b)"};
    assert_int_equal(c->unfetched.count, COUNT_OF(told));
    for (size_t i = 0; i < COUNT_OF(told); i++) {
        assert_string_equal(c->unfetched.items[i], told[i]);
    }
    assert_int_equal(c->limits.max_vms, 100);
    assert_int_equal(c->github.webhook_secrets.count, 2);
    config_free(c);
}

static void private_key_may_stay_in_kms(void **state)
{
    struct config *c =
        parse_ok(GOOD_TOP "github:\n"
                          "  app: {id: 1, private_key: 'kms:arn:aws:kms:eu-west-1:1:key/a-b'}\n"
                          "  webhook_secrets: [a-long-secret]\n" GOOD_CLASSES,
                 CONFIG_FOR_CHECK);
    assert_string_equal(c->github.app_key, "kms:arn:aws:kms:eu-west-1:1:key/a-b");
    config_free(c);
    char *all = complaints_of(GOOD_TOP "github:\n  app: {id: 1, private_key: 'kms:'}\n"
                                       "  webhook_secrets: [a-long-secret]\n" GOOD_CLASSES,
                              CONFIG_FOR_CHECK);
    assert_non_null(strstr(all, "or kms:KEY"));
    free(all);
}

/* --- least secret --- */

#define ALL_SECRETS_ELSEWHERE                                                                      \
    "queue: sqlite:///q\n"                                                                         \
    "ledger: sqlite:///l\n"                                                                        \
    "github:\n"                                                                                    \
    "  app: {id: env:T_UNSET, private_key: file:/nonexistent/app.pem}\n"                           \
    "  webhook_secrets: [a-long-secret]\n" GOOD_CLASSES

static void ingress_needs_no_credentials_of_the_app(void **state)
{
    unsetenv("T_UNSET");
    struct config *c = parse_ok(ALL_SECRETS_ELSEWHERE, CONFIG_FOR_INGRESS);
    assert_string_equal(c->github.app_key, "");
    assert_string_equal(c->ledger, "");
    assert_string_equal(c->github.webhook_secrets.items[0], "a-long-secret");
    config_free(c);
    assert_complaints(ALL_SECRETS_ELSEWHERE, CONFIG_FOR_WORKER,
                      "m.yaml:4: github.app.id: the environment variable T_UNSET is not set: set "
                      "it for this program, or write the value here\n"
                      "m.yaml:4: github.app.private_key: file: cannot open "
                      "/nonexistent/app.pem for reading: No such file or directory");
}

static void ingress_does_not_hold_a_token_that_stands_in_the_text(void **state)
{
    struct config *c = parse_ok(GOOD, CONFIG_FOR_INGRESS);
    assert_string_equal(c->github.token, "");
    config_free(c);
}

static void worker_and_reaper_hold_no_webhook_secret(void **state)
{
    static const enum config_for programs[] = {CONFIG_FOR_WORKER, CONFIG_FOR_REAPER};
    for (size_t i = 0; i < COUNT_OF(programs); i++) {
        struct config *c = parse_ok(
            GOOD_TOP
            "github: {token: t, webhook_secrets: [env:T_UNSET, in-the-text]}\n" GOOD_CLASSES,
            programs[i]);
        assert_int_equal(c->github.webhook_secrets.count, 0);
        assert_string_equal(c->github.token, "t");
        config_free(c);
        config_free(parse_ok(GOOD_TOP "github: {token: t}\n" GOOD_CLASSES, programs[i]));
    }
}

static void ctl_needs_only_the_stores(void **state)
{
    struct config *c = parse_ok(ALL_SECRETS_ELSEWHERE, CONFIG_FOR_CTL);
    assert_string_equal(c->queue, "sqlite:///q");
    assert_string_equal(c->ledger, "sqlite:///l");
    config_free(c);
    config_free(parse_ok(GOOD_TOP, CONFIG_FOR_CTL));
}

static void value_of_another_program_may_be_out_of_reach(void **state)
{
    struct config *c = parse_ok("ingress: {listen: env:T_UNSET}\n" GOOD, CONFIG_FOR_WORKER);
    assert_string_equal(c->ingress.listen, "0.0.0.0:8080");
    config_free(c);
    char *all = complaints_of("ingress: {listen: env:T_UNSET}\n" GOOD, CONFIG_FOR_INGRESS);
    free(all);
}

static void secret_never_appears_in_a_complaint(void **state)
{
    char long_secret[5000];
    struct buf text;
    memset(long_secret, 'S', sizeof long_secret - 1);
    long_secret[sizeof long_secret - 1] = '\0';
    buf_init(&text, 1 << 16);
    buf_printf(&text,
               "queue: SSSSsecret-in-url\nledger: SSSS\n"
               "github: {token: %s, app: {private_key: SSSSkey}, webhook_secrets: [SSSSSSS], "
               "proxy: SSSS}\n" GOOD_CLASSES,
               long_secret);
    char *all = complaints_of(text.data, CONFIG_FOR_CHECK);
    assert_null(strstr(all, "SSSS"));
    assert_non_null(strstr(all, "m.yaml:1: queue: the value is refused: it must be a queue's URL"));
    assert_non_null(strstr(all, "m.yaml:3: github.token: the value is refused"));
    assert_non_null(strstr(all, "m.yaml:3: github.webhook_secrets[0]: the value is refused: it "
                                "must be at least 8 bytes long"));
    assert_non_null(strstr(all, "m.yaml:3: github.proxy: the value is refused"));
    free(all);
    buf_fini(&text);
}

/* --- where the text comes from --- */

static void load_reads_a_file_or_the_environment(void **state)
{
    char path[256];
    struct config *c = NULL;
    struct buf complaints;
    struct err e;
    write_file("m.yaml", GOOD_TOP);
    int n = snprintf(path, sizeof path, "%s/m.yaml", directory);
    assert_true(n > 0 && (size_t)n < sizeof path);
    assert_int_equal(config_load(path, CONFIG_FOR_CTL, &c, NULL, &e), 0);
    config_free(c);
    setenv("MAYFLY_CONFIG", "queue: sqlite:///env\nledger: sqlite:///env\n", 1);
    assert_int_equal(config_load(NULL, CONFIG_FOR_CTL, &c, NULL, &e), 0);
    assert_string_equal(c->queue, "sqlite:///env");
    config_free(c);
    setenv("MAYFLY_CONFIG", "queue: [", 1);
    c = NULL;
    assert_int_equal(config_load(NULL, CONFIG_FOR_CTL, &c, NULL, &e), -1);
    assert_int_equal(strncmp(e.message, "MAYFLY_CONFIG:", 14), 0);
    unsetenv("MAYFLY_CONFIG");
    buf_init(&complaints, 4096);
    assert_int_equal(config_load(NULL, CONFIG_FOR_CTL, &c, &complaints, &e), -1);
    assert_non_null(strstr(complaints.data,
                           "--config is not given, MAYFLY_CONFIG is not set, and there "
                           "is no /etc/mayfly/mayfly.yaml"));
    buf_reset(&complaints);
    assert_int_equal(config_load("/nonexistent.yaml", CONFIG_FOR_CTL, &c, &complaints, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_non_null(strstr(complaints.data, "cannot open /nonexistent.yaml"));
    buf_fini(&complaints);
    assert_null(c);
}

static int make_directory(void **state)
{
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int remove_directory(void **state)
{
    struct err e;
    return fs_remove_tree(directory, &e);
}

#define KEPT(f) cmocka_unit_test_setup_teardown(f, use_fetcher, use_no_fetcher)

int main(void)
{
    (void)setenv("T_REGION", "eu-central-1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(env_gives_values_of_every_type),
        cmocka_unit_test(env_that_is_not_set_is_named),
        cmocka_unit_test(value_found_elsewhere_is_not_shown),
        cmocka_unit_test(duration_and_size_may_come_from_the_environment),
        cmocka_unit_test(file_gives_its_content_less_one_line_end),
        cmocka_unit_test(file_with_more_than_one_line_is_no_token),
        cmocka_unit_test(private_key_comes_from_a_file_of_lines),
        cmocka_unit_test(file_that_cannot_be_read_is_named),
        cmocka_unit_test(credential_gives_the_content_of_its_file),
        cmocka_unit_test(credential_that_cannot_be_read_is_named),
        cmocka_unit_test(credential_outside_of_a_unit_is_not_checked),
        cmocka_unit_test(relative_paths_start_at_the_configuration),
        KEPT(kept_values_are_fetched_with_the_section_aws),
        KEPT(kept_value_that_is_missing_is_named_with_its_mend),
        KEPT(kept_value_of_another_program_is_not_fetched),
        KEPT(section_aws_cannot_be_kept_by_aws),
        cmocka_unit_test(kept_values_without_a_fetcher_are_told_and_not_missed),
        cmocka_unit_test(private_key_may_stay_in_kms),
        cmocka_unit_test(ingress_needs_no_credentials_of_the_app),
        cmocka_unit_test(ingress_does_not_hold_a_token_that_stands_in_the_text),
        cmocka_unit_test(worker_and_reaper_hold_no_webhook_secret),
        cmocka_unit_test(ctl_needs_only_the_stores),
        cmocka_unit_test(value_of_another_program_may_be_out_of_reach),
        cmocka_unit_test(secret_never_appears_in_a_complaint),
        cmocka_unit_test(load_reads_a_file_or_the_environment),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
