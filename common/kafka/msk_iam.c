/*
 * The token by which Amazon MSK authenticates an IAM identity: the presigned URL of
 * kafka-cluster:Connect, as base64url, in SASL OAUTHBEARER. The form is that of AWS's own signers
 * (aws-msk-iam-sasl-signer).
 */
#include <stdio.h>
#include <string.h>

#include "common/aws/aws.h"
#include "common/aws/sigv4.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/kafka/internal.h"

#define LIFE_S 900
#define URL_LIMIT_BYTES ((size_t)64 << 10)

static void wipe_and_free(struct buf *b)
{
    if (b->data != NULL) {
        explicit_bzero(b->data, b->cap);
    }
    buf_fini(b);
}

void kafka_token_fini(struct kafka_token *t)
{
    wipe_and_free(&t->text);
}

int kafka_msk_sign(const struct aws_keys *keys, const char *region, int64_t wall_ms,
                   struct buf *out, struct err *e)
{
    char host[128];
    struct buf url;
    (void)snprintf(host, sizeof host, "Host: kafka.%s.amazonaws.com", region);
    const char *const headers[] = {host};
    const struct sigv4_signer signer = {.access_key = keys->access_key,
                                        .secret_key = keys->secret_key,
                                        .session_token = keys->session_token,
                                        .region = region,
                                        .service = "kafka-cluster"};
    const struct sigv4_request request = {.method = "GET",
                                          .query = SLICE("Action=kafka-cluster%3AConnect"),
                                          .headers = headers,
                                          .header_count = 1};
    buf_init(&url, URL_LIMIT_BYTES);
    buf_printf(&url, "https://%s/?", host + strlen("Host: "));
    int rc = sigv4_presign(&signer, &request, LIFE_S, wall_ms, &url, e);
    if (rc == 0) {
        buf_append_cstr(&url, "&User-Agent=mayfly%2F" MAYFLY_VERSION);
        codec_base64url(out, buf_slice(&url));
    }
    wipe_and_free(&url);
    return rc;
}

int kafka_msk_token(const struct kafka_cluster *c, struct kafka_token *out, struct err *e)
{
    struct aws_keys keys;
    struct kafka_token token;
    if (aws_credentials_get(c->credentials, &keys, e) != 0) {
        return -1;
    }
    int64_t now_ms = aws_wall_ms();
    int64_t life_ms = LIFE_S * 1000LL;
    if (keys.expires_ms > now_ms && keys.expires_ms - now_ms < life_ms) {
        life_ms = keys.expires_ms - now_ms;
    }
    token.expires_ms = clock_wall_ms() + life_ms;
    buf_init(&token.text, 2 * URL_LIMIT_BYTES);
    int rc = kafka_msk_sign(&keys, c->region, now_ms, &token.text, e);
    aws_keys_fini(&keys);
    if (rc != 0) {
        kafka_token_fini(&token);
        return -1;
    }
    *out = token;
    return 0;
}
