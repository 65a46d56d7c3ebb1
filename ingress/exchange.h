/*
 * From the bytes of a connection to its requests, and from their answers to bytes.
 *
 * A request is refused as soon as its head shows it: then it is answered at once, and its body is
 * neither kept nor awaited. One request of a connection is processed at a time; what the peer sends
 * behind it waits. For the loop's thread.
 */
#ifndef MAYFLY_INGRESS_EXCHANGE_H
#define MAYFLY_INGRESS_EXCHANGE_H

#include "ingress/answer.h"
#include "ingress/conn.h"

extern const struct conn_handler exchange_handler;

/* Answers the request that is read or processed; c may be closed by it. */
void exchange_answer(struct conn *c, const struct answer *a);

/* After an answer that was given later than its request was read: takes what came meanwhile. */
void exchange_go_on(struct conn *c);

#endif
