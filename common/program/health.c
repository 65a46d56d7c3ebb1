#include "common/program/health.h"

#include <string.h>

#include "common/base/printable.h"
#include "common/http/client.h"
#include "common/net/listen_address.h"

#define URL_LIMIT_BYTES 512
#define ANSWER_LIMIT_BYTES (64 * 1024)

/* A port that listens on every address is asked on loopback. */
static void append_url(struct buf *url, const char *listen)
{
    static const struct {
        const char *every;
        const char *loopback;
    } every[] = {{"0.0.0.0:", "127.0.0.1:"}, {"[::]:", "[::1]:"}, {":", "127.0.0.1:"}};
    const char *host = "";
    for (size_t i = 0; i < COUNT_OF(every); i++) {
        if (host[0] == '\0' && strncmp(listen, every[i].every, strlen(every[i].every)) == 0) {
            host = every[i].loopback;
            listen += strlen(every[i].every);
        }
    }
    buf_printf(url, "http://%s%s/healthz", host, listen);
}

static int send_question(const char *url, const char *path, struct http_response *out,
                         struct err *e)
{
    struct http_client *client = NULL;
    const struct http_client_options options = {.user_agent = "mayfly-health",
                                                .proxy = "",
                                                .connect_timeout_ms = HEALTH_TIMEOUT_MS,
                                                .timeout_ms = HEALTH_TIMEOUT_MS,
                                                .unix_socket = path,
                                                .no_proxy = true,
                                                .no_redirects = true};
    const struct http_request request = {
        .method = "GET", .url = url, .response_limit_bytes = ANSWER_LIMIT_BYTES};
    if (http_client_new(&options, &client, e) != 0) {
        return -1;
    }
    int rc = http_send(client, &request, out, e);
    http_client_free(client);
    return rc;
}

static int ask(const struct program *p, const char *url, const char *path)
{
    struct err e = {0};
    struct http_response response;
    if (send_question(url, path, &response, &e) != 0) {
        printable_line(stderr, "%s: %s does not answer: %s", p->name, path != NULL ? path : url,
                       e.message);
        return 1;
    }
    int status = response.status;
    struct slice line = {NULL, 0};
    struct slice rest = {NULL, 0};
    (void)slice_cut(buf_slice(&response.body), '\n', &line, &rest);
    printable_line(stdout, "%s: %.*s", p->name, SLICE_ARG(line));
    http_response_fini(&response);
    return status == 200 ? 0 : 1;
}

int health_ask(const struct program *p, const char *config_path)
{
    struct buf url;
    struct config *c = config_peek(config_path, p->who);
    const char *listen = p->settings(c).admin_listen;
    int code = 2;
    buf_init(&url, URL_LIMIT_BYTES);
    if (listen[0] == '\0') {
        printable_line(stderr, "%s: --health asks the admin port, and admin_listen is empty",
                       p->name);
    } else {
        const char *path = listen_address_path(listen);
        append_url(&url, path != NULL ? "localhost" : listen);
        code = ask(p, url.data, path);
    }
    buf_fini(&url);
    config_free(c);
    return code;
}
