/*
 * The HTTP proxy of a class: where it is, and under which address the VMs find it.
 *
 * On an open network a VM uses the proxy that is configured, if any. On a closed one
 * (config_provider.is_closed) nothing is reached but the proxy, no name is resolved, and the proxy
 * stands at an address of the VM's own network; so its payload must name that. Pure functions.
 */
#ifndef MAYFLY_VM_PROXY_H
#define MAYFLY_VM_PROXY_H

#include "common/base/attr.h"
#include "common/base/slice.h"
#include "common/config/config.h"

/* Where a VM of a closed network finds its only way out. */
#define VM_PROXY_ADDRESS "10.0.2.100"
#define VM_PROXY_PORT "3128"

struct vm_proxy {
    char host[256];
    char port[6];
    struct slice userinfo; /* into the URL, the '@' included; or empty */
};

/* Splits "http://[user:password@]host[:port][/]" (port 80 if none; [IPv6] hosts). False for
 * anything else, or when a part has characters that no host or port has, or does not fit. */
MUST_CHECK bool vm_proxy_parse(const char *url, struct vm_proxy *out);

/* Whether the class's network reaches nothing but its proxy. */
bool vm_proxy_only(const struct config_class *class);

/* The proxy's URL in the class's configuration; "" if there is none. */
const char *vm_proxy_url(const struct config_class *class);

/* What the runner's environment must say; the strings are valid as long as *out and the class. */
struct vm_proxy_env {
    const char *http;
    const char *https;
    const char *no_proxy;
    char inside[512];
};
void vm_proxy_env_of(const struct config_class *class, struct vm_proxy_env *out);

#endif
