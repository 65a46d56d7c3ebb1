/*
 * Two clocks, in milliseconds, that a test can replace.
 *
 * Monotonic time is for waiting and measuring within a process; wall time (Unix epoch) is for
 * signing and for deadlines that are stored and read by other processes. clock_set_source is for
 * tests and must be called before threads start; the rest is safe from any thread.
 */
#ifndef MAYFLY_BASE_CLOCK_H
#define MAYFLY_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_wall_ms(void);

/* The last ms of the year 9999: a later wall time from outside is invalid. */
#define CLOCK_WALL_MAX_MS INT64_C(253402300799999)

/* Sleeps until `mono_ms` unless it is past; may wake early on a signal. */
void clock_sleep_until(int64_t mono_ms);

/* "2026-11-20T18:12:03.456Z" (RFC 3339, UTC). size >= 25. */
void clock_format_utc(int64_t wall_ms, char *out, size_t size);

/* Parses RFC 3339 as GitHub writes it ("2026-11-20T18:12:03Z", fraction and offset allowed).
 * Returns the wall time in ms, or -1. */
int64_t clock_parse_utc(const char *text);

struct clock_source {
    int64_t (*mono_us)(void);
    int64_t (*wall_ms)(void);
};
/* NULL restores the system's clocks. */
void clock_set_source(const struct clock_source *source);

#endif
