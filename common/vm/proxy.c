#include "common/vm/proxy.h"

#include <stdio.h>
#include <string.h>

#include "common/config/provider.h"

/* Only characters of host names: the value may pass through an option parser (commas, colons) and a
 * shell-like splitting. */
static bool host_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

static bool host_parse(struct slice authority, const char *port_or, struct slice *host,
                       struct slice *port)
{
    if (authority.len > 0 && authority.ptr[0] == '[') {
        struct slice rest;
        struct slice inside = {authority.ptr + 1, authority.len - 1};
        if (!slice_cut(inside, ']', host, &rest) || (rest.len > 0 && rest.ptr[0] != ':')) {
            return false;
        }
        *port = rest.len > 0 ? (struct slice){rest.ptr + 1, rest.len - 1} : slice_of(port_or);
        for (size_t i = 0; i < host->len; i++) {
            if (!host_character(host->ptr[i]) && host->ptr[i] != ':') {
                return false;
            }
        }
        return true;
    }
    if (!slice_cut(authority, ':', host, port)) {
        *port = slice_of(port_or);
    }
    for (size_t i = 0; i < host->len; i++) {
        if (!host_character(host->ptr[i])) {
            return false;
        }
    }
    return true;
}

static bool url_parse(const char *url, struct slice scheme, const char *port_or,
                      struct vm_proxy *out)
{
    struct slice rest = slice_of(url);
    struct slice host;
    struct slice port;
    struct slice path;
    struct vm_proxy proxy = {.userinfo = {"", 0}};
    int64_t number;

    if (rest.len < scheme.len || !slice_eq_nocase((struct slice){rest.ptr, scheme.len}, scheme)) {
        return false;
    }
    rest = (struct slice){rest.ptr + scheme.len, rest.len - scheme.len};
    (void)slice_cut(rest, '/', &rest, &path);
    for (size_t i = rest.len; i > 0; i--) {
        if (rest.ptr[i - 1] == '@') {
            proxy.userinfo = (struct slice){rest.ptr, i};
            rest = (struct slice){rest.ptr + i, rest.len - i};
            break;
        }
    }
    if (path.len > 0 || !host_parse(rest, port_or, &host, &port) || host.len == 0 ||
        !slice_to_cstr(host, proxy.host, sizeof proxy.host) ||
        !slice_to_cstr(port, proxy.port, sizeof proxy.port) || !slice_to_int64(port, &number) ||
        number < 1 || number > 65535) {
        return false;
    }
    *out = proxy;
    return true;
}

bool vm_proxy_parse(const char *url, struct vm_proxy *out)
{
    return url_parse(url, SLICE("http://"), "80", out);
}

bool vm_proxy_destination(const char *url, struct vm_proxy *out)
{
    return vm_proxy_parse(url, out) || url_parse(url, SLICE("https://"), "443", out);
}

bool vm_proxy_only(const struct config_class *class)
{
    const struct config_provider *p = config_provider_find(class->provider);
    return p != NULL && p->is_closed != NULL && p->is_closed(class->settings);
}

const char *vm_proxy_url(const struct config_class *class)
{
    return *class->proxy.http != '\0' ? class->proxy.http : class->proxy.https;
}

void vm_proxy_env_of(const struct config_class *class, struct vm_proxy_env *out)
{
    struct vm_proxy proxy;
    out->inside[0] = '\0';
    out->http = class->proxy.http;
    out->https = class->proxy.https;
    out->no_proxy = class->proxy.no_proxy;
    if (vm_proxy_only(class) && vm_proxy_parse(vm_proxy_url(class), &proxy)) {
        int n = snprintf(out->inside, sizeof out->inside, "http://%.*s%s:%s",
                         SLICE_ARG(proxy.userinfo), VM_PROXY_ADDRESS, VM_PROXY_PORT);
        if (n < 0 || (size_t)n >= sizeof out->inside) {
            out->inside[0] = '\0';
        }
        out->http = out->inside;
        out->https = out->inside;
        /* Nothing can be reached without the proxy. */
        out->no_proxy = "";
    }
}
