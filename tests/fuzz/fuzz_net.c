/* A guest's frame through the gateway's first look, and its destination through the rules: what is
 * let through by default is an address of the public internet. The first byte chooses between a
 * frame and an entry of the allow list. */
#include <string.h>

#include "common/vm/qemu/net_frame.h"
#include "tests/fuzz/fuzz.h"

/* Written anew, from the list in the documentation. */
static bool is_public(const struct ip_address *a)
{
    const uint8_t *b = a->bytes;
    if (a->v6) {
        return b[0] >> 5 == 1 && !(b[0] == 0x20 && b[1] == 0x02) &&
               !(b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0);
    }
    uint32_t ip = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return !(b[0] == 0 || b[0] == 10 || b[0] == 127 || b[0] >= 224 || ip >> 22 == 0x6440U >> 6 ||
             ip >> 16 == 0xa9feU || ip >> 20 == 0xac1U || ip >> 8 == 0xc00000U ||
             ip >> 16 == 0xc0a8U || ip >> 17 == 0xc612U >> 1);
}

static void check_frame(const uint8_t *frame, size_t size)
{
    static const struct net_policy policy = {.mode = NET_MODE_INTERNET};
    static const struct net_facts facts = {.is_own = false};
    struct net_flow flow;
    uint8_t out[NET_REFUSAL_MAX];
    enum net_frame_class class = net_frame_classify(frame, size, true, &flow);
    ASSERT(class != NET_FRAME_REFUSE || flow.kind != NET_LET_THROUGH);
    ASSERT(net_frame_refusal(frame, size, out) <= sizeof out);
    if (class == NET_FRAME_JUDGE) {
        struct ip_address meant = net_address_meant(&flow.to);
        enum net_kind kind = net_policy_judge(&policy, &meant, flow.port, &facts);
        ASSERT((kind == NET_LET_THROUGH) == is_public(&meant));
    }
}

static void check_entry(struct slice text)
{
    struct net_allow entry;
    if (net_allow_parse(text, &entry) != NULL) {
        return;
    }
    ASSERT(entry.to.bits <= ip_address_bits(&entry.to.base));
    ASSERT(net_allow_matches(&entry, &entry.to.base, entry.port));
    char address[IP_ADDRESS_TEXT];
    struct ip_address again;
    ip_address_text(&entry.to.base, address);
    ASSERT(ip_address_parse(slice_of(address), &again) && ip_address_eq(&again, &entry.to.base));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if ((data[0] & 1) == 0) {
        check_frame(data + 1, size - 1);
    } else {
        check_entry((struct slice){(const char *)data + 1, size - 1});
    }
    return 0;
}
