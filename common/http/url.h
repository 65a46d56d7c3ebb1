/*
 * Whether two URLs are of one server, for redirects. Pure, any thread.
 */
#ifndef MAYFLY_HTTP_URL_H
#define MAYFLY_HTTP_URL_H

#include <stdbool.h>

/* The same scheme, host and port; or from port 80 of a host to its port 443. */
bool url_same_host(const char *from, const char *to);

#endif
