/*
 * Addresses of the configuration that other hosts reach, without TLS or without a password: the
 * Redis and Kafka stores, and a program's admin port. They are allowed, and warned about at the
 * start and by --check-config.
 *
 * Only the text is judged: loopback is 127.0.0.0/8, ::1, localhost and a socket's path. A value
 * that is not fetched yet ("ssm:…") is left out. Pure functions, safe from any thread.
 */
#ifndef MAYFLY_CHECK_ADDRESSES_H
#define MAYFLY_CHECK_ADDRESSES_H

#include "common/base/slice.h"
#include "common/config/config.h"

/* An address that lacks protection. All texts are static; none is of the URL, which may hold a
 * password. */
struct address_gap {
    const char *setting; /* "queue" */
    const char *lacks;   /* "no TLS", …; NULL: nothing, it is protected or not reachable */
    const char *action;
};

struct address_gap address_of_store(const char *setting, struct slice url);
struct address_gap address_of_admin(const char *setting, struct slice listen);

/* Those that the program uses and that lack something; out holds ADDRESS_GAPS_MAX. Returns how
 * many. */
#define ADDRESS_GAPS_MAX 4
size_t addresses_unprotected(const struct config *c, enum config_for who,
                             struct address_gap out[ADDRESS_GAPS_MAX]);

#endif
