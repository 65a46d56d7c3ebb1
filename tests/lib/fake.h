/*
 * The control of a stand-in of tests/fakes, for tests that use cmocka: what it is told to do wrong,
 * and what it has seen. What there is to tell and to ask stands in the stand-in's README.
 *
 * `address` is the stand-in's, as http://127.0.0.1:PORT; paths are those behind /_fake. An answer
 * that does not come, or is none of 200 to 299, fails the running test. Each call is a connection
 * of its own. For the thread that runs the test alone.
 */
#ifndef MAYFLY_TEST_FAKE_H
#define MAYFLY_TEST_FAKE_H

#include <jansson.h>

/* The answer, owned (json_decref); NULL if it is not JSON. body: "" for none. */
json_t *fake_ask(const char *address, const char *method, const char *path, const char *body);
/* POST, and whatever it answers. */
void fake_tell(const char *address, const char *path, const char *body);
/* Adds faults; NULL takes all back. */
void fake_faults(const char *address, const char *json);

#endif
