#include "agent_scripts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "tests/lib/cmocka.h"

void scripts_open(struct scripts *s)
{
    snprintf(s->dir, sizeof(s->dir), "/tmp/mayfly-agent-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    s->path[0] = '\0';
}

void scripts_close(struct scripts *s)
{
    struct err e;
    assert_int_equal(fs_remove_tree(s->dir, &e), 0);
}

const char *scripts_write(struct scripts *s, const char *body)
{
    struct buf text;
    struct err e;
    buf_init(&text, 16384);
    buf_printf(&text, "#!/bin/sh\n%s\n", body);
    snprintf(s->path, sizeof(s->path), "%s/run.sh", s->dir);
    assert_int_equal(fs_write_atomic(s->path, buf_slice(&text), 0755, &e), 0);
    buf_fini(&text);
    return s->path;
}

void scripts_read(const struct scripts *s, const char *name, struct buf *out)
{
    char path[160];
    struct err e;
    buf_reset(out);
    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    assert_int_equal(fs_read(path, out, &e), 0);
}

void scripts_expect(const struct scripts *s, const char *name, const char *want)
{
    struct buf text;
    buf_init(&text, 16384);
    scripts_read(s, name, &text);
    assert_string_equal(text.data, want);
    buf_fini(&text);
}

void scripts_pack(const struct payload *p, struct buf *out)
{
    struct err e = {0};
    assert_int_equal(payload_pack(p, out, &e), 0);
}
