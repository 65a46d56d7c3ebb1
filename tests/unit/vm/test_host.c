/* This host: whether KVM may work, where programs are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/base/clock.h"
#include "common/vm/qemu/exec.h"
#include "common/vm/qemu/qemu.h"
#include "tests/lib/cmocka.h"

#define CPU_WITH "processor\t: 0\nflags\t\t: fpu vme vmx sse\n"
#define CPU_WITHOUT "processor\t: 0\nflags\t\t: fpu vme vmxx svmlock sse\n"

static void kvm_needs_its_device_its_arch_and_the_cpu(void **state)
{
    struct utsname host;
    assert_int_equal(uname(&host), 0);
    bool x86 = strcmp(host.machine, "x86_64") == 0;
    assert_true(qemu_kvm_plausible(host.machine, SLICE(CPU_WITH), "/dev/null"));
    assert_int_equal(qemu_kvm_plausible(host.machine, SLICE(CPU_WITHOUT), "/dev/null"), !x86);
    assert_int_equal(qemu_kvm_plausible(host.machine, SLICE(""), "/dev/null"), !x86);
    assert_false(qemu_kvm_plausible(host.machine, SLICE(CPU_WITH), "/dev/no-such-device"));
    assert_false(qemu_kvm_plausible(x86 ? "aarch64" : "x86_64", SLICE(CPU_WITH), "/dev/null"));
}

static void find_names_the_package_to_install(void **state)
{
    char path[PATH_MAX];
    struct err e;
    assert_int_equal(exec_find("sh", "", path, sizeof path, &e), 0);
    assert_int_equal(path[0], '/');
    assert_int_equal(exec_find("/bin/sh", "", path, sizeof path, &e), 0);
    assert_int_equal(exec_find("no-such-program", "qemu-utils", path, sizeof path, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "qemu-utils"));
    assert_int_equal(exec_find("/etc/passwd", "", path, sizeof path, &e), -1);
    assert_int_equal(exec_find("sh", "", path, 4, &e), -1);
}

static void capture_gives_output_and_failure(void **state)
{
    const char *const says[] = {"/bin/sh", "-c", "echo out; echo err >&2", NULL};
    const char *const fails[] = {"/bin/sh", "-c", "echo the reason; exit 3", NULL};
    const char *const missing[] = {"/no/such/program", NULL};
    struct buf out;
    struct err e;
    buf_init(&out, 4096);
    assert_int_equal(exec_capture(says, 30000, &out, &e), 0);
    assert_string_equal(out.data, "out\nerr\n");
    assert_int_equal(exec_capture(fails, 30000, &out, &e), -1);
    assert_int_equal(e.class, ERR_RETRY);
    assert_int_equal(e.code, 3);
    assert_non_null(strstr(e.message, "the reason"));
    assert_null(strstr(e.message, "out"));
    assert_int_equal(exec_capture(missing, 30000, &out, &e), -1);
    buf_fini(&out);
}

static void capture_of_what_does_not_end_is_killed(void **state)
{
    const char *const hangs[] = {"/bin/sh", "-c", "sleep 1000", NULL};
    struct buf out;
    struct err e;
    buf_init(&out, 4096);
    int64_t before_ms = clock_mono_ms();
    assert_int_equal(exec_capture(hangs, 100, &out, &e), -1);
    assert_true(clock_mono_ms() - before_ms >= 100);
    assert_non_null(strstr(e.message, "did not end"));
    buf_fini(&out);
}

/* A worker's environment may hold a token. */
static void capture_hands_no_environment_on(void **state)
{
    const char *const env[] = {"/usr/bin/env", NULL};
    struct buf out;
    struct slice line;
    struct err e;
    assert_int_equal(setenv("MAYFLY_TEST_TOKEN", "secret", 1), 0);
    buf_init(&out, 65536);
    assert_int_equal(exec_capture(env, 30000, &out, &e), 0);
    struct slice rest = buf_slice(&out);
    while (rest.len > 0) {
        (void)slice_cut(rest, '\n', &line, &rest);
        assert_true(slice_starts_with(line, SLICE("PATH=")));
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kvm_needs_its_device_its_arch_and_the_cpu),
        cmocka_unit_test(find_names_the_package_to_install),
        cmocka_unit_test(capture_gives_output_and_failure),
        cmocka_unit_test(capture_of_what_does_not_end_is_killed),
        cmocka_unit_test(capture_hands_no_environment_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
