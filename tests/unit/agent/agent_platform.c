#include "agent_platform.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/cmocka.h"

void platform_await_log(const struct platform *p, const char *text, char *line, size_t size)
{
    do {
        agent_read_line(p->agent.output, line, size);
    } while (strstr(line, text) == NULL);
}

void platform_start_bed(struct platform *p, const char *program, const char *const extra[2])
{
    const char *const options[] = {"--lambda", "--port", "0",      "--kill-grace-ms",
                                   "30000",    extra[0], extra[1], NULL};
    char line[1024];
    agent_bed_start(&p->agent, program, STDERR_FILENO, options);
    platform_await_log(p, "\"msg\":\"hook_server_started\"", line, sizeof(line));
    const char *port = strstr(line, "\"port\":");
    assert_non_null(port);
    p->port = (int)strtol(port + 7, NULL, 10);
    agent_expect_prefix(p->agent.status, "READY ");
}

void platform_start(struct platform *p, const char *program, const char *script,
                    const char *const extra[2])
{
    agent_bed_init(&p->agent, script);
    platform_start_bed(p, program, extra);
}

int platform_dial(const struct platform *p)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)p->port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

int platform_call_begin(const struct platform *p, const char *hook, const char *body)
{
    struct buf text;
    int fd = platform_dial(p);
    buf_init(&text, 65536);
    buf_printf(&text,
               "POST /aws/lambda-microvms/runtime/v1/%s HTTP/1.1\r\nHost: localhost\r\n"
               "Content-Length: %zu\r\n\r\n%s",
               hook, strlen(body), body);
    assert_int_equal(send(fd, text.data, text.len, MSG_NOSIGNAL), text.len);
    buf_fini(&text);
    return fd;
}

int platform_call_end(int fd)
{
    char line[256];
    int64_t status;
    agent_read_line(fd, line, sizeof(line));
    close(fd);
    assert_true(slice_to_int64((struct slice){line + 9, 3}, &status));
    return (int)status;
}

int platform_call(const struct platform *p, const char *hook, const char *body)
{
    return platform_call_end(platform_call_begin(p, hook, body));
}

static void run_body(const char *config, struct buf *out)
{
    const struct payload payload = {.jit_config = slice_of(config),
                                    .idle_seconds = 600,
                                    .https_proxy = SLICE("http://10.0.2.100:3128")};
    struct buf packed;
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    scripts_pack(&payload, &packed);
    buf_init(out, 8192);
    buf_printf(out, "{\"microvmId\":\"microvm-1\",\"runHookPayload\":\"%.*s\"}",
               SLICE_ARG(buf_slice(&packed)));
    buf_fini(&packed);
}

int platform_call_run(const struct platform *p, const char *config)
{
    struct buf body;
    run_body(config, &body);
    int status = platform_call(p, "run", body.data);
    buf_fini(&body);
    return status;
}
