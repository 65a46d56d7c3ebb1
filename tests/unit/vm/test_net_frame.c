/* The frames of a VM: which are carried, which are judged by their destination, which are not. */
#include <string.h>

#include "common/vm/qemu/net_frame.h"
#include "tests/lib/cmocka.h"
#include "tests/lib/net_frames.h"

#define ETHER 14

static enum net_frame_class classify(const struct net_frame *f, struct net_flow *flow)
{
    return net_frame_classify(f->bytes, f->len, true, flow);
}

static void expect_tcp(const char *to, uint16_t port, enum net_frame_class class)
{
    struct net_flow flow;
    struct net_frame f = frame_tcp_syn(NULL, to, 40000, port);
    assert_int_equal(classify(&f, &flow), class);
    f = frame_udp(NULL, to, 40000, port, "x");
    assert_int_equal(classify(&f, &flow), class);
}

static void frame_to_a_host_is_judged_by_it(void **state)
{
    struct net_flow flow;
    char text[IP_ADDRESS_TEXT];
    struct net_frame f = frame_tcp_syn(NULL, "140.82.112.3", 40000, 443);
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    ip_address_text(&flow.to, text);
    assert_string_equal(text, "140.82.112.3");
    assert_int_equal(flow.port, 443);
    assert_string_equal(flow.protocol, "tcp");
    assert_true(flow.opens);
    f.bytes[ETHER + 20 + 13] = 0x10; /* ACK: in a connection */
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    assert_false(flow.opens);
    f = frame_udp(NULL, "2a05:d018::1", 40000, 53, "query");
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    ip_address_text(&flow.to, text);
    assert_string_equal(text, "2a05:d018::1");
    assert_string_equal(flow.protocol, "udp");
    f = frame_echo("8.8.8.8");
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    assert_int_equal(flow.port, 0);
}

static void router_stands_for_the_loopback(void **state)
{
    struct net_flow flow;
    char text[IP_ADDRESS_TEXT];
    struct net_frame f = frame_tcp_syn(NULL, "10.0.2.2", 40000, 6379);
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    ip_address_text(&flow.to, text);
    assert_string_equal(text, "127.0.0.1");
    assert_int_equal(flow.port, 6379);
    f = frame_udp(NULL, "fec0::2", 40000, 5555, "x");
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    ip_address_text(&flow.to, text);
    assert_string_equal(text, "::1");
    f = frame_echo("10.0.2.2");
    assert_int_equal(classify(&f, &flow), NET_FRAME_PASS);
}

static void loopback_by_its_own_address_is_refused(void **state)
{
    expect_tcp("127.0.0.1", 8080, NET_FRAME_REFUSE);
    expect_tcp("127.0.0.53", 53, NET_FRAME_REFUSE);
    expect_tcp("0.0.0.0", 80, NET_FRAME_REFUSE);
    expect_tcp("::1", 80, NET_FRAME_REFUSE);
    expect_tcp("::", 80, NET_FRAME_REFUSE);
    expect_tcp("10.0.2.77", 80, NET_FRAME_REFUSE);
    expect_tcp("fec0::77", 80, NET_FRAME_REFUSE);
}

static void resolver_is_served_on_its_port(void **state)
{
    struct net_flow flow;
    expect_tcp("10.0.2.3", 53, NET_FRAME_PASS);
    expect_tcp("fec0::3", 53, NET_FRAME_PASS);
    expect_tcp("10.0.2.3", 6379, NET_FRAME_REFUSE);
    expect_tcp("fec0::3", 80, NET_FRAME_REFUSE);
    struct net_frame f = frame_udp(NULL, "10.0.2.3", 40000, 53, "x");
    assert_int_equal(net_frame_classify(f.bytes, f.len, false, &flow), NET_FRAME_REFUSE);
}

static void neighbour_discovery_and_addresses_stay_inside(void **state)
{
    struct net_flow flow;
    struct net_frame f = frame_arp("10.0.2.2");
    assert_int_equal(classify(&f, &flow), NET_FRAME_PASS);
    f.bytes[ETHER + 1] = 6; /* not Ethernet */
    assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
    f = frame_udp("0.0.0.0", "255.255.255.255", 68, 67, "discover");
    assert_int_equal(classify(&f, &flow), NET_FRAME_PASS);
    f = frame_udp("0.0.0.0", "8.8.8.8", 68, 67, "discover");
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    f = frame_udp("0.0.0.0", "255.255.255.255", 68, 69, "discover");
    assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
}

static void broadcast_and_multicast_are_dropped(void **state)
{
    expect_tcp("255.255.255.255", 80, NET_FRAME_DROP);
    expect_tcp("10.0.2.255", 80, NET_FRAME_DROP);
    expect_tcp("224.0.0.251", 5353, NET_FRAME_DROP);
    expect_tcp("240.0.0.1", 80, NET_FRAME_DROP);
    expect_tcp("ff02::1", 5353, NET_FRAME_DROP);
}

static void foreign_sender_is_refused(void **state)
{
    static const char *const v4[] = {"10.0.2.2", "10.0.2.3", "10.0.3.15", "127.0.0.1", "8.8.8.8"};
    static const char *const v6[] = {"fec0::2", "fec0::3", "::1", "::", "2a05::1", "fec0:1::15"};
    struct net_flow flow;
    for (size_t i = 0; i < COUNT_OF(v4); i++) {
        struct net_frame f = frame_udp(v4[i], "140.82.112.3", 40000, 443, "x");
        assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
        assert_int_equal(flow.kind, NET_PACKET);
    }
    for (size_t i = 0; i < COUNT_OF(v6); i++) {
        struct net_frame f = frame_udp(v6[i], "2a05:d018::1", 40000, 443, "x");
        assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
    }
    struct net_frame f = frame_udp("10.0.2.200", "140.82.112.3", 40000, 443, "x");
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
    f = frame_udp("fe80::15", "2a05:d018::1", 40000, 443, "x");
    assert_int_equal(classify(&f, &flow), NET_FRAME_JUDGE);
}

/* One byte of a good frame is another; the frame is refused then. */
static void expect_refused_with(size_t at, uint8_t value)
{
    struct net_flow flow;
    struct net_frame f = frame_tcp_syn(NULL, "140.82.112.3", 40000, 443);
    f.bytes[at] = value;
    assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
    assert_int_equal(flow.kind, NET_PACKET);
}

static void packet_that_is_not_plain_is_refused(void **state)
{
    expect_refused_with(ETHER, 0x46);             /* options */
    expect_refused_with(ETHER, 0x55);             /* another version */
    expect_refused_with(ETHER + 6, 0x20);         /* more fragments */
    expect_refused_with(ETHER + 7, 0x01);         /* an offset */
    expect_refused_with(ETHER + 2, 0x01);         /* longer than the frame */
    expect_refused_with(ETHER + 3, 19);           /* shorter than its header */
    expect_refused_with(ETHER + 3, 39);           /* half a TCP header */
    expect_refused_with(ETHER + 20 + 12, 4 << 4); /* a TCP header that is too short */
    expect_refused_with(ETHER + 20 + 12, 6 << 4); /* and longer than the packet */
    struct net_flow flow;
    struct net_frame f = frame_udp(NULL, "140.82.112.3", 40000, 443, "x");
    f.bytes[ETHER + 20 + 5] = 200;
    assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
    f = frame_tcp_syn(NULL, "2a05:d018::1", 40000, 443);
    f.bytes[ETHER + 6] = 44; /* a fragment's header */
    assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
    f = frame_tcp_syn(NULL, "2a05:d018::1", 40000, 443);
    f.bytes[ETHER + 5] = 21;
    assert_int_equal(classify(&f, &flow), NET_FRAME_REFUSE);
}

static void frame_of_another_protocol_is_dropped(void **state)
{
    struct net_flow flow;
    struct net_frame f = frame_tcp_syn(NULL, "140.82.112.3", 40000, 443);
    f.bytes[12] = 0x88;
    f.bytes[13] = 0xf8; /* NC-SI, which libslirp would serve */
    assert_int_equal(classify(&f, &flow), NET_FRAME_DROP);
    f = frame_tcp_syn(NULL, "140.82.112.3", 40000, 443);
    f.bytes[ETHER + 9] = 47; /* GRE */
    assert_int_equal(classify(&f, &flow), NET_FRAME_DROP);
    f = frame_echo("8.8.8.8");
    f.bytes[ETHER + 20] = 5; /* a redirect */
    assert_int_equal(classify(&f, &flow), NET_FRAME_DROP);
}

static void frame_cut_short_anywhere_is_not_carried(void **state)
{
    const struct net_frame frames[] = {frame_tcp_syn(NULL, "140.82.112.3", 40000, 443),
                                       frame_udp(NULL, "2a05:d018::1", 40000, 443, "x"),
                                       frame_arp("10.0.2.2"), frame_echo("8.8.8.8")};
    struct net_flow flow;
    uint8_t out[NET_REFUSAL_MAX];
    for (size_t i = 0; i < COUNT_OF(frames); i++) {
        for (size_t len = 0; len < frames[i].len; len++) {
            assert_int_equal(net_frame_classify(frames[i].bytes, len, true, &flow),
                             NET_FRAME_REFUSE);
            assert_int_equal(net_frame_refusal(frames[i].bytes, len, out), 0);
        }
    }
    assert_int_equal(net_frame_classify(frames[0].bytes, 1519, true, &flow), NET_FRAME_REFUSE);
}

static uint32_t sum_of(const uint8_t *data, size_t len, uint32_t sum)
{
    for (size_t i = 0; i < len; i += 2) {
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    }
    return sum % 0xffff;
}

static void refusal_is_a_correct_icmp_message(void **state)
{
    uint8_t out[NET_REFUSAL_MAX];
    struct net_frame f = frame_tcp_syn(NULL, "10.1.2.3", 40000, 443);
    size_t len = net_frame_refusal(f.bytes, f.len, out);
    assert_int_equal(len, ETHER + 20 + 8 + 28);
    assert_memory_equal(out, f.bytes + 6, 6);
    assert_memory_equal(out + ETHER + 16, f.bytes + ETHER + 12, 4); /* to the sender */
    assert_int_equal(out[ETHER + 20], 3);
    assert_int_equal(out[ETHER + 21], 13);
    assert_memory_equal(out + ETHER + 28, f.bytes + ETHER, 28);
    assert_int_equal(sum_of(out + ETHER, 20, 0), 0);
    assert_int_equal(sum_of(out + ETHER + 20, 36, 0), 0);

    f = frame_tcp_syn(NULL, "fd00::1", 40000, 443);
    len = net_frame_refusal(f.bytes, f.len, out);
    assert_int_equal(len, ETHER + 40 + 8 + 48);
    assert_int_equal(out[ETHER + 40], 1);
    assert_int_equal(out[ETHER + 41], 1);
    assert_memory_equal(out + ETHER + 24, f.bytes + ETHER + 8, 16);
    assert_int_equal(sum_of(out + ETHER + 40, 56, sum_of(out + ETHER + 8, 32, 58 + 56)), 0);
}

static void refusal_is_not_sent_to_a_foreign_sender(void **state)
{
    uint8_t out[NET_REFUSAL_MAX];
    struct net_frame f = frame_tcp_syn("8.8.8.8", "10.1.2.3", 40000, 443);
    assert_int_equal(net_frame_refusal(f.bytes, f.len, out), 0);
    f = frame_arp("10.0.2.9");
    assert_int_equal(net_frame_refusal(f.bytes, f.len, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_to_a_host_is_judged_by_it),
        cmocka_unit_test(router_stands_for_the_loopback),
        cmocka_unit_test(loopback_by_its_own_address_is_refused),
        cmocka_unit_test(resolver_is_served_on_its_port),
        cmocka_unit_test(neighbour_discovery_and_addresses_stay_inside),
        cmocka_unit_test(broadcast_and_multicast_are_dropped),
        cmocka_unit_test(foreign_sender_is_refused),
        cmocka_unit_test(packet_that_is_not_plain_is_refused),
        cmocka_unit_test(frame_of_another_protocol_is_dropped),
        cmocka_unit_test(frame_cut_short_anywhere_is_not_carried),
        cmocka_unit_test(refusal_is_a_correct_icmp_message),
        cmocka_unit_test(refusal_is_not_sent_to_a_foreign_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
