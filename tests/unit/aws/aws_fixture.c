#include "tests/unit/aws/aws_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/aws/internal.h"
#include "common/base/clock.h"
#include "common/base/fs.h"
#include "tests/lib/cmocka.h"

extern char **environ;

static char home[64];

static void forget_aws(void)
{
    for (char **v = environ; *v != NULL;) {
        char name[256];
        struct slice key;
        struct slice value;
        (void)slice_cut(slice_of(*v), '=', &key, &value);
        bool is_aws =
            slice_starts_with(key, SLICE("AWS_")) || slice_starts_with(key, SLICE("ECS_")) ||
            slice_eq_nocase(key, SLICE("http_proxy")) || slice_eq_nocase(key, SLICE("https_proxy"));
        if (is_aws && slice_to_cstr(key, name, sizeof name)) {
            (void)unsetenv(name);
            v = environ;
        } else {
            v++;
        }
    }
}

int aws_fixture_begin(void **state)
{
    static const struct aws_defaults none = {"", "", "", "", false, false};
    forget_aws();
    (void)snprintf(home, sizeof home, "/tmp/mayfly-aws-XXXXXX");
    ASSERT(mkdtemp(home) != NULL);
    (void)setenv("HOME", home, 1);
    (void)setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    aws_set_defaults(&none);
    aws_forget_skew();
    return 0;
}

int aws_fixture_end(void **state)
{
    struct err e;
    ASSERT(fs_remove_tree(home, &e) == 0);
    return 0;
}

const char *aws_fixture_path(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", home, name);
    return path;
}

void aws_fixture_file(const char *name, const char *text)
{
    struct err e;
    char path[256];
    (void)snprintf(path, sizeof path, "%s/.aws", home);
    ASSERT(fs_mkdirs(path, 0700, &e) == 0);
    (void)snprintf(path, sizeof path, "%s/.aws/%s", home, name);
    ASSERT(fs_write_atomic(path, slice_of(text), 0600, &e) == 0);
}

static void answer(void *arg, const struct served_request *q, struct served_answer *a)
{
    struct fixture_server *s = arg;
    char line[1100];
    (void)snprintf(line, sizeof line, "%s %s", q->method, q->target);
    a->status = 404;
    for (size_t i = 0; i < s->count; i++) {
        struct fixture_answer *f = &s->answers[i];
        if (slice_starts_with(slice_of(line), slice_of(f->to)) &&
            (f->uses == 0 || f->used < f->uses)) {
            f->used++;
            a->status = f->status;
            buf_append_cstr(&a->headers, f->headers != NULL ? f->headers : "");
            buf_append_cstr(&a->body, f->body != NULL ? f->body : "");
            return;
        }
    }
}

void fixture_serve(struct fixture_server *s, struct fixture_answer *answers, size_t count)
{
    *s = (struct fixture_server){.answers = answers, .count = count};
    s->http = http_server_start(answer, s);
}

void fixture_stop(struct fixture_server *s)
{
    http_server_stop(s->http);
}

const char *fixture_sts(const char *operation, const char *access_key, const char *expiry)
{
    static char text[2048];
    (void)snprintf(text, sizeof text,
                   "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><%sResult>"
                   "<Credentials><AccessKeyId>%s</AccessKeyId>"
                   "<SecretAccessKey>secret+of/%s</SecretAccessKey>"
                   "<SessionToken>token=of&amp;%s</SessionToken><Expiration>%s</Expiration>"
                   "</Credentials></%sResult></%sResponse>",
                   operation, operation, access_key, access_key, access_key, expiry, operation,
                   operation);
    return text;
}

const char *fixture_time(int64_t from_now_ms)
{
    static char text[32];
    clock_format_utc(clock_wall_ms() + from_now_ms, text, sizeof text);
    return text;
}
