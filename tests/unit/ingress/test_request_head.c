

#include "ingress/request_head.h"
#include "tests/lib/cmocka.h"

static struct request_head good_head(void)
{
    struct request_head h = {.is_post = true, .path = SLICE("/webhook")};
    request_head_add(&h, "content-length", "2");
    request_head_add(&h, "CONTENT-TYPE", "application/json");
    request_head_add(&h, "X-Github-Event", "ping");
    request_head_add(&h, "x-github-delivery", "d");
    request_head_add(&h, "X-Hub-Signature-256", "sha256=00");
    request_head_add(&h, "X-Hub-Signature", "sha1=00");
    return h;
}

static void expect(const struct request_head *h, int code, const char *reason, bool close)
{
    struct answer a = {0};
    assert_false(request_head_check(h, SLICE("/webhook"), &a));
    assert_int_equal(a.code, code);
    assert_string_equal(a.reason, reason);
    assert_int_equal(a.close, close);
}

static void check_githubs_head_goes_on(void **state)
{
    struct answer a = {0};
    struct request_head h = good_head();
    assert_true(request_head_check(&h, SLICE("/webhook"), &a));
    assert_true(slice_eq_cstr(h.event, "ping"));
    assert_true(slice_eq_cstr(h.delivery, "d"));
    assert_true(slice_eq_cstr(h.signature, "sha256=00"));
}

static void check_chunked_goes_on(void **state)
{
    struct answer a = {0};
    struct request_head h = good_head();
    h.content_length = (struct slice){NULL, 0};
    h.content_lengths = 0;
    request_head_add(&h, "Transfer-Encoding", "Chunked");
    assert_true(request_head_check(&h, SLICE("/webhook"), &a));
}

static void check_doubtful_framing_is_refused(void **state)
{
    static const char *const lengths[] = {"+2", "-2", " 2", "2 ", "0x2", "", "2,2", "2e0"};
    struct request_head h = good_head();
    request_head_add(&h, "Content-Length", "2");
    expect(&h, 400, "bad_framing", true);
    h = good_head();
    request_head_add(&h, "Transfer-Encoding", "chunked");
    expect(&h, 400, "bad_framing", true);
    h = good_head();
    h.has_nul = true;
    expect(&h, 400, "nul_byte", true);
    h = good_head();
    h.content_lengths = 0;
    request_head_add(&h, "Transfer-Encoding", "gzip, chunked");
    expect(&h, 400, "bad_framing", true);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        h = good_head();
        h.content_length = slice_of(lengths[i]);
        expect(&h, 400, "bad_framing", true);
    }
}

static void check_other_requests_are_refused(void **state)
{
    struct request_head h = good_head();
    h.path = SLICE("/webhook/");
    expect(&h, 404, "other_path", false);
    h.is_post = false;
    expect(&h, 404, "other_path", true);
    h = good_head();
    h.is_post = false;
    expect(&h, 405, "method", true);
    h = good_head();
    h.content_lengths = 0;
    h.content_length = (struct slice){NULL, 0};
    expect(&h, 411, "no_length", true);
    h = good_head();
    h.content_type = SLICE("text/plain");
    expect(&h, 415, "content_type", false);
    h.content_type = (struct slice){NULL, 0};
    expect(&h, 415, "content_type", false);
    h = good_head();
    h.signature = (struct slice){NULL, 0};
    expect(&h, 401, "no_signature", false);
}

static void note_keeps_the_first_of_doubled_headers(void **state)
{
    struct request_head h = good_head();
    request_head_add(&h, "X-Hub-Signature-256", "sha256=11");
    assert_true(slice_eq_cstr(h.signature, "sha256=00"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_githubs_head_goes_on),
        cmocka_unit_test(check_chunked_goes_on),
        cmocka_unit_test(check_doubtful_framing_is_refused),
        cmocka_unit_test(check_other_requests_are_refused),
        cmocka_unit_test(note_keeps_the_first_of_doubled_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
