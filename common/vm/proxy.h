/*
 * The HTTP proxy of a class: its address, and the address under which the VMs reach it.
 *
 * On an open network a VM uses the configured proxy, if any. On a closed one
 * (config_provider.is_closed) a VM reaches nothing but the proxy and resolves no names, and the
 * proxy has an address in the VM's own network, which the payload must contain. Pure functions.
 */
#ifndef MAYFLY_VM_PROXY_H
#define MAYFLY_VM_PROXY_H

#include "common/base/attr.h"
#include "common/base/slice.h"
#include "common/config/config.h"

/* The proxy's address in the VM's network, on a closed network: the router's. */
#define VM_PROXY_ADDRESS "10.0.2.2"
#define VM_PROXY_PORT "3128"

struct vm_proxy {
    char host[256];
    char port[6];
    struct slice userinfo; /* points into the URL, includes the '@'; or empty */
};

/* Splits "http://[user:password@]host[:port][/]" (default port 80; [IPv6] hosts). False for
 * anything else, or when a part does not fit or has characters that are invalid in a host or
 * port. */
MUST_CHECK bool vm_proxy_parse(const char *url, struct vm_proxy *out);
/* The same of a URL that begins with http:// or https:// (default ports 80 and 443). */
MUST_CHECK bool vm_proxy_destination(const char *url, struct vm_proxy *out);

/* Whether the class's network reaches nothing but its proxy. */
bool vm_proxy_only(const struct config_class *class);

/* The proxy's URL in the class's configuration; "" if there is none. */
const char *vm_proxy_url(const struct config_class *class);

/* The proxy variables of the runner's environment; the strings are valid as long as *out and the
 * class. */
struct vm_proxy_env {
    const char *http;
    const char *https;
    const char *no_proxy;
    char inside[512];
};
void vm_proxy_env_of(const struct config_class *class, struct vm_proxy_env *out);

#endif
