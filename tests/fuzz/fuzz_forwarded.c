/* Whatever clients write into Forwarded and X-Forwarded-For, they cannot pass for another one behind a
 * proxy that adds their address at the end of one of the two; nor does an answer of GitHub's meta
 * call crash its reader. The first byte chooses the header that the proxy writes. */
#include "common/base/buf.h"
#include "ingress/peer/forwarded.h"
#include "ingress/peer/hook_ranges.h"
#include "tests/fuzz/fuzz.h"

static struct forwarded_lines cut_lines(struct slice text)
{
    struct forwarded_lines l = {.count = 0};
    while (text.len > 0) {
        struct slice line;
        (void)slice_cut(text, '\n', &line, &text);
        forwarded_lines_add(&l, line);
    }
    return l;
}

/* Adds to the last line, as some proxies do, or a line of its own, as others do. */
static void add_client(struct forwarded_lines *l, const char *client, bool own_line,
                       struct buf *text)
{
    buf_init(text, 1 << 20);
    if (l->count > 0 && !own_line) {
        l->count--;
        buf_append(text, l->lines[l->count]);
        buf_append_cstr(text, ", ");
    }
    buf_append_cstr(text, client);
    forwarded_lines_add(l, buf_slice(text));
}

static void check_client(struct slice forged, struct slice other, bool x, bool own_line)
{
    struct ip_prefix proxies[2];
    struct ip_address peer;
    struct ip_address real;
    struct ip_address found;
    struct buf line;
    struct forwarded_lines written = cut_lines(forged);
    struct forwarded_lines passed = cut_lines(other);
    ASSERT(ip_prefix_parse(SLICE("10.0.0.0/8"), &proxies[0]) == NULL);
    ASSERT(ip_prefix_parse(SLICE("2001:db8:1::/48"), &proxies[1]) == NULL);
    ASSERT(ip_address_parse(SLICE("10.0.0.1"), &peer));
    ASSERT(ip_address_parse(SLICE("2001:db8:9::1"), &real));
    const struct ip_prefixes trusted = {proxies, 2};
    add_client(&written, x ? "2001:db8:9::1" : "for=\"[2001:db8:9::1]:80\"", own_line, &line);
    enum forwarded_client by =
        forwarded_client(&trusted, &peer, x ? &passed : &written, x ? &written : &passed, &found);
    ASSERT(by == FORWARDED_NAMED ? ip_address_eq(&found, &real)
                                 : by == FORWARDED_NOBODY && ip_address_eq(&found, &peer));
    buf_fini(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data + 1, size - 1};
    struct slice forged;
    struct slice other;
    struct ip_prefix list[8];
    size_t count = 0;
    if (size == 0) {
        return 0;
    }
    (void)slice_cut(text, '\r', &forged, &other);
    check_client(forged, other, (data[0] & 1) != 0, (data[0] & 2) != 0);
    if (hook_ranges_parse(text, list, COUNT_OF(list), &count) == NULL) {
        ASSERT(count > 0 && count <= COUNT_OF(list));
    }
    return 0;
}
