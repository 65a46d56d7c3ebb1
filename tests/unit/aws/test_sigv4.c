/* The signer: AWS's published test suite, its rules one by one, the cached key. */
#include <stdlib.h>
#include <string.h>

#include "common/aws/sigv4.h"
#include "tests/lib/cmocka.h"

#define SUITE_TIME_MS 1440938160000 /* 20150830T123600Z */
#define HOST "Host:example.amazonaws.com"
#define UNRESERVED "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const struct sigv4_signer suite = {.access_key = "AKIDEXAMPLE",
                                          .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                          .region = "us-east-1",
                                          .service = "service"};

/* The suite's requests. Its lines with a body have their own headers; the session token is AWS's
 * example. */
#define TOKEN                                                                                      \
    "AQoDYXdzEPT//////////"                                                                        \
    "wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPf"                     \
    "IeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/"                                                         \
    "kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ"                                   \
    "0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+"           \
    "scqKmlzm8FDr"                                                                                 \
    "ypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="

struct vector {
    const char *name;
    const char *method;
    const char *path;
    const char *query;
    const char *headers[5];
    const char *body;
    const char *token;
    const char *signed_headers;
    const char *signature;
};

static const struct vector vectors[] = {
    {"get-vanilla",
     "GET",
     "/",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-empty-query-key",
     "GET",
     "/",
     "Param1=value1",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
    {"get-vanilla-query-order-key",
     "GET",
     "/",
     "Param1=value2&Param1=Value1",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1"},
    {"get-vanilla-query-order-key-case",
     "GET",
     "/",
     "Param2=value2&Param1=value1",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-vanilla-query-order-value",
     "GET",
     "/",
     "Param1=value2&Param1=value1",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694"},
    {"get-vanilla-query-unreserved",
     "GET",
     "/",
     UNRESERVED "=" UNRESERVED,
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
    {"get-vanilla-utf8-query",
     "GET",
     "/",
     "\xe1\x88\xb4=bar",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
    {"get-unreserved",
     "GET",
     "/" UNRESERVED,
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    {"get-utf8",
     "GET",
     "/\xe1\x88\xb4",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
    {"get-space",
     "GET",
     "/example space/",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
    {"get-slash",
     "GET",
     "//",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-slashes",
     "GET",
     "//example//",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"},
    {"get-slash-dot-slash",
     "GET",
     "/./",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-slash-pointless-dot",
     "GET",
     "/./example",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5"},
    {"get-relative-relative",
     "GET",
     "/example1/example2/../..",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-header-key-duplicate",
     "GET",
     "/",
     "",
     {HOST, "My-Header1:value2", "My-Header1:value2", "My-Header1:value1"},
     "",
     NULL,
     "host;my-header1;x-amz-date",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
    {"get-header-value-order",
     "GET",
     "/",
     "",
     {HOST, "My-Header1:value4", "My-Header1:value1", "My-Header1:value3", "My-Header1:value2"},
     "",
     NULL,
     "host;my-header1;x-amz-date",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
    {"get-header-value-trim",
     "GET",
     "/",
     "",
     {HOST, "My-Header1: value1", "My-Header2: \"a   b   c\""},
     "",
     NULL,
     "host;my-header1;my-header2;x-amz-date",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
    {"post-vanilla",
     "POST",
     "/",
     "",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
    {"post-header-key-sort",
     "POST",
     "/",
     "",
     {HOST, "My-Header1:value1"},
     "",
     NULL,
     "host;my-header1;x-amz-date",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
    {"post-header-value-case",
     "POST",
     "/",
     "",
     {HOST, "My-Header1:VALUE1"},
     "",
     NULL,
     "host;my-header1;x-amz-date",
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
    {"post-vanilla-query",
     "POST",
     "/",
     "Param1=value1",
     {HOST},
     "",
     NULL,
     "host;x-amz-date",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
    {"post-x-www-form-urlencoded",
     "POST",
     "/",
     "",
     {HOST, "Content-Type:application/x-www-form-urlencoded"},
     "Param1=value1",
     NULL,
     "content-type;host;x-amz-date",
     "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
    {"post-x-www-form-urlencoded-parameters",
     "POST",
     "/",
     "",
     {HOST, "Content-Type:application/x-www-form-urlencoded; charset=utf8"},
     "Param1=value1",
     NULL,
     "content-type;host;x-amz-date",
     "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
    {"post-sts-header-before",
     "POST",
     "/",
     "",
     {HOST},
     "",
     TOKEN,
     "host;x-amz-date;x-amz-security-token",
     "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
};

static struct sigv4_request request_of(const struct vector *v)
{
    size_t n = 0;
    while (n < COUNT_OF(v->headers) && v->headers[n] != NULL) {
        n++;
    }
    return (struct sigv4_request){.method = v->method,
                                  .path = slice_of(v->path),
                                  .query = slice_of(v->query),
                                  .headers = v->headers,
                                  .header_count = n,
                                  .body = slice_of(v->body)};
}

static void signature_of_each_published_request_is_as_published(void **state)
{
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct sigv4_signer signer = suite;
        struct sigv4_request r = request_of(&vectors[i]);
        struct sigv4_lines lines;
        struct err e;
        struct buf want;
        struct buf text;
        signer.session_token = vectors[i].token;
        buf_init(&want, 4096);
        buf_init(&text, 65536);
        assert_int_equal(sigv4_canonical(&signer, &r, SUITE_TIME_MS, &text, &e), 0);
        buf_printf(&want,
                   "Authorization: AWS4-HMAC-SHA256 "
                   "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
                   "SignedHeaders=%s, Signature=%s",
                   vectors[i].signed_headers, vectors[i].signature);
        assert_int_equal(sigv4_sign(&signer, &r, SUITE_TIME_MS, &lines, &e), 0);
        if (strcmp(lines.authorization.data, want.data) != 0) {
            print_message("%s signs\n%s\n", vectors[i].name, text.data);
        }
        assert_string_equal(lines.authorization.data, want.data);
        assert_string_equal(lines.date, "X-Amz-Date: 20150830T123600Z");
        assert_int_equal(lines.token.len > 0, vectors[i].token != NULL);
        sigv4_lines_fini(&lines);
        buf_fini(&want);
        buf_fini(&text);
    }
}

/* --- rules that the suite does not show ------------------------------------------------------- */

static void assert_canonical(const struct sigv4_request *r, const char *want)
{
    struct buf text;
    struct err e;
    buf_init(&text, 65536);
    assert_int_equal(sigv4_canonical(&suite, r, SUITE_TIME_MS, &text, &e), 0);
    assert_non_null(strstr(text.data, want));
    buf_fini(&text);
}

static const char *const only_host[] = {HOST};

static struct sigv4_request get(const char *path, const char *query)
{
    return (struct sigv4_request){.method = "GET",
                                  .path = slice_of(path),
                                  .query = slice_of(query),
                                  .headers = only_host,
                                  .header_count = 1};
}

static void path_is_encoded_once_more(void **state)
{
    static const char *const paths[][2] = {
        {"", "\n/\n"},
        {"/", "\n/\n"},
        {"/microvms/arn%3Aaws%3Alambda", "\n/microvms/arn%253Aaws%253Alambda\n"},
        {"/microvms/arn:aws:lambda", "\n/microvms/arn%3Aaws%3Alambda\n"},
        {"/a%2Fb/$LATEST/~x/", "\n/a%252Fb/%24LATEST/~x/\n"},
        {"/a//b/./c/../d", "\n/a/b/d\n"},
        {"/../..", "\n/\n"},
        {"/a/..", "\n/\n"},
        {"/a/b/../", "\n/a/\n"},
    };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct sigv4_request r = get(paths[i][0], "");
        assert_canonical(&r, paths[i][1]);
    }
}

static void query_is_sorted_by_encoded_key_and_value(void **state)
{
    static const char *const queries[][2] = {
        {"b=2&a=1&a=0", "\na=0&a=1&b=2\n"},
        {"a-=1&a=2", "\na=2&a-=1\n"},
        {"key&other=", "\nkey=&other=\n"},
        {"t=%2b%2f%3d", "\nt=%2B%2F%3D\n"},
        {"t=/=x:y", "\nt=%2F%3Dx%3Ay\n"},
        {"t=a%20b", "\nt=a%20b\n"},
        {"&&a=1&", "\na=1\n"},
        {"%61=1&B=2", "\nB=2&a=1\n"},
    };
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        struct sigv4_request r = get("/", queries[i][0]);
        assert_canonical(&r, queries[i][1]);
    }
}

static void request_that_reads_in_two_ways_is_refused(void **state)
{
    static const char *const queries[] = {"secret=a+b", "secret=%zz", "secret=%4"};
    static const char *const lines[] = {"secret", ": secret", "Na me: secret",
                                        "Name: a\r\nInjected: secret"};
    struct buf many;
    struct buf out;
    struct err e;
    buf_init(&out, 65536);
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        struct sigv4_request r = get("/", queries[i]);
        assert_int_equal(sigv4_canonical(&suite, &r, SUITE_TIME_MS, &out, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_null(strstr(e.message, "secret"));
    }
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct sigv4_request r = {.method = "GET", .headers = &lines[i], .header_count = 1};
        assert_int_equal(sigv4_canonical(&suite, &r, SUITE_TIME_MS, &out, &e), -1);
        assert_null(strstr(e.message, "secret"));
    }
    buf_init(&many, 65536);
    for (int i = 0; i <= SIGV4_PARAMETERS_MAX; i++) {
        buf_printf(&many, "a=%d&", i);
    }
    struct sigv4_request r = get("/", many.data);
    assert_int_equal(sigv4_canonical(&suite, &r, SUITE_TIME_MS, &out, &e), -1);
    buf_fini(&many);
    buf_fini(&out);
}

/* --- the cached key --------------------------------------------------------------------------- */

static void assert_same_as_without_cache(struct sigv4_signer signer, struct sigv4_cache *cache,
                                         int64_t wall_ms)
{
    struct sigv4_request r = get("/", "");
    struct sigv4_lines with;
    struct sigv4_lines without;
    struct err e;
    signer.cache = NULL;
    assert_int_equal(sigv4_sign(&signer, &r, wall_ms, &without, &e), 0);
    signer.cache = cache;
    assert_int_equal(sigv4_sign(&signer, &r, wall_ms, &with, &e), 0);
    assert_string_equal(with.authorization.data, without.authorization.data);
    sigv4_lines_fini(&with);
    sigv4_lines_fini(&without);
}

static void cached_key_is_left_when_day_region_service_or_secret_change(void **state)
{
    struct sigv4_cache cache;
    struct sigv4_signer other = suite;
    sigv4_cache_init(&cache);
    assert_same_as_without_cache(suite, &cache, SUITE_TIME_MS);
    assert_true(cache.filled);
    assert_same_as_without_cache(suite, &cache, SUITE_TIME_MS);
    assert_same_as_without_cache(suite, &cache, SUITE_TIME_MS + INT64_C(86400000));
    other.region = "eu-west-1";
    assert_same_as_without_cache(other, &cache, SUITE_TIME_MS);
    other.service = "sqs";
    assert_same_as_without_cache(other, &cache, SUITE_TIME_MS);
    other.secret_key = "another";
    assert_same_as_without_cache(other, &cache, SUITE_TIME_MS);
    sigv4_cache_fini(&cache);
}

static void cached_key_is_used(void **state)
{
    struct sigv4_cache cache;
    struct sigv4_request r = get("/", "");
    struct sigv4_lines right;
    struct sigv4_lines wrong;
    struct sigv4_signer signer = suite;
    struct err e;
    sigv4_cache_init(&cache);
    signer.cache = &cache;
    assert_int_equal(sigv4_sign(&signer, &r, SUITE_TIME_MS, &right, &e), 0);
    cache.key[0] ^= 1;
    assert_int_equal(sigv4_sign(&signer, &r, SUITE_TIME_MS, &wrong, &e), 0);
    assert_string_not_equal(right.authorization.data, wrong.authorization.data);
    sigv4_lines_fini(&right);
    sigv4_lines_fini(&wrong);
    sigv4_cache_fini(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_of_each_published_request_is_as_published),
        cmocka_unit_test(path_is_encoded_once_more),
        cmocka_unit_test(query_is_sorted_by_encoded_key_and_value),
        cmocka_unit_test(request_that_reads_in_two_ways_is_refused),
        cmocka_unit_test(cached_key_is_left_when_day_region_service_or_secret_change),
        cmocka_unit_test(cached_key_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
