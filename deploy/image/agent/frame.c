/* mayfly-frame: sends one frame to an agent, for testing an image by hand. Not installed.
 *
 * The JIT config is read from standard input; the response goes to standard output. Exit 0 if it is
 * OK. --end requests the end of the VM instead. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/fs.h"
#include "common/base/random.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_virtio.h"

struct settings {
    const char *socket;
    const char *name;
    int64_t idle_seconds;
    int64_t max_seconds;
    bool end;
};

static void parse_frame_options(int argc, char **argv, struct settings *s)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"name", required_argument, NULL, 'n'},
        {"idle", required_argument, NULL, 'i'},   {"max", required_argument, NULL, 'm'},
        {"end", no_argument, NULL, 'e'},          {NULL, 0, NULL, 0}};
    bool ok = true;
    *s = (struct settings){.name = "mayfly-try"};
    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1 && ok;
         c = getopt_long(argc, argv, "", options, NULL)) {
        if (c == 's') {
            s->socket = optarg;
        } else if (c == 'n') {
            s->name = optarg;
        } else if (c == 'e') {
            s->end = true;
        } else {
            ok = (c == 'i' && slice_to_int64(slice_of(optarg), &s->idle_seconds)) ||
                 (c == 'm' && slice_to_int64(slice_of(optarg), &s->max_seconds));
        }
    }
    if (!ok || s->socket == NULL) {
        fputs("usage: mayfly-frame --socket PATH [--end | --name NAME --idle SECONDS --max SECONDS "
              "< CONFIG]\n",
              stderr);
        exit(2);
    }
}

static int make_frame(const struct settings *s, struct buf *out, struct err *e)
{
    struct buf config, packed;
    char entropy[2 * FRAME_ENTROPY_BYTES + 1];
    int rc = -1;
    buf_init(&config, PAYLOAD_CONFIG_MAX);
    buf_init(&packed, PAYLOAD_PACKED_MAX);
    if (fs_read("/dev/stdin", &config, e) == 0) {
        const struct payload p = {.jit_config = buf_slice(&config),
                                  .idle_seconds = s->idle_seconds,
                                  .max_duration_seconds = s->max_seconds,
                                  .runner_name = slice_of(s->name)};
        rc = payload_pack(&p, &packed, e);
    }
    random_hex(entropy, FRAME_ENTROPY_BYTES);
    buf_printf(out, "MAYFLY1 %zu\n", packed.len);
    buf_append(out, buf_slice(&packed));
    buf_printf(out, "%lld\n%s\n%s\n", (long long)clock_wall_ms(), s->name, entropy);
    buf_fini(&config);
    buf_fini(&packed);
    return rc;
}

/* Copies one line from the socket to standard output; 0 if it is OK. */
static int print_answer(int fd)
{
    char line[512];
    size_t n = 0;
    while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n') {
        n++;
    }
    line[n] = '\0';
    puts(line);
    return strcmp(line, "OK") == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct settings s;
    struct err e = {0};
    struct buf frame;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    parse_frame_options(argc, argv, &s);
    buf_init(&frame, FRAME_MAX);
    if (s.end) {
        buf_append_cstr(&frame, "MAYFLY1 END\n");
    } else if (make_frame(&s, &frame, &e) != 0) {
        fprintf(stderr, "mayfly-frame: %s\n", e.message);
        return 1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !slice_to_cstr(slice_of(s.socket), addr.sun_path, sizeof(addr.sun_path)) ||
        connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        write(fd, frame.data, frame.len) != (ssize_t)frame.len) {
        perror(s.socket);
        return 1;
    }
    buf_fini(&frame);
    return print_answer(fd);
}
