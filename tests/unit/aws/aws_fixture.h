/*
 * What tests of common/aws share: an environment that says nothing of AWS, a home of its own for
 * the shared files, and a scripted server that answers by path.
 *
 * aws_fixture_begin comes first in each test and aws_fixture_end last; nothing of one test is left
 * for the next. One thread but the server's.
 */
#ifndef MAYFLY_TESTS_AWS_FIXTURE_H
#define MAYFLY_TESTS_AWS_FIXTURE_H

#include "common/base/attr.h"
#include "tests/unit/http/http_server.h"

/* Unsets AWS_*, turns the instance's metadata off, sets no defaults. For cmocka's set-up. */
int aws_fixture_begin(void **state);
int aws_fixture_end(void **state);

/* Writes $HOME/.aws/<name>. */
void aws_fixture_file(const char *name, const char *text);
/* The path of a file in the home of this test; valid until the next call. */
const char *aws_fixture_path(const char *name);

/* Answers whose request's "METHOD target" begins with `to`; the first that fits and is not used up
 * (uses: 0 for ever). Others are answered 404. */
struct fixture_answer {
    const char *to;
    int status;
    const char *headers;
    const char *body;
    int uses;
    int used;
};
struct fixture_server {
    struct http_server *http;
    struct fixture_answer *answers;
    size_t count;
};
void fixture_serve(struct fixture_server *s, struct fixture_answer *answers, size_t count);
void fixture_stop(struct fixture_server *s);

/* An answer of STS; expiry like "2100-01-01T00:00:00Z". Valid until the next call. */
const char *fixture_sts(const char *operation, const char *access_key, const char *expiry);
/* A time so many milliseconds from now, as AWS writes it. Valid until the next call. */
const char *fixture_time(int64_t from_now_ms);

#endif
