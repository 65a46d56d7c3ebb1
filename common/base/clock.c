#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/attr.h"
#include "common/base/slice.h"

static int64_t system_mono_us(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t system_wall_ms(void)
{
    struct timespec ts;
    ASSERT(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const struct clock_source system_source = {system_mono_us, system_wall_ms};
static const struct clock_source *current = &system_source;

void clock_set_source(const struct clock_source *source)
{
    current = source != NULL ? source : &system_source;
}

int64_t clock_mono_us(void)
{
    return current->mono_us();
}

int64_t clock_mono_ms(void)
{
    return current->mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
    return current->wall_ms();
}

void clock_sleep_until(int64_t mono_ms)
{
    int64_t left = mono_ms - clock_mono_ms();
    if (left <= 0) {
        return;
    }
    struct timespec ts = {.tv_sec = (time_t)(left / 1000),
                          .tv_nsec = (long)(left % 1000) * 1000000};
    (void)nanosleep(&ts, NULL);
}

void clock_format_utc(int64_t wall_ms, char *out, size_t size)
{
    struct tm tm;
    char day[32];
    time_t seconds = (time_t)(wall_ms / 1000);
    int millis = (int)(wall_ms % 1000);
    ASSERT(size >= 25 && gmtime_r(&seconds, &tm) != NULL);
    ASSERT(strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) > 0);
    int n = snprintf(out, size, "%s.%03dZ", day, millis);
    ASSERT(n > 0);
}

/* The fraction ".123456" in ms; advances *p past it. */
static int64_t parse_fraction(const char **p)
{
    int64_t ms = 0;
    int64_t unit = 100;
    if (**p != '.') {
        return 0;
    }
    for ((*p)++; **p >= '0' && **p <= '9'; (*p)++) {
        ms += (**p - '0') * unit;
        unit /= 10;
    }
    return ms;
}

/* "Z" or "+hh:mm" at the end, as seconds to subtract; false if it is neither. */
static bool parse_offset(const char *p, int64_t *seconds)
{
    int64_t hours = 0;
    int64_t minutes = 0;
    *seconds = 0;
    if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0) {
        return true;
    }
    if ((*p != '+' && *p != '-') || strlen(p) != 6 || p[3] != ':' ||
        !slice_to_int64((struct slice){p + 1, 2}, &hours) ||
        !slice_to_int64((struct slice){p + 4, 2}, &minutes)) {
        return false;
    }
    *seconds = (hours * 60 + minutes) * 60 * (*p == '-' ? -1 : 1);
    return true;
}

int64_t clock_parse_utc(const char *text)
{
    struct tm tm = {0};
    int64_t offset = 0;
    const char *p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (p == NULL) {
        return -1;
    }
    int64_t fraction_ms = parse_fraction(&p);
    if (!parse_offset(p, &offset)) {
        return -1;
    }
    time_t seconds = timegm(&tm);
    return ((int64_t)seconds - offset) * 1000 + fraction_ms;
}
