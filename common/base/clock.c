#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/base/attr.h"
#include "common/base/liveness.h"
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
    liveness_rest();
    (void)nanosleep(&ts, NULL);
    liveness_beat();
}

void clock_format_utc(int64_t wall_ms, char *out, size_t size)
{
    struct tm tm;
    char day[32];
    int millis = (int)((wall_ms % 1000 + 1000) % 1000); /* also before 1970 */
    time_t seconds = (time_t)((wall_ms - millis) / 1000);
    ASSERT(size >= 25 && gmtime_r(&seconds, &tm) != NULL);
    ASSERT(strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) > 0);
    int n = snprintf(out, size, "%s.%03dZ", day, millis);
    ASSERT(n > 0);
}

/* The fraction ".123456" in ms; advances *p past it. False for a point without digits. */
static bool parse_fraction(const char **p, int64_t *ms)
{
    int64_t unit = 100;
    *ms = 0;
    if (**p != '.') {
        return true;
    }
    const char *first = ++*p;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        *ms += (**p - '0') * unit;
        unit /= 10;
    }
    return *p > first;
}

/* Whether text begins like `shape`, in which 0 matches any digit. */
static bool has_shape(const char *text, const char *shape)
{
    for (; *shape != '\0'; text++, shape++) {
        bool digit = *text >= '0' && *text <= '9';
        if (*shape == '0' ? !digit : *text != *shape) {
            return false;
        }
    }
    return true;
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
    if ((*p != '+' && *p != '-') || strlen(p) != 6 || !has_shape(p + 1, "00:00") ||
        !slice_to_int64((struct slice){p + 1, 2}, &hours) || hours > 23 ||
        !slice_to_int64((struct slice){p + 4, 2}, &minutes) || minutes > 59) {
        return false;
    }
    *seconds = (hours * 60 + minutes) * 60 * (*p == '-' ? -1 : 1);
    return true;
}

/* timegm would turn the 31st of February into a day in March. */
static bool is_day(const struct tm *tm)
{
    struct tm day = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};
    (void)timegm(&day);
    return day.tm_mday == tm->tm_mday;
}

int64_t clock_parse_utc(const char *text)
{
    struct tm tm = {0};
    int64_t offset = 0;
    int64_t fraction_ms = 0;
    /* strptime alone would accept white space and short numbers. */
    const char *p =
        has_shape(text, "0000-00-00T00:00:00") ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    if (p == NULL || !is_day(&tm) || !parse_fraction(&p, &fraction_ms) ||
        !parse_offset(p, &offset)) {
        return -1;
    }
    return ((int64_t)timegm(&tm) - offset) * 1000 + fraction_ms;
}
