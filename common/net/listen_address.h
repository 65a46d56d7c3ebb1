/*
 * Where a program listens, as its settings say it: "address:port" or "unix:/PATH".
 *
 * Numeric addresses, "[::1]:0" for IPv6, a name or nothing before the colon (every address) where
 * the setting's form allows it. Any thread.
 */
#ifndef MAYFLY_NET_LISTEN_ADDRESS_H
#define MAYFLY_NET_LISTEN_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* The path of "unix:/PATH", else NULL. */
const char *listen_address_path(const char *text);

/* `setting` names it in messages. ERR_PERMANENT: it is no address, or its name is not known. */
MUST_CHECK int listen_address_resolve(const char *setting, const char *text,
                                      struct sockaddr_storage *out, socklen_t *size, struct err *e);

/* The port, in this host's byte order; 0 for a Unix socket. */
int listen_address_port(const struct sockaddr_storage *address);

/* Removes the file of a socket that nobody listens on any more, so that it can be bound again. A
 * file that is something else, or a socket in use, stays. */
void listen_address_clear(const struct sockaddr_storage *address, socklen_t size);

#endif
