/* Frames of the virtio-serial port, and the look-up of the runner's user. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deploy/image/agent/agent_user.h"
#include "deploy/image/agent/agent_virtio.h"
#include "tests/lib/cmocka.h"

#define ENTROPY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char whole[] = "MAYFLY1 7\npayload1795199586123\nrunner-7\n" ENTROPY "\n";

static enum frame_kind parse(const char *text, size_t len, struct frame *out, size_t *used,
                             const char **reason)
{
    return frame_parse((struct slice){text, len}, out, used, reason);
}

static void frame_whole_is_read(void **state)
{
    struct frame f;
    size_t used = 0;
    const char *reason = NULL;
    assert_int_equal(parse(whole, sizeof(whole) - 1, &f, &used, &reason), FRAME_START);
    assert_int_equal(used, sizeof(whole) - 1);
    assert_true(slice_eq_cstr(f.packed, "payload"));
    assert_int_equal(f.wall_ms, 1795199586123);
    assert_string_equal(f.hostname, "runner-7");
    assert_int_equal(f.entropy[1], 0x11);
    assert_int_equal(f.entropy[31], 0xff);
}

static void frame_any_prefix_wants_more(void **state)
{
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        struct frame f;
        size_t used = 0;
        const char *reason = NULL;
        assert_int_equal(parse(whole, n, &f, &used, &reason), FRAME_MORE);
    }
}

static void frame_payload_may_hold_newlines(void **state)
{
    static const char text[] = "MAYFLY1 4\na\n\nb1\nh\n" ENTROPY "\nMAYFLY1 END\n";
    struct frame f;
    size_t used = 0;
    const char *reason = NULL;
    assert_int_equal(parse(text, sizeof(text) - 1, &f, &used, &reason), FRAME_START);
    assert_int_equal(f.packed.len, 4);
    assert_int_equal(used, sizeof(text) - 1 - 12);
    assert_int_equal(parse(text + used, sizeof(text) - 1 - used, &f, &used, &reason), FRAME_END);
    assert_int_equal(used, 12);
}

static void frame_malformed_is_bad_with_its_reason(void **state)
{
    static const struct {
        const char *text, *reason;
    } bad[] = {
        {"HELLO\n", "bad-header"},
        {"\n", "bad-header"},
        {"MAYFLY2 7\n", "bad-header"},
        {"MAYFLY1 end\n", "bad-length"},
        {"MAYFLY1 \n", "bad-length"},
        {"MAYFLY1 0\n", "bad-length"},
        {"MAYFLY1 -1\n", "bad-length"},
        {"MAYFLY1 4097\n", "bad-length"},
        {"MAYFLY1 99999999999999999999\n", "bad-length"},
        {"MAYFLY1 7 \n", "bad-length"},
        {"MAYFLY1 1\nx\nh\n" ENTROPY "\n", "bad-clock"},
        {"MAYFLY1 1\nx0\nh\n" ENTROPY "\n", "bad-clock"},
        {"MAYFLY1 1\nx1\n\n" ENTROPY "\n", "bad-hostname"},
        {"MAYFLY1 1\nx1\n-a\n" ENTROPY "\n", "bad-hostname"},
        {"MAYFLY1 1\nx1\na b\n" ENTROPY "\n", "bad-hostname"},
        {"MAYFLY1 1\nx1\n0123456789012345678901234567890123456789012345678901234567890123\n" ENTROPY
         "\n",
         "bad-hostname"},
        {"MAYFLY1 1\nx1\nh\n0011\n", "bad-entropy"},
        {"MAYFLY1 1\nx1\nh\nzz" ENTROPY "\n", "bad-entropy"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct frame f = {.wall_ms = 77};
        size_t used = 0;
        const char *reason = NULL;
        assert_int_equal(parse(bad[i].text, strlen(bad[i].text), &f, &used, &reason), FRAME_BAD);
        assert_string_equal(reason, bad[i].reason);
        assert_int_equal(f.wall_ms, 77);
    }
}

static void frame_line_without_end_is_bad(void **state)
{
    char text[200];
    struct frame f;
    size_t used = 0;
    const char *reason = NULL;
    memset(text, 'M', sizeof(text));
    assert_int_equal(parse(text, 100, &f, &used, &reason), FRAME_MORE);
    assert_int_equal(parse(text, sizeof(text), &f, &used, &reason), FRAME_BAD);
}

static void port_keeps_bytes_and_tells_when_gone(void **state)
{
    int fd[2];
    struct agent_port p;
    char answer[16] = "";
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    agent_port_init(&p, fd[0]);
    assert_int_equal(agent_port_read(&p), PORT_NOTHING);
    assert_int_equal(write(fd[1], "abc", 3), 3);
    assert_int_equal(agent_port_read(&p), PORT_BYTES);
    agent_port_drop(&p, 2);
    assert_true(slice_eq_cstr(buf_slice(&p.input), "c"));
    agent_port_answer(&p, "OK");
    assert_int_equal(read(fd[1], answer, sizeof(answer)), 3);
    assert_string_equal(answer, "OK\n");
    close(fd[1]);
    agent_port_answer(&p, "to nobody");
    assert_int_equal(agent_port_read(&p), PORT_GONE);
    agent_port_fini(&p);
}

static void user_is_found_with_its_groups(void **state)
{
    struct agent_user u;
    struct err e;
    struct slice passwd = SLICE("root:x:0:0:root:/root:/bin/sh\n"
                                "runners:x:7:7::/nowhere:/bin/sh\n"
                                "runner:x:1001:1002:a,b:/home/runner:/bin/bash\n");
    struct slice group = SLICE("root:x:0:\nrunner:x:1002:runner\ndocker:x:998:admin,runner\n"
                               "other:x:5:runners\nbroken\nsudo:x:27:runner");
    assert_int_equal(agent_user_find(passwd, group, "runner", &u, &e), 0);
    assert_string_equal(u.name, "runner");
    assert_string_equal(u.home, "/home/runner");
    assert_int_equal(u.uid, 1001);
    assert_int_equal(u.gid, 1002);
    assert_int_equal(u.group_count, 3);
    assert_int_equal(u.groups[0], 1002);
    assert_int_equal(u.groups[1], 998);
    assert_int_equal(u.groups[2], 27);
}

static void user_unknown_or_damaged_is_an_error(void **state)
{
    struct agent_user u;
    struct err e;
    assert_int_equal(agent_user_find(SLICE("root:x:0:0::/:/bin/sh"), SLICE(""), "runner", &u, &e),
                     -1);
    assert_int_equal(e.class, ERR_NOT_FOUND);
    assert_int_equal(
        agent_user_find(SLICE("runner:x:-1:0::/:/bin/sh"), SLICE(""), "runner", &u, &e), -1);
    assert_int_equal(e.class, ERR_PERMANENT);
    assert_int_equal(agent_user_find(SLICE("runner:x:0"), SLICE(""), "runner", &u, &e), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_whole_is_read),
        cmocka_unit_test(frame_any_prefix_wants_more),
        cmocka_unit_test(frame_payload_may_hold_newlines),
        cmocka_unit_test(frame_malformed_is_bad_with_its_reason),
        cmocka_unit_test(frame_line_without_end_is_bad),
        cmocka_unit_test(port_keeps_bytes_and_tells_when_gone),
        cmocka_unit_test(user_is_found_with_its_groups),
        cmocka_unit_test(user_unknown_or_damaged_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
