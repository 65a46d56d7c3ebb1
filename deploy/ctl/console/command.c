/*
 * `mayflyctl console [--listen ADDRESS] [--host NAME] [--token-file FILE] [--every DURATION]`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/printable.h"
#include "common/base/random.h"
#include "common/base/thread.h"
#include "common/base/wakeup.h"
#include "common/net/listen_address.h"
#include "deploy/ctl/console/console.h"

#define LISTEN_DEFAULT "127.0.0.1:9110"
#define EVERY_MIN_MS 250
#define EVERY_MAX_MS (60LL * 1000)
#define TOKEN_BYTES 16
#define SIGNAL_POLL_MS 1000

/* --- the options --- */

/* The address itself is a name that no stranger's page has. */
static int admit_address(struct guard *g, const char *listen, struct err *e)
{
    const char *colon = strrchr(listen, ':');
    struct slice host = {listen, colon != NULL ? (size_t)(colon - listen) : 0};
    char name[GUARD_HOST_SIZE];
    if (listen_address_path(listen) != NULL || host.len == 0 || slice_eq_cstr(host, "0.0.0.0") ||
        slice_eq_cstr(host, "[::]") || !slice_to_cstr(host, name, sizeof name)) {
        return 0;
    }
    return guard_add_hosts(g, name, e);
}

static int read_token(struct ctl *c, struct guard *g, struct err *e)
{
    const char *file = ctl_option(c, "--token-file");
    struct buf text;
    buf_init(&text, (size_t)2 * CONSOLE_TOKEN_MAX);
    int rc = fs_read(file, &text, e);
    rc = rc == 0 ? guard_set_token(g, buf_slice(&text), e) : rc;
    if (text.len > 0) {
        explicit_bzero(text.data, text.len);
    }
    buf_fini(&text);
    return rc == 0 ? 0 : err_wrap(e, "--token-file %s", file);
}

/* *made: the token is a new one, for the URL. */
static int read_guard(struct ctl *c, const char *listen, struct guard *g, bool *made, struct err *e)
{
    const char *hosts = ctl_option(c, "--host");
    bool is_local = false;
    c->exit_code = CTL_EXIT_USAGE;
    if ((hosts != NULL && guard_add_hosts(g, hosts, e) != 0) || admit_address(g, listen, e) != 0 ||
        guard_is_local(listen, &is_local, e) != 0 ||
        (ctl_option(c, "--token-file") != NULL && read_token(c, g, e) != 0)) {
        return -1;
    }
    *made = !is_local && g->token[0] == '\0';
    if (*made) {
        random_hex(g->token, TOKEN_BYTES);
    }
    c->exit_code = 0;
    return 0;
}

/* --- its life --- */

/* The page's URL: by the first name of --host, else by the address. */
static void append_url(struct buf *out, const char *listen, int port, const struct guard *g,
                       const char *token)
{
    const char *colon = strrchr(listen, ':');
    int width = colon != NULL ? (int)(colon - listen) : 0;
    bool anywhere =
        width == 0 || strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0;
    const char *name = g->host_count > 0 ? g->hosts[0] : "127.0.0.1";
    if (listen_address_path(listen) != NULL) {
        buf_append_cstr(out, listen);
        return;
    }
    buf_printf(out, "http://%.*s:%d/", anywhere ? (int)strlen(name) : width,
               anywhere ? name : listen, port);
    if (token[0] != '\0') {
        buf_printf(out, "#token=%s", token);
    }
}

static void report_start(const struct ctl *c, const char *url, bool needs_token)
{
    if (c->json) {
        json_t *o = json_pack("{s:o, s:b}", "url", ctl_text(url), "token_is_needed", needs_token);
        char *text = json_dumps(o, JSON_COMPACT);
        ASSERT(text != NULL);
        printable_line(stdout, "%s", text);
        free(text);
        json_decref(o);
    } else {
        printable_line(stdout, "The console is at %s", url);
        printable_line(stdout, "It changes nothing; Ctrl-C ends it.");
    }
    (void)fflush(stdout);
}

static void wait_for_signal(void)
{
    while (signals_wait(SIGNAL_POLL_MS) == 0) {
    }
}

/* The second signal ends a call of a store that takes long. */
static NORETURN void *end_at_signal(void *arg)
{
    wait_for_signal();
    console_stop(arg);
    wait_for_signal();
    _exit(0);
}

static int serve(struct console *s, struct err *e)
{
    pthread_t signals;
    if (thread_start(&signals, "the thread that waits for signals", end_at_signal, s, e) != 0) {
        return -1;
    }
    (void)pthread_detach(signals);
    console_run(s);
    return 0;
}

int ctl_console(struct ctl *c, struct err *e)
{
    const char *given = ctl_option(c, "--listen");
    struct console_options o = {.listen = given != NULL ? given : LISTEN_DEFAULT, .ctl = c};
    struct guard guard = {.host_count = 0};
    struct console *s = NULL;
    struct buf url;
    bool made = false;
    o.guard = &guard;
    if (ctl_option_duration(c, "--every", EVERY_MIN_MS, EVERY_MAX_MS, CONSOLE_EVERY_MS, &o.every_ms,
                            e) != 0 ||
        read_guard(c, o.listen, &guard, &made, e) != 0) {
        return -1;
    }
    signals_block();
    if (console_open(&o, &s, e) != 0) {
        return -1;
    }
    buf_init(&url, 2048);
    append_url(&url, o.listen, console_port(s), &guard, made ? guard.token : "");
    report_start(c, url.data, guard.token[0] != '\0');
    buf_fini(&url);
    int rc = serve(s, e);
    console_close(s);
    explicit_bzero(&guard, sizeof guard);
    return rc;
}
