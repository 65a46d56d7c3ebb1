/* AWS as such: who we are there, and in which region. */
#include <string.h>

#include "common/aws/aws.h"
#include "common/aws/aws_credentials.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/check/check_lambda.h"

#define SUBJECT "aws"
#define ASKED "sts:GetCallerIdentity"
#define ARN_MAX 512
#define TIMEOUT_MS 10000

static bool begins(const char *text, const char *with)
{
    return slice_starts_with(slice_of(text), slice_of(with));
}

bool check_uses_aws(const struct config *c)
{
    for (size_t i = 0; i < c->class_count; i++) {
        if (strcmp(c->classes[i].provider, "lambda") == 0) {
            return true;
        }
    }
    return begins(c->queue, "sqs:") || begins(c->ledger, "dynamodb:");
}

/* What stands between <Arn> and </Arn>; false if there is none. */
static bool read_arn(struct slice xml, char *out, size_t size)
{
    static const char open[] = "<Arn>";
    const char *at = xml.len > 0 ? memmem(xml.ptr, xml.len, open, sizeof open - 1) : NULL;
    struct slice arn;
    struct slice rest;
    if (at == NULL) {
        return false;
    }
    at += sizeof open - 1;
    return slice_cut((struct slice){at, xml.len - (size_t)(at - xml.ptr)}, '<', &arn, &rest) &&
           slice_to_cstr(arn, out, size);
}

static void say_identity(struct check *c, const struct aws_client *sts, struct slice answer)
{
    char arn[ARN_MAX];
    struct check_finding f = {.level = CHECK_OK, .subject = SUBJECT, .asked = ASKED};
    if (read_arn(answer, arn, sizeof arn)) {
        check_say(c, &f, "calls are made as %s, in region %s", arn, aws_client_region(sts));
        return;
    }
    f.level = CHECK_WARN;
    f.mend = "check the endpoint of sts";
    check_say(c, &f, "the answer names nobody");
}

/* How long what we have is good for: a short life without a source that renews is a trap. */
static void check_keys(struct check *c)
{
    struct err e = {0};
    struct aws_keys keys;
    struct aws_credentials *all = aws_credentials_acquire();
    const struct check_finding f = {.level = CHECK_OK, .subject = SUBJECT, .asked = "credentials"};
    if (aws_credentials_get(all, &keys, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, "credentials", &e);
    } else {
        char until[40] = "without an end";
        if (keys.expires_ms > 0) {
            clock_format_utc(keys.expires_ms, until, sizeof until);
        }
        check_say(c, &f, "access key %s from the %s, good until %s", keys.access_key, keys.source,
                  until);
        aws_keys_fini(&keys);
    }
    aws_credentials_release(all);
}

void check_aws(struct check *c)
{
    struct err e = {0};
    struct aws_client *sts = NULL;
    struct http_response answer;
    struct aws_client_options options = {.service = "sts", .timeout_ms = TIMEOUT_MS};
    const struct aws_call call = {.operation = "GetCallerIdentity",
                                  .content_type =
                                      "application/x-www-form-urlencoded; charset=utf-8",
                                  .body = SLICE("Action=GetCallerIdentity&Version=2011-06-15")};
    if (!check_uses_aws(c->config)) {
        return;
    }
    check_keys(c);
    if (aws_client_open(&options, &sts, &e) != 0 || aws_send(sts, &call, &answer, NULL, &e) != 0) {
        check_say_error(c, CHECK_FAIL, SUBJECT, ASKED, &e);
    } else {
        say_identity(c, sts, buf_slice(&answer.body));
        http_response_fini(&answer);
    }
    aws_client_close(sts);
}
