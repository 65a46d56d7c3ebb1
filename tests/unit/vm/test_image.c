/* image.json: good ones, bad ones, and what makes two images different. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/vm/qemu/image.h"
#include "tests/lib/cmocka.h"

static char dir[256];

static void put(const char *name, const char *bytes, size_t len)
{
    char path[512];
    struct err e;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(fs_write_atomic(path, (struct slice){bytes, len}, 0644, &e), 0);
}

static void put_json(const char *text)
{
    put("image.json", text, strlen(text));
}

#define GOOD                                                                                       \
    "{\"name\":\"demo\",\"version\":\"7\",\"arch\":\"amd64\",\"kernel\":\"k\",\"initrd\":\"i\","   \
    "\"disk\":\"d\",\"cmdline\":\"console=ttyS0\",\"more\":1}"

/* A qcow2 header of version 3 with a virtual size of 1 GiB. */
static const char qcow2[32] = {'Q', 'F', 'I', '\xfb', 0, 0, 0, 3, [28] = 0x40};

static int make_image(void **state)
{
    (void)snprintf(dir, sizeof dir, "/tmp/mayfly-test-image-XXXXXX");
    assert_non_null(mkdtemp(dir));
    put("k", "kernel", 6);
    put("i", "initrd", 6);
    put("d", qcow2, sizeof qcow2);
    put_json(GOOD);
    return 0;
}

static int remove_image(void **state)
{
    struct err e;
    return fs_remove_tree(dir, &e);
}

static void image_good_is_read(void **state)
{
    struct qemu_image image;
    struct err e;
    char path[512];
    assert_int_equal(qemu_image_load(dir, &image, &e), 0);
    assert_string_equal(image.name, "demo");
    assert_string_equal(image.version, "7");
    assert_string_equal(image.arch, "x86_64");
    assert_string_equal(image.cmdline, "console=ttyS0");
    (void)snprintf(path, sizeof path, "%s/k", dir);
    assert_string_equal(image.kernel, path);
    assert_true(image.disk_is_qcow2);
    assert_int_equal(image.disk_bytes, 1 << 30);
    assert_int_equal(strlen(image.identity), 64);
    assert_string_equal(image.runner_version, "");
    qemu_image_fini(&image);
    qemu_image_fini(&image);
}

static void image_that_says_its_runner_is_read(void **state)
{
    struct qemu_image image;
    struct err e;
    put_json("{\"runner_version\":\"2.337.0\",\"protocol\":1,\"name\":\"demo\",\"version\":\"7\","
             "\"arch\":\"amd64\","
             "\"kernel\":\"k\",\"initrd\":\"i\",\"disk\":\"d\",\"cmdline\":\"c\"}");
    assert_int_equal(qemu_image_load(dir, &image, &e), 0);
    assert_string_equal(image.runner_version, "2.337.0");
    qemu_image_fini(&image);
}

static void image_is_as_old_as_its_description(void **state)
{
    struct err e;
    int64_t built_ms = 0;
    int64_t now_ms = clock_wall_ms();
    assert_int_equal(qemu_image_built(dir, &built_ms, &e), 0);
    assert_in_range(built_ms, now_ms - 600000, now_ms + 1000);
    assert_int_equal(qemu_image_built("/none", &built_ms, &e), -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
}

static void image_raw_disk_has_its_own_size(void **state)
{
    struct qemu_image image;
    struct err e;
    put("d", "twelve bytes", 12);
    assert_int_equal(qemu_image_load(dir, &image, &e), 0);
    assert_false(image.disk_is_qcow2);
    assert_int_equal(image.disk_bytes, 12);
    qemu_image_fini(&image);
}

static void image_identity_follows_files_and_text(void **state)
{
    struct qemu_image image;
    char first[65];
    struct err e;
    assert_int_equal(qemu_image_load(dir, &image, &e), 0);
    memcpy(first, image.identity, sizeof first);
    qemu_image_fini(&image);
    assert_int_equal(qemu_image_load(dir, &image, &e), 0);
    assert_string_equal(image.identity, first);
    qemu_image_fini(&image);
    put("k", "kernel 2", 8);
    assert_int_equal(qemu_image_load(dir, &image, &e), 0);
    assert_string_not_equal(image.identity, first);
    memcpy(first, image.identity, sizeof first);
    qemu_image_fini(&image);
    put_json(GOOD " ");
    assert_int_equal(qemu_image_load(dir, &image, &e), 0);
    assert_string_not_equal(image.identity, first);
    qemu_image_fini(&image);
}

static void must_be_refused(const char *word)
{
    struct qemu_image image = {.disk_bytes = 77};
    struct err e;
    assert_int_equal(qemu_image_load(dir, &image, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    if (strstr(e.message, word) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", e.message, word);
    }
    assert_int_equal(image.disk_bytes, 77);
}

static void image_bad_json_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *word;
    } bad[] = {
        {"", "image.json"},
        {"[]", "object"},
        {"{", "image.json:1"},
        {"{\"name\":\"a\",\"name\":\"b\"}", "duplicate"},
        {"{\"name\":1}", "\"name\""},
        {"{\"name\":\"a\"}", "\"version\""},
        {"{\"name\":\"a\",\"version\":\"1\",\"arch\":\"amd64\",\"cmdline\":\"c\","
         "\"kernel\":\"../k\",\"initrd\":\"i\",\"disk\":\"d\"}",
         "\"kernel\""},
        {"{\"name\":\"a\",\"version\":\"1\",\"arch\":\"amd64\",\"cmdline\":\"c\",\"kernel\":\"k\","
         "\"initrd\":\"missing\",\"disk\":\"d\"}",
         "missing"},
        {"{\"name\":\"a\",\"version\":\"1\",\"arch\":\"mips\",\"cmdline\":\"c\",\"kernel\":\"k\","
         "\"initrd\":\"i\",\"disk\":\"d\"}",
         "mips"},
        {"{\"protocol\":0,\"name\":\"a\"}", "protocol 0, this program 1"},
        {"{\"protocol\":\"1\",\"name\":\"a\"}", "protocol 0"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        put_json(bad[i].text);
        must_be_refused(bad[i].word);
    }
}

static void image_bad_files_are_refused(void **state)
{
    char size_zero[sizeof qcow2];
    char size_huge[sizeof qcow2];
    char path[512];
    struct qemu_image image;
    struct err e;
    memcpy(size_zero, qcow2, sizeof qcow2);
    size_zero[28] = 0;
    put("d", size_zero, sizeof size_zero);
    must_be_refused("size");
    memcpy(size_huge, qcow2, sizeof qcow2);
    size_huge[24] = '\x7f';
    put("d", size_huge, sizeof size_huge);
    must_be_refused("size");
    put("d", "", 0);
    must_be_refused("empty");
    (void)snprintf(path, sizeof path, "%s/image.json", dir);
    assert_int_equal(unlink(path), 0);
    must_be_refused("image.json");
    assert_int_equal(qemu_image_load("/nowhere/at/all", &image, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
}

#define ON_IMAGE(test) cmocka_unit_test_setup_teardown(test, make_image, remove_image)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_IMAGE(image_good_is_read),
        ON_IMAGE(image_that_says_its_runner_is_read),
        ON_IMAGE(image_is_as_old_as_its_description),
        ON_IMAGE(image_raw_disk_has_its_own_size),
        ON_IMAGE(image_identity_follows_files_and_text),
        ON_IMAGE(image_bad_json_is_refused),
        ON_IMAGE(image_bad_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
