/*
 * The one function of a fuzz target, as libFuzzer and replay_main.c call it.
 *
 * `data` is any text at all; the target returns 0 and says what it finds by crashing (ASSERT).
 */
#ifndef MAYFLY_TESTS_FUZZ_H
#define MAYFLY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
