/*
 * What the fuzz targets of the services' clients share: any bytes as an answer, and the promise
 * that all clients make of the texts they cut out of one.
 */
#ifndef MAYFLY_TESTS_FUZZ_ANSWER_H
#define MAYFLY_TESTS_FUZZ_ANSWER_H

#include "common/base/slice.h"
#include "common/http/client.h"

/* The text as an answer: header lines, an empty line and the body; without an empty line all of it
 * is header lines. To be ended with http_response_fini. */
void fuzz_answer(struct slice text, int status, struct http_response *out);

/* Crashes unless the text ends within its size and is printable ASCII. */
void fuzz_check_printable(const char *text, size_t size);

#endif
