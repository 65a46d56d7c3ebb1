/*
 * DynamoDB's expressions, as far as the ledger writes them, on items as jansson has them. Any thread.
 */
#ifndef MAYFLY_TESTS_BENCH_LEDGER_DYNAMO_EXPR_H
#define MAYFLY_TESTS_BENCH_LEDGER_DYNAMO_EXPR_H

#include <jansson.h>
#include <stdbool.h>

/* Whether the request's ConditionExpression holds; true without one. item: NULL if there is none. */
bool dynamo_expr_holds(const json_t *request, const json_t *item);
/* Carries the request's UpdateExpression out: SET, ADD, REMOVE. */
void dynamo_expr_update(const json_t *request, json_t *item);

#endif
