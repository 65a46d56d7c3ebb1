/* QEMU's command line: what must be the same for a save and its restore, and what must never be
 * there. */
#include <string.h>

#include "common/base/attr.h"
#include "common/vm/qemu/args.h"
#include "tests/lib/cmocka.h"

static char arch_x86[] = "x86_64";
static char arch_arm[] = "aarch64";
static char kernel[] = "/img/kernel";
static char initrd[] = "/img/initrd";
static char disk[] = "/img/disk.qcow2";
static char cmdline[] = "console=ttyS0 quiet";

static struct qemu_image image_of(char *arch)
{
    return (struct qemu_image){.arch = arch,
                               .kernel = kernel,
                               .initrd = initrd,
                               .disk = disk,
                               .cmdline = cmdline,
                               .disk_is_qcow2 = true};
}

static struct qemu_args_in input(const struct qemu_image *image)
{
    return (struct qemu_args_in){.binary = "/usr/bin/qemu-system-x86_64",
                                 .image = image,
                                 .accel = "tcg",
                                 .cpus = 2,
                                 .memory_mib = 768,
                                 .sandbox = true};
}

/* The value after the n-th `option`; NULL if there is none. */
static const char *value_of(char **argv, const char *option, int n)
{
    for (size_t i = 0; argv[i] != NULL; i++) {
        if (strcmp(argv[i], option) == 0 && n-- == 0) {
            return argv[i + 1];
        }
    }
    return NULL;
}

static bool has_shell_port(bool shell)
{
    struct qemu_image image = image_of(arch_x86);
    struct qemu_args_in in = input(&image);
    bool found = false;
    in.shell = shell;
    char **argv = qemu_args_build(&in);
    for (size_t i = 0; argv[i] != NULL; i++) {
        found = found || strstr(argv[i], "org.mayfly.shell") != NULL;
    }
    qemu_args_free(argv);
    return found;
}

static void args_hold_a_port_for_shells_only_if_asked(void **state)
{
    (void)state;
    assert_false(has_shell_port(false));
    assert_true(has_shell_port(true));
}

static void args_hold_size_and_image(void **state)
{
    struct qemu_image image = image_of(arch_x86);
    struct qemu_args_in in = input(&image);
    char **argv = qemu_args_build(&in);
    assert_string_equal(argv[0], "/usr/bin/qemu-system-x86_64");
    assert_string_equal(value_of(argv, "-smp", 0), "2");
    assert_string_equal(value_of(argv, "-m", 0), "768");
    assert_string_equal(value_of(argv, "-kernel", 0), "/proc/self/fd/5");
    assert_string_equal(value_of(argv, "-initrd", 0), "/proc/self/fd/6");
    assert_string_equal(value_of(argv, "-append", 0), cmdline);
    assert_memory_equal(value_of(argv, "-machine", 0), "q35,graphics=off", 16);
    assert_string_equal(value_of(argv, "-accel", 0), "tcg,tb-size=256");
    assert_string_equal(value_of(argv, "-cpu", 0), "max");
    assert_null(value_of(argv, "-incoming", 0));
    qemu_args_free(argv);
    in.accel = "kvm";
    argv = qemu_args_build(&in);
    assert_string_equal(value_of(argv, "-cpu", 0), "host");
    qemu_args_free(argv);
    image = image_of(arch_arm);
    argv = qemu_args_build(&in);
    assert_string_equal(value_of(argv, "-machine", 0), "virt,gic-version=max");
    assert_string_equal(value_of(argv, "-accel", 0), "kvm");
    qemu_args_free(argv);
}

/* A restore is refused by QEMU when a device differs: only the far ends may. */
static void args_of_restore_have_the_same_devices(void **state)
{
    struct qemu_image image = image_of(arch_x86);
    struct qemu_args_in in = input(&image);
    char **save = qemu_args_build(&in);
    in.incoming = true;
    char **restore = qemu_args_build(&in);
    static const char *const options[] = {"-machine", "-cpu",     "-smp",    "-m",
                                          "-device",  "-chardev", "-netdev", "-object",
                                          "-kernel",  "-initrd",  "-append"};
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        int n = 0;
        for (; value_of(save, options[i], n) != NULL; n++) {
            assert_string_equal(value_of(save, options[i], n), value_of(restore, options[i], n));
        }
        assert_null(value_of(restore, options[i], n));
    }
    assert_string_equal(value_of(restore, "-incoming", 0), "fd:9");
    assert_null(value_of(save, "-incoming", 0));
    assert_non_null(strstr(value_of(save, "-blockdev", 3), "node-name=disk,"));
    assert_non_null(strstr(value_of(save, "-blockdev", 3), "backing=image"));
    assert_non_null(strstr(value_of(restore, "-blockdev", 3), "node-name=saved,"));
    assert_non_null(strstr(value_of(restore, "-blockdev", 3), "backing=image"));
    assert_non_null(strstr(value_of(restore, "-blockdev", 5), "backing=saved"));
    qemu_args_free(save);
    qemu_args_free(restore);
}

static void args_sockets_and_disk_are_relative(void **state)
{
    struct qemu_image image = image_of(arch_x86);
    struct qemu_args_in in = input(&image);
    char **argv = qemu_args_build(&in);
    for (int n = 0; value_of(argv, "-chardev", n) != NULL; n++) {
        const char *value = value_of(argv, "-chardev", n);
        assert_true(strstr(value, "path=/") == NULL || strstr(value, "path=/dev/fdset/1") != NULL);
    }
    for (int n = 0; value_of(argv, "-blockdev", n) != NULL; n++) {
        const char *value = value_of(argv, "-blockdev", n);
        assert_true(strstr(value, "filename=/") == NULL || strstr(value, "=/dev/fdset/") != NULL);
    }
    assert_non_null(strstr(value_of(argv, "-blockdev", 2), "filename=overlay.qcow2"));
    assert_string_equal(value_of(argv, "-add-fd", 0), "fd=3,set=1");
    qemu_args_free(argv);
}

static void args_network_is_a_socket_to_the_gateway(void **state)
{
    struct qemu_image image = image_of(arch_x86);
    struct qemu_args_in in = input(&image);
    char **argv = qemu_args_build(&in);
    assert_string_equal(value_of(argv, "-netdev", 0),
                        "stream,id=net,server=off,addr.type=fd,addr.str=4");
    assert_null(value_of(argv, "-netdev", 1));
    assert_non_null(strstr(value_of(argv, "-sandbox", 0), "spawn=deny"));
    assert_non_null(strstr(value_of(argv, "-sandbox", 0), "elevateprivileges=deny"));
    qemu_args_free(argv);
    in.sandbox = false;
    argv = qemu_args_build(&in);
    assert_null(value_of(argv, "-sandbox", 0));
    qemu_args_free(argv);
}

static void gateway_args_hold_rules_and_no_secret(void **state)
{
    char entry[] = "10.0.0.0/8:443";
    char *allow[] = {entry};
    struct vm_proxy proxy;
    assert_true(vm_proxy_parse("http://user:password@proxy.corp:8080", &proxy));
    const struct qemu_gateway_in in = {.binary = "/usr/libexec/mayfly/mayfly-vm-net",
                                       .mode = "proxy",
                                       .allow = allow,
                                       .allow_count = 1,
                                       .proxies = &proxy,
                                       .proxy_count = 1};
    char **argv = qemu_gateway_args_build(&in);
    assert_string_equal(argv[0], "/usr/libexec/mayfly/mayfly-vm-net");
    assert_string_equal(argv[1], "mode=proxy");
    assert_string_equal(argv[2], "allow=10.0.0.0/8:443");
    assert_string_equal(argv[3], "proxy=proxy.corp/8080");
    assert_null(argv[4]);
    qemu_args_free(argv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(args_hold_size_and_image),
        cmocka_unit_test(args_hold_a_port_for_shells_only_if_asked),
        cmocka_unit_test(args_of_restore_have_the_same_devices),
        cmocka_unit_test(args_sockets_and_disk_are_relative),
        cmocka_unit_test(args_network_is_a_socket_to_the_gateway),
        cmocka_unit_test(gateway_args_hold_rules_and_no_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
