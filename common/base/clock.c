#include "common/base/clock.h"

#include <string.h>
#include <time.h>

#include "common/base/attr.h"
#include "common/base/liveness.h"
#include "common/base/slice.h"

#define WALL_MIN_MS INT64_C(-62167219200000) /* the year 0 */

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

static void write_digits(char *out, int digits, int64_t value)
{
    while (digits-- > 0) {
        out[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

void clock_format_utc(int64_t wall_ms, char *out, size_t size)
{
    static const char shape[] = "0000-00-00T00:00:00.000Z";
    struct tm tm;
    wall_ms = wall_ms > CLOCK_WALL_MAX_MS ? CLOCK_WALL_MAX_MS : wall_ms;
    wall_ms = wall_ms < WALL_MIN_MS ? WALL_MIN_MS : wall_ms;
    int64_t millis = (wall_ms % 1000 + 1000) % 1000; /* also before 1970 */
    time_t seconds = (time_t)((wall_ms - millis) / 1000);
    ASSERT(size >= sizeof shape && gmtime_r(&seconds, &tm) != NULL);
    memcpy(out, shape, sizeof shape);
    write_digits(out, 4, tm.tm_year + 1900);
    write_digits(out + 5, 2, tm.tm_mon + 1);
    write_digits(out + 8, 2, tm.tm_mday);
    write_digits(out + 11, 2, tm.tm_hour);
    write_digits(out + 14, 2, tm.tm_min);
    write_digits(out + 17, 2, tm.tm_sec);
    write_digits(out + 20, 3, millis);
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

static int digits_at(const char *text, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++) {
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* timegm would turn the 31st of February into a day in March. */
static bool is_time(const struct tm *tm)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = tm->tm_year + 1900;
    if (tm->tm_mon < 0 || tm->tm_mon > 11) {
        return false;
    }
    bool leap = tm->tm_mon == 1 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return tm->tm_mday >= 1 && tm->tm_mday <= days[tm->tm_mon] + leap && tm->tm_hour <= 23 &&
           tm->tm_min <= 59 && tm->tm_sec <= 60;
}

int64_t clock_parse_utc(const char *text)
{
    static const char shape[] = "0000-00-00T00:00:00";
    int64_t offset = 0;
    int64_t fraction_ms = 0;
    if (!has_shape(text, shape)) {
        return -1;
    }
    struct tm tm = {.tm_year = digits_at(text, 4) - 1900,
                    .tm_mon = digits_at(text + 5, 2) - 1,
                    .tm_mday = digits_at(text + 8, 2),
                    .tm_hour = digits_at(text + 11, 2),
                    .tm_min = digits_at(text + 14, 2),
                    .tm_sec = digits_at(text + 17, 2)};
    const char *p = text + sizeof shape - 1;
    if (!is_time(&tm) || !parse_fraction(&p, &fraction_ms) || !parse_offset(p, &offset)) {
        return -1;
    }
    return ((int64_t)timegm(&tm) - offset) * 1000 + fraction_ms;
}
