/*
 * mayfly-vm-net: the gateway between one VM and the network, started by its supervisor.
 *
 *   mayfly-vm-net mode=internet [allow=CIDR[:PORT]] … [proxy=HOST/PORT] …
 *
 * Frames of QEMU on descriptor 4, reports to the supervisor on descriptor 3 (gateway.h).
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "worker/gateway/gateway.h"

static int read_proxy(struct gateway_settings *s, struct slice value)
{
    struct slice host;
    struct slice port;
    struct gateway_proxy *p = &s->proxies[s->proxy_count];
    if (s->proxy_count == GATEWAY_PROXIES_MAX || !slice_cut(value, '/', &host, &port) ||
        !slice_to_cstr(host, p->host, sizeof p->host) ||
        !slice_to_cstr(port, p->port, sizeof p->port)) {
        return -1;
    }
    s->proxy_count++;
    return 0;
}

static int read_word(struct gateway_settings *s, struct slice word)
{
    struct slice key;
    struct slice value;
    if (!slice_cut(word, '=', &key, &value)) {
        return -1;
    }
    if (slice_eq_cstr(key, "mode")) {
        return net_mode_parse(value, &s->mode) ? 0 : -1;
    }
    if (slice_eq_cstr(key, "allow") && s->allow_count < GATEWAY_ALLOW_MAX) {
        return net_allow_parse(value, &s->allow[s->allow_count++]) == NULL ? 0 : -1;
    }
    return slice_eq_cstr(key, "proxy") ? read_proxy(s, value) : -1;
}

static int open_gateway(const struct gateway_settings *s, struct err *e)
{
    if (!hooks_are_in_place()) {
        return err_set(e, ERR_PERMANENT, 0,
                       "mayfly-vm-net cannot judge connections: it was linked without -rdynamic");
    }
    hooks_open(s->mode, GATEWAY_PROXY_IDLE_MS);
    /* The thread that looks names up gets the same filter. */
    return confine_process(e) != 0 || lookup_open(s, e) != 0 ? -1 : judge_open(s, e);
}

int main(int argc, char **argv)
{
    static struct gateway_settings settings;
    struct err e;
    if (argc < 2 || fcntl(GATEWAY_FD_STREAM, F_GETFD) < 0 ||
        fcntl(GATEWAY_FD_REPORT, F_GETFD) < 0) {
        (void)fprintf(stderr, "mayfly-vm-net is started by Mayfly's programs, not by hand.\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    report_open(GATEWAY_FD_REPORT);
    for (int i = 1; i < argc; i++) {
        if (read_word(&settings, slice_of(argv[i])) != 0) {
            (void)err_set(&e, ERR_PERMANENT, 0, "mayfly-vm-net does not take \"%.200s\"", argv[i]);
            report_error(&e);
            return 2;
        }
    }
    if (open_gateway(&settings, &e) != 0) {
        report_error(&e);
        return 1;
    }
    return gateway_serve(GATEWAY_FD_STREAM, settings.mode == NET_MODE_INTERNET);
}
