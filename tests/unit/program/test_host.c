/* The id of a host: made once, by one of several programs, and never replaced. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/program/host.h"
#include "tests/lib/cmocka.h"

#define PROGRAMS 8

static char dir[64];
static char state_dir[128];
static char id_file[160];

static struct config *one_class(const char *provider, const char *settings)
{
    char text[1024];
    struct err e;
    struct config *c = NULL;
    (void)snprintf(text, sizeof text,
                   "queue: sqlite:///q\nledger: sqlite:///l\nstate_dir: %s\n"
                   "github: {token: t, webhook_secrets: [s]}\n"
                   "classes: [{name: a, labels: [x], provider: %s, "
                   "%s: {%s}}]\n",
                   state_dir, provider, provider, settings);
    assert_int_equal(config_parse(slice_of(text), "test", CONFIG_FOR_REAPER, &c, NULL, &e), 0);
    return c;
}

static int set_up(void **state)
{
    (void)state;
    memcpy(dir, "/tmp/mayfly-host-XXXXXX", 24);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(state_dir, sizeof state_dir, "%s/a/b", dir);
    (void)snprintf(id_file, sizeof id_file, "%s/host-id", state_dir);
    return 0;
}

static int tear_down(void **state)
{
    struct err e;
    (void)state;
    return fs_remove_tree(dir, &e);
}

static void *open_host(void *arg)
{
    struct err e;
    struct config *c = one_class("qemu", "image: /image");
    assert_int_equal(host_open(c, arg, &e), 0);
    config_free(c);
    return NULL;
}

static void programs_that_start_at_once_are_on_one_host(void **state)
{
    struct host hosts[PROGRAMS];
    pthread_t threads[PROGRAMS];
    struct stat st;
    (void)state;
    for (int i = 0; i < PROGRAMS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, open_host, &hosts[i]), 0);
    }
    for (int i = 0; i < PROGRAMS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (int i = 0; i < PROGRAMS; i++) {
        assert_true(hosts[i].has_id);
        assert_int_equal(strlen(hosts[i].id), HOST_ID_DIGITS);
        assert_string_equal(hosts[i].id, hosts[0].id);
    }
    assert_int_equal(stat(id_file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
}

static void host_has_a_new_id_only_after_its_file_was_removed(void **state)
{
    struct host first;
    struct host again;
    mode_t before = umask(077);
    (void)state;
    (void)open_host(&first);
    (void)open_host(&again);
    assert_string_equal(first.id, again.id);
    assert_string_not_equal(first.boot_id, "");
    assert_string_not_equal(first.pid_namespace, "");
    assert_int_equal(unlink(id_file), 0);
    (void)open_host(&again);
    assert_string_not_equal(first.id, again.id);
    struct stat st;
    assert_int_equal(stat(id_file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    (void)umask(before);
}

static void file_that_is_no_id_is_an_error_that_names_it(void **state)
{
    static const char *const texts[] = {"", "box-1\n", "0123456789abcdef0123456789abcde\n",
                                        "0123456789ABCDEF0123456789ABCDEF\n"};
    struct host h;
    struct err e;
    struct config *c = one_class("qemu", "image: /image");
    (void)state;
    assert_int_equal(fs_mkdirs(state_dir, 0755, &e), 0);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_int_equal(fs_write_atomic(id_file, slice_of(texts[i]), 0644, &e), 0);
        assert_int_equal(host_open(c, &h, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_non_null(strstr(e.message, id_file));
    }
    config_free(c);
}

static void process_without_vms_of_its_own_has_its_hosts_name_and_writes_nothing(void **state)
{
    struct host h;
    struct err e;
    struct stat st;
    struct config *c =
        one_class("lambda", "endpoint: http://h:1, image: "
                            "\"arn:aws:lambda:us-east-1:123456789012:microvm-image:one\"");
    (void)state;
    assert_int_equal(host_open(c, &h, &e), 0);
    assert_false(h.has_id);
    assert_string_equal(h.id, h.name);
    assert_int_equal(stat(state_dir, &st), -1);
    config_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(programs_that_start_at_once_are_on_one_host, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(host_has_a_new_id_only_after_its_file_was_removed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(file_that_is_no_id_is_an_error_that_names_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            process_without_vms_of_its_own_has_its_hosts_name_and_writes_nothing, set_up,
            tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
