/*
 * Writes a page that a table of the code generates, or checks that the committed one is current.
 *
 *   mayfly-reference-pages --write|--check PAGE FILE
 *
 * A build tool, not installed. Exit status 1 and a line on standard error when the page is stale.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/fs.h"
#include "common/base/metrics_table.h"
#include "common/config/config.h"
#include "common/program/log_events.h"
#include "deploy/ctl/cli/help.h"

#define PAGE_LIMIT_BYTES ((size_t)1 << 20)

static const struct page {
    const char *name;
    void (*append)(struct buf *out);
} pages[] = {
    {"commands", ctl_commands_reference},
    {"config-reference", config_reference},
    {"log-events", log_events_reference},
    {"metrics", metrics_reference},
};

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
        fprintf(stderr, "%s is stale: build the target reference-pages and commit it\n", path);
        rc = 1;
    }
    buf_fini(&committed);
    return rc;
}

static int write_or_check(const char *how, const struct buf *page, const char *path)
{
    if (page->failed) {
        fprintf(stderr, "%s would be larger than %zu bytes\n", path, PAGE_LIMIT_BYTES);
        return 1;
    }
    return strcmp(how, "--write") == 0 ? write_page(page, path) : check_page(page, path);
}

static const struct page *find_page(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        if (strcmp(name, pages[i].name) == 0) {
            return &pages[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct buf text;
    bool known_verb =
        argc == 4 && (strcmp(argv[1], "--write") == 0 || strcmp(argv[1], "--check") == 0);
    const struct page *page = known_verb ? find_page(argv[2]) : NULL;
    if (page == NULL) {
        fprintf(stderr, "usage: mayfly-reference-pages --write|--check PAGE FILE\npages:");
        for (size_t i = 0; i < COUNT_OF(pages); i++) {
            fprintf(stderr, " %s", pages[i].name);
        }
        fputc('\n', stderr);
        return 2;
    }
    buf_init(&text, PAGE_LIMIT_BYTES);
    page->append(&text);
    int rc = write_or_check(argv[1], &text, argv[3]);
    buf_fini(&text);
    return rc;
}
