/* The packed payload: size of real-shaped configs, exactness of any, and hostile texts. */
#include "common/payload/payload.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "common/base/codec.h"
#include "common/base/random.h"
#include "tests/lib/cmocka.h"

/* --- JIT configs of GitHub's shape ---------------------------------------------------------- */

static void append_number(struct buf *out, EVP_PKEY *key, const char *name, const char *param)
{
    BIGNUM *bn = NULL;
    char bytes[256];
    assert_true(EVP_PKEY_get_bn_param(key, param, &bn));
    int n = BN_bn2bin(bn, (unsigned char *)bytes);
    buf_printf(out, "%s\"%s\":\"", out->len > 1 ? "," : "", name);
    codec_base64(out, (struct slice){bytes, (size_t)n});
    buf_append_byte(out, '"');
    BN_free(bn);
}

static void append_rsa(struct buf *out)
{
    static const struct {
        const char *name, *param;
    } numbers[] = {
        {"d", OSSL_PKEY_PARAM_RSA_D},
        {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
        {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2},
        {"exponent", OSSL_PKEY_PARAM_RSA_E},
        {"inverseQ", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
        {"modulus", OSSL_PKEY_PARAM_RSA_N},
        {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
        {"q", OSSL_PKEY_PARAM_RSA_FACTOR2},
    };
    EVP_PKEY *key = EVP_RSA_gen(2048);
    assert_non_null(key);
    buf_append_byte(out, '{');
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        append_number(out, key, numbers[i].name, numbers[i].param);
    }
    buf_append_byte(out, '}');
    EVP_PKEY_free(key);
}

static void append_member(struct buf *out, const char *name, const struct buf *value)
{
    buf_printf(out, "%s\"%s\":\"", out->len > 1 ? "," : "", name);
    codec_base64(out, buf_slice(value));
    buf_append_byte(out, '"');
}

static void make_config(struct buf *out)
{
    struct buf runner, credentials, rsa, outer;
    char id[65];
    buf_init(&runner, 8192);
    buf_init(&credentials, 8192);
    buf_init(&rsa, 8192);
    buf_init(&outer, 16384);
    random_hex(id, 16);
    buf_printf(&runner,
               "{\"AgentId\":\"48213\",\"AgentName\":\"mayfly-%s\",\"DisableUpdate\":\"false\","
               "\"Ephemeral\":\"True\",\"GitHubUrl\":\"https://github.com/an-organisation\","
               "\"PoolId\":\"1\",\"PoolName\":\"Default\",\"ServerUrl\":"
               "\"https://pipelinesghubeus23.actions.githubusercontent.com/%s/\","
               "\"ServerUrlV2\":\"https://broker.actions.githubusercontent.com/\","
               "\"UseV2Flow\":\"true\",\"WorkFolder\":\"_work\"}",
               id, id);
    buf_printf(
        &credentials,
        "{\"data\":{\"authorizationUrl\":"
        "\"https://tokenghub.actions.githubusercontent.com/_apis/oauth2/token/%.8s-1111-2222-"
        "3333-%.12s\",\"clientId\":\"%.8s-4444-5555-6666-%.12s\","
        "\"requireFipsCryptography\":\"True\"},\"scheme\":\"OAuth\"}",
        id, id + 8, id + 16, id + 20);
    append_rsa(&rsa);
    buf_append_byte(&outer, '{');
    append_member(&outer, ".runner", &runner);
    append_member(&outer, ".credentials", &credentials);
    append_member(&outer, ".credentials_rsaparams", &rsa);
    buf_append_byte(&outer, '}');
    codec_base64(out, buf_slice(&outer));
    assert_false(out->failed);
    buf_fini(&runner);
    buf_fini(&credentials);
    buf_fini(&rsa);
    buf_fini(&outer);
}

/* --- round trips ------------------------------------------------------------------------------ */

static void assert_slice_equal(struct slice got, struct slice want)
{
    assert_int_equal(got.len, want.len);
    if (want.len > 0) {
        assert_memory_equal(got.ptr, want.ptr, want.len);
    }
}

/* Packs, checks the way back, and returns the packed length; 0 when it was too large. */
static size_t round_trip(struct slice config)
{
    struct payload in = {.jit_config = config,
                         .idle_seconds = 120,
                         .max_duration_seconds = 1200,
                         .runner_name = SLICE("mayfly-small-1")};
    struct payload back;
    struct buf packed;
    struct err e = {0};
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    if (payload_pack(&in, &packed, &e) != 0) {
        assert_int_equal(e.class, ERR_PERMANENT);
        assert_int_equal(packed.len, 0);
        return 0;
    }
    assert_int_equal(payload_unpack(buf_slice(&packed), &back, &e), 0);
    assert_slice_equal(back.jit_config, config);
    assert_slice_equal(back.runner_name, in.runner_name);
    assert_int_equal(back.idle_seconds, 120);
    assert_int_equal(back.max_duration_seconds, 1200);
    payload_fini(&back);
    payload_fini(&back);
    size_t len = packed.len;
    buf_fini(&packed);
    return len;
}

static size_t round_trip_cstr(const char *config)
{
    return round_trip(slice_of(config));
}

/* --- cases ------------------------------------------------------------------------------------ */

static void pack_real_config_is_small_and_exact(void **state)
{
    for (int i = 0; i < 4; i++) {
        struct buf config;
        buf_init(&config, 16384);
        make_config(&config);
        assert_in_range(config.len, 3600, 5000);
        assert_in_range(round_trip(buf_slice(&config)), 1, 2600);
        buf_fini(&config);
    }
}

static void pack_all_options_come_back(void **state)
{
    struct payload in = {.jit_config = SLICE("e30="),
                         .idle_seconds = 0,
                         .max_duration_seconds = PAYLOAD_SECONDS_MAX,
                         .hold_seconds = 900,
                         .http_proxy = SLICE("http://user:secret@proxy.example:3128"),
                         .https_proxy = SLICE("http://proxy.example:3129/"),
                         .no_proxy = SLICE("localhost,.internal"),
                         .runner_name = SLICE("name")};
    struct payload back;
    struct buf packed;
    struct err e;
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    assert_int_equal(payload_pack(&in, &packed, &e), 0);
    assert_int_equal(payload_unpack(buf_slice(&packed), &back, &e), 0);
    assert_slice_equal(back.jit_config, in.jit_config);
    assert_slice_equal(back.http_proxy, in.http_proxy);
    assert_slice_equal(back.https_proxy, in.https_proxy);
    assert_slice_equal(back.no_proxy, in.no_proxy);
    assert_slice_equal(back.runner_name, in.runner_name);
    assert_int_equal(back.idle_seconds, 0);
    assert_int_equal(back.max_duration_seconds, PAYLOAD_SECONDS_MAX);
    assert_int_equal(back.hold_seconds, 900);
    payload_fini(&back);
    buf_fini(&packed);
}

static void pack_other_shapes_are_exact(void **state)
{
    static const char forty[] = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU2Nzg5QUJDREVGR0hJSktM";
    struct buf text;
    buf_init(&text, 16384);
    assert_true(round_trip_cstr("") > 0);
    assert_true(round_trip_cstr("=") > 0);
    assert_true(round_trip_cstr("not base64 at all, {\"json\": \"maybe\"}") > 0);
    assert_true(round_trip_cstr(forty) > 0);
    for (int pad = 1; pad <= 3; pad++) { /* padding where none belongs */
        buf_reset(&text);
        buf_printf(&text, "{\"a\":\"%s%.*s\"}", forty, pad, "===");
        assert_true(round_trip(buf_slice(&text)) > 0);
    }
    /* "QQ==" and "QR==" both decode to "A": the stray bits must survive. */
    buf_reset(&text);
    buf_printf(&text, "%sQQ==", forty);
    assert_true(round_trip(buf_slice(&text)) > 0);
    text.data[text.len - 3] = 'R';
    assert_true(round_trip(buf_slice(&text)) > 0);
    /* Without padding, in the URL alphabet, with a line break inside, with escapes. */
    buf_reset(&text);
    buf_printf(&text, "{\"x\":\"%sQQ\",\"y\":\"%s-_-_\",\"z\":\"%s\n%s\",\"w\":\"%s\\/\\u002B%s\"}",
               forty, forty, forty, forty, forty, forty);
    assert_true(round_trip(buf_slice(&text)) > 0);
    buf_fini(&text);
}

static void pack_deeply_nested_base64_is_exact(void **state)
{
    struct buf text, next;
    buf_init(&text, 65536);
    buf_init(&next, 65536);
    buf_append_cstr(&text, "the innermost text, long enough to be seen as a layer of its own");
    for (int depth = 0; depth < 9; depth++) {
        buf_reset(&next);
        codec_base64(&next, buf_slice(&text));
        buf_reset(&text);
        buf_append(&text, buf_slice(&next));
        assert_true(round_trip(buf_slice(&text)) > 0);
    }
    buf_fini(&text);
    buf_fini(&next);
}

static void pack_random_bytes_are_exact(void **state)
{
    char bytes[3000];
    for (int i = 0; i < 300; i++) {
        size_t len = (size_t)random_below(sizeof(bytes));
        random_bytes(bytes, len);
        if (i % 2 == 1) { /* base64 letters, quotes and padding in any order */
            static const char letters[] = "ABab01+/==\"\\{}:,";
            for (size_t k = 0; k < len; k++) {
                bytes[k] = letters[(unsigned char)bytes[k] % (sizeof(letters) - 1)];
            }
        }
        assert_true(round_trip((struct slice){bytes, len}) > 0);
    }
}

static void pack_base64_of_zeros_is_deflated(void **state)
{
    static const char zeros[30000];
    struct buf text;
    buf_init(&text, PAYLOAD_CONFIG_MAX);
    codec_base64(&text, (struct slice){zeros, sizeof(zeros)});
    assert_in_range(round_trip(buf_slice(&text)), 1, 400);
    buf_fini(&text);
}

static void pack_too_large_is_permanent_with_sizes(void **state)
{
    char bytes[8000];
    random_bytes(bytes, sizeof(bytes));
    struct payload in = {.jit_config = {bytes, sizeof(bytes)}};
    struct buf packed;
    struct err e = {0};
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    assert_int_equal(payload_pack(&in, &packed, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_non_null(strstr(e.message, "8000 bytes"));
    assert_non_null(strstr(e.message, "4096"));
    assert_int_equal(packed.len, 0);
    buf_fini(&packed);
}

static void pack_out_of_range_is_permanent(void **state)
{
    static char huge[PAYLOAD_CONFIG_MAX + 1];
    const struct payload bad[] = {
        {.jit_config = {huge, sizeof(huge)}},
        {.idle_seconds = -1},
        {.max_duration_seconds = PAYLOAD_SECONDS_MAX + 1},
        {.no_proxy = {huge, PAYLOAD_OPTION_MAX + 1}},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct buf packed;
        struct err e = {0};
        buf_init(&packed, PAYLOAD_PACKED_MAX);
        assert_int_equal(payload_pack(&bad[i], &packed, &e), -1);
        assert_int_equal(e.class, ERR_PERMANENT);
        buf_fini(&packed);
    }
}

static void pack_into_small_buffer_fails_and_leaves_it(void **state)
{
    struct payload in = {.jit_config = SLICE("some config that takes more room than there is")};
    struct buf packed;
    struct err e = {0};
    buf_init(&packed, 24);
    buf_append_cstr(&packed, "before");
    assert_int_equal(payload_pack(&in, &packed, &e), -1);
    assert_int_equal(packed.len, 6);
    buf_fini(&packed);
}

/* --- hostile texts ------------------------------------------------------------------------------
 */

static void make_packed(struct buf *packed)
{
    struct buf config;
    struct err e;
    buf_init(&config, 16384);
    make_config(&config);
    struct payload in = {.jit_config = buf_slice(&config), .idle_seconds = 60};
    assert_int_equal(payload_pack(&in, packed, &e), 0);
    buf_fini(&config);
}

static void assert_refused(struct slice packed)
{
    struct payload back = {.idle_seconds = 77};
    struct err e = {0};
    assert_int_equal(payload_unpack(packed, &back, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_true(e.message[0] != '\0');
    assert_int_equal(back.idle_seconds, 77); /* outputs are untouched on failure */
}

static void unpack_truncated_is_refused(void **state)
{
    struct buf packed;
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    make_packed(&packed);
    for (size_t n = 0; n < packed.len; n += n < 64 ? 1 : 4) {
        assert_refused((struct slice){packed.data, n});
    }
    buf_fini(&packed);
}

/* The last byte of a deflated stream may end in bits that mean nothing: with one of those flipped
 * it is the same payload still, and nothing else may come out. */
static void assert_refused_or_same(struct slice packed, const struct payload *original)
{
    struct payload back = {0};
    struct err e = {0};
    if (payload_unpack(packed, &back, &e) != 0) {
        assert_int_equal(e.class, ERR_PERMANENT);
        return;
    }
    assert_slice_equal(back.jit_config, original->jit_config);
    assert_slice_equal(back.runner_name, original->runner_name);
    assert_int_equal(back.idle_seconds, original->idle_seconds);
    payload_fini(&back);
}

static void unpack_corrupted_is_refused(void **state)
{
    struct buf packed, bytes, text;
    struct payload original = {0};
    struct err e = {0};
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    buf_init(&bytes, PAYLOAD_PACKED_MAX);
    buf_init(&text, PAYLOAD_PACKED_MAX);
    make_packed(&packed);
    assert_int_equal(payload_unpack(buf_slice(&packed), &original, &e), 0);
    assert_true(codec_unbase64(&bytes, buf_slice(&packed)));
    for (size_t i = 0; i < bytes.len; i++) {
        char was = bytes.data[i];
        bytes.data[i] = (char)(was ^ (1 << (i % 8)));
        buf_reset(&text);
        codec_base64(&text, buf_slice(&bytes));
        assert_refused_or_same(buf_slice(&text), &original);
        bytes.data[i] = was;
    }
    buf_reset(&text);
    codec_base64(&text, buf_slice(&bytes));
    assert_slice_equal(buf_slice(&text), buf_slice(&packed));
    payload_fini(&original);
    buf_fini(&packed);
    buf_fini(&bytes);
    buf_fini(&text);
}

static void unpack_with_bytes_appended_is_refused(void **state)
{
    struct buf packed, bytes;
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    buf_init(&bytes, PAYLOAD_PACKED_MAX);
    make_packed(&packed);
    assert_true(codec_unbase64(&bytes, buf_slice(&packed)));
    buf_append_cstr(&bytes, "more");
    buf_reset(&packed);
    codec_base64(&packed, buf_slice(&bytes));
    assert_refused(buf_slice(&packed));
    buf_fini(&packed);
    buf_fini(&bytes);
}

static void unpack_other_version_says_so(void **state)
{
    struct payload back;
    struct err e = {0};
    assert_int_equal(payload_unpack(SLICE("AgAAAAAA"), &back, &e), -1);
    assert_non_null(strstr(e.message, "version 2"));
}

static void unpack_noise_is_refused(void **state)
{
    char bytes[600];
    struct buf text;
    buf_init(&text, PAYLOAD_PACKED_MAX);
    for (int i = 0; i < 2000; i++) {
        size_t len = (size_t)random_below(sizeof(bytes));
        random_bytes(bytes, sizeof(bytes));
        bytes[0] = 1;
        buf_reset(&text);
        codec_base64(&text, (struct slice){bytes, len});
        assert_refused(buf_slice(&text));
    }
    assert_refused(SLICE(""));
    assert_refused(SLICE("AQAAAAAA\n"));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_real_config_is_small_and_exact),
        cmocka_unit_test(pack_all_options_come_back),
        cmocka_unit_test(pack_other_shapes_are_exact),
        cmocka_unit_test(pack_deeply_nested_base64_is_exact),
        cmocka_unit_test(pack_random_bytes_are_exact),
        cmocka_unit_test(pack_base64_of_zeros_is_deflated),
        cmocka_unit_test(pack_too_large_is_permanent_with_sizes),
        cmocka_unit_test(pack_out_of_range_is_permanent),
        cmocka_unit_test(pack_into_small_buffer_fails_and_leaves_it),
        cmocka_unit_test(unpack_truncated_is_refused),
        cmocka_unit_test(unpack_corrupted_is_refused),
        cmocka_unit_test(unpack_with_bytes_appended_is_refused),
        cmocka_unit_test(unpack_other_version_says_so),
        cmocka_unit_test(unpack_noise_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
