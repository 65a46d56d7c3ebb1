/*
 * A QEMU that its guest has taken over, played by the stand-in: started as QEMU is, it tries the App
 * key, the stores, another VM's files, sockets and processes, and its own VM's records.
 */
#include "tests/conformance/vm_suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/vm/launcher.h"

static void write_secret(const struct vm_fixture *f, const char *name, struct buf *probes)
{
    char path[512];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/%s", f->store.dir, name);
    MUST(fs_write_atomic(path, SLICE("secret"), 0600, &e));
    buf_printf(probes, "open=%s write=%s ", path, path);
}

static void add_vm(const struct vm_fixture *f, const char *name, struct buf *probes)
{
    static const char *const files[] = {"vm.json", "launch.json", "process.json",
                                        "lock",    "console.log", "status"};
    static const char *const sockets[] = {"control", "run/qmp.sock", "run/payload.sock"};
    char path[2048];
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        vm_file(f, name, files[i], path);
        buf_printf(probes, "open=%s write=%s ", path, path);
    }
    for (size_t i = 0; i < COUNT_OF(sockets); i++) {
        vm_file(f, name, sockets[i], path);
        buf_printf(probes, "connect=%s ", path);
    }
    vm_file(f, name, "run/overlay.qcow2", path);
    buf_printf(probes, "open=%s ", path);
    buf_printf(probes, "kill=%d trace=%d ", (int)vm_pid(f, name, "supervisor"),
               (int)vm_pid(f, name, "qemu"));
}

static void set_cmdline(const struct vm_fixture *f, const struct buf *probes)
{
    char path[1024];
    struct buf old;
    struct buf new;
    struct err e;
    buf_init(&old, 65536);
    buf_init(&new, 65536);
    (void)snprintf(path, sizeof path, "%s/image.json", f->image);
    MUST(fs_read(path, &old, &e));
    static const char key[] = "\"cmdline\": \"";
    const char *at = strstr(old.data, key);
    assert_non_null(at);
    size_t head = (size_t)(at - old.data) + strlen(key);
    buf_append(&new, (struct slice){old.data, head});
    buf_append(&new, buf_slice(probes));
    buf_append_cstr(&new, old.data + head);
    MUST(fs_write_atomic(path, buf_slice(&new), 0644, &e));
    buf_fini(&old);
    buf_fini(&new);
}

/* How many of the probes reached something; prints them. */
static size_t count_reached(const struct vm_fixture *f, const char *name, size_t *tried)
{
    char path[2048];
    struct buf text;
    struct slice line;
    size_t reached = 0;
    buf_init(&text, 65536);
    vm_file(f, name, "console.log", path);
    read_whole(path, &text);
    struct slice rest = buf_slice(&text);
    *tried = 0;
    while (slice_cut(rest, '\n', &line, &rest)) {
        if (slice_starts_with(line, SLICE("probe "))) {
            ++*tried;
            bool hit = memmem(line.ptr, line.len, ": reached", 9) != NULL;
            reached += hit;
            if (hit) {
                (void)fprintf(stderr, "%.*s\n", SLICE_ARG(line));
            }
        }
    }
    buf_fini(&text);
    return reached;
}

/* The VM is ready when its console has been written, which its supervisor may not have read yet. */
static void wait_for_probes(const struct vm_fixture *f, const char *name, size_t count)
{
    char path[2048];
    struct buf text;
    int64_t deadline_ms = clock_mono_ms() + 60000;
    size_t found = 0;
    buf_init(&text, 65536);
    vm_file(f, name, "console.log", path);
    while (found < count) {
        struct slice line;
        assert_true(clock_mono_ms() < deadline_ms);
        clock_sleep_until(clock_mono_ms() + 5);
        read_whole(path, &text);
        struct slice rest = buf_slice(&text);
        for (found = 0; slice_cut(rest, '\n', &line, &rest);) {
            found += slice_starts_with(line, SLICE("probe ")) ? 1 : 0;
        }
    }
    buf_fini(&text);
}

static size_t count_words(const struct buf *probes)
{
    size_t count = 0;
    for (size_t i = 0; i < probes->len; i++) {
        count += probes->data[i] == '=' ? 1 : 0;
    }
    return count;
}

static void run_probes(struct vm_fixture *f, bool confine, size_t *tried, size_t *reached)
{
    struct buf probes;
    char path[2048];
    buf_init(&probes, 8192);
    f->settings.restore = false;
    f->settings.confine = false;
    vm_fixture_open(f);
    must_run(f, "vm-1");
    write_secret(f, "app.pem", &probes);
    write_secret(f, "ledger.db", &probes);
    write_secret(f, "queue.db", &probes);
    add_vm(f, "vm-1", &probes);
    vm_file(f, "vm-2", "vm.json", path);
    buf_printf(&probes, "open=%s write=../vm.json connect=../control kill=%d trace=%d ", path,
               (int)getpid(), (int)getppid());
    assert_false(probes.failed);
    set_cmdline(f, &probes);
    f->settings.confine = confine;
    vm_fixture_open(f);
    must_run(f, "vm-2");
    wait_for_probes(f, "vm-2", count_words(&probes));
    *reached = count_reached(f, "vm-2", tried);
    must_end(f, "vm-1");
    must_end(f, "vm-2");
    buf_fini(&probes);
}

static void confined_qemu_reaches_nothing_else(void **state)
{
    size_t tried;
    size_t reached;
    if (MAYFLY_SANITIZED) {
        skip(); /* it is not confined then */
    }
    run_probes(*state, true, &tried, &reached);
    assert_true(tried > 20);
    assert_int_equal(reached, 0);
}

/* With a user of its own, by that alone; else everything, which shows that the probes do reach. */
static void unconfined_qemu_reaches_what_its_user_may(void **state)
{
    size_t tried;
    size_t reached;
    run_probes(*state, false, &tried, &reached);
    assert_true(tried > 20);
    if (vm_launcher_present()) {
        assert_int_equal(reached, 0);
    } else {
        assert_true(reached > 20);
    }
}

const struct CMUnitTest vm_tests_probes[] = {
    cmocka_unit_test_setup_teardown(confined_qemu_reaches_nothing_else, vm_fixture_setup,
                                    vm_fixture_teardown),
    cmocka_unit_test_setup_teardown(unconfined_qemu_reaches_what_its_user_may, vm_fixture_setup,
                                    vm_fixture_teardown),
};
const size_t vm_tests_probes_count = COUNT_OF(vm_tests_probes);
