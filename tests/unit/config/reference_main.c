/*
 * Writes the reference page of the configuration, or checks that the committed one is current.
 *
 *   mayfly-config-reference --write FILE | --check FILE
 *
 * A build tool, not installed. Exit status 1 and a line on standard error when the page is stale.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/fs.h"
#include "common/config/config.h"

#define PAGE_LIMIT_BYTES ((size_t)1 << 20)

static int fail(const struct err *e)
{
    fprintf(stderr, "%s\n", e->message);
    return 1;
}

static int write_page(const struct buf *page, const char *path)
{
    struct err e;
    return fs_write_atomic(path, buf_slice(page), 0644, &e) == 0 ? 0 : fail(&e);
}

static int check_page(const struct buf *page, const char *path)
{
    struct buf committed;
    struct err e;
    buf_init(&committed, PAGE_LIMIT_BYTES);
    int rc = fs_read(path, &committed, &e) == 0 ? 0 : fail(&e);
    if (rc == 0 && !slice_eq(buf_slice(page), buf_slice(&committed))) {
        fprintf(stderr, "%s is stale: build the target config-reference and commit it\n", path);
        rc = 1;
    }
    buf_fini(&committed);
    return rc;
}

int main(int argc, char **argv)
{
    struct buf page;
    int rc = 2;
    if (argc != 3) {
        fprintf(stderr, "usage: mayfly-config-reference --write FILE | --check FILE\n");
        return 2;
    }
    buf_init(&page, PAGE_LIMIT_BYTES);
    config_reference(&page);
    if (page.failed) {
        fprintf(stderr, "the page is larger than %zu bytes\n", PAGE_LIMIT_BYTES);
    } else if (strcmp(argv[1], "--write") == 0) {
        rc = write_page(&page, argv[2]);
    } else if (strcmp(argv[1], "--check") == 0) {
        rc = check_page(&page, argv[2]);
    }
    buf_fini(&page);
    return rc;
}
