/*
 * Controls a stand-in of tests/fakes, for tests that use cmocka: its faults and its records. The
 * stand-in's README lists the calls.
 *
 * `address` is the stand-in's, such as http://127.0.0.1:PORT; paths are relative to /_fake. A
 * missing response, or a status outside 200 to 299, fails the running test. Each call has its own
 * connection. Only for the thread that runs the test.
 */
#ifndef MAYFLY_TEST_FAKE_H
#define MAYFLY_TEST_FAKE_H

#include <jansson.h>

/* The response, owned (json_decref); NULL if it is not JSON. body: "" for none. */
json_t *fake_call(const char *address, const char *method, const char *path, const char *body);
/* POST; ignores the response's content. */
void fake_post(const char *address, const char *path, const char *body);
/* Adds faults; NULL removes all. */
void fake_faults(const char *address, const char *json);

#endif
