/*
 * Randomness from the kernel, replaceable in tests.
 *
 * random_set_source is for tests, before threads start; the rest is safe from any thread. Never
 * fails: a kernel without getrandom aborts the program.
 */
#ifndef MAYFLY_BASE_RANDOM_H
#define MAYFLY_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t size);

/* Uniform in [0, bound); bound >= 1. */
uint64_t random_below(uint64_t bound);

/* Writes 2*bytes lower-case hex digits and a NUL; out holds 2*bytes+1, bytes <= 64. */
void random_hex(char *out, size_t bytes);

typedef void random_source_fn(void *out, size_t size);
/* NULL restores the kernel's. */
void random_set_source(random_source_fn *source);

#endif
