#include "common/net/listen_address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/slice.h"

#define UNIX_PREFIX "unix:"

const char *listen_address_path(const char *text)
{
    size_t width = strlen(UNIX_PREFIX);
    return strncmp(text, UNIX_PREFIX, width) == 0 ? text + width : NULL;
}

static int resolve_path(const char *setting, const char *path, struct sockaddr_storage *out,
                        socklen_t *size, struct err *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    if (path[0] != '/' || !slice_to_cstr(slice_of(path), un.sun_path, sizeof un.sun_path)) {
        return err_set(e, ERR_PERMANENT, 0,
                       "%s: " UNIX_PREFIX "%s: the path must begin with / and have at most %zu "
                       "bytes",
                       setting, path, sizeof un.sun_path - 1);
    }
    memcpy(out, &un, sizeof un);
    *size = sizeof un;
    return 0;
}

/* "host:port", "[v6]:port". */
static bool split(const char *text, char *host, size_t host_size, const char **port)
{
    const char *colon = strrchr(text, ':');
    struct slice name = {text, colon != NULL ? (size_t)(colon - text) : 0};
    if (name.len >= 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']') {
        name = (struct slice){name.ptr + 1, name.len - 2};
    }
    *port = colon != NULL ? colon + 1 : "";
    return colon != NULL && slice_to_cstr(name, host, host_size);
}

int listen_address_resolve(const char *setting, const char *text, struct sockaddr_storage *out,
                           socklen_t *size, struct err *e)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[256];
    const char *port = NULL;
    *out = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    if (listen_address_path(text) != NULL) {
        return resolve_path(setting, listen_address_path(text), out, size, e);
    }
    if (!split(text, host, sizeof host, &port)) {
        return err_set(e, ERR_PERMANENT, 0, "%s: %s: write it as address:port", setting, text);
    }
    int code = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (code != 0) {
        return err_set(e, ERR_PERMANENT, 0, "%s: %s: %s: write it as address:port", setting, text,
                       gai_strerror(code));
    }
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int listen_address_port(const struct sockaddr_storage *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->ss_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        return ntohs(v6.sin6_port);
    }
    if (address->ss_family != AF_INET) {
        return 0;
    }
    memcpy(&v4, address, sizeof v4);
    return ntohs(v4.sin_port);
}

void listen_address_clear(const struct sockaddr_storage *address, socklen_t size)
{
    struct sockaddr_un un;
    struct stat st;
    if (address->ss_family != AF_UNIX) {
        return;
    }
    memcpy(&un, address, sizeof un);
    if (lstat(un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    if (connect(fd, (const struct sockaddr *)address, size) != 0 && errno == ECONNREFUSED) {
        (void)unlink(un.sun_path);
    }
    (void)close(fd);
}
