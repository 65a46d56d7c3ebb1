#include "common/config/idle/min_idle.h"

#include "common/base/attr.h"
#include "common/config/config.h"

#define MINUTES_PER_DAY 1440
#define DAYS_PER_WEEK 7
#define EPOCH_WEEKDAY 3 /* 1970-01-01 was a Thursday; Monday is 0 */

struct span {
    int first_day; /* 0: Monday */
    int last_day;
    int begin; /* minutes of the day */
    int end;
};

static bool parse_day(struct slice s, int *out)
{
    static const char *const names[DAYS_PER_WEEK] = {"mon", "tue", "wed", "thu",
                                                     "fri", "sat", "sun"};
    for (int i = 0; i < DAYS_PER_WEEK; i++) {
        if (slice_eq_nocase(s, slice_of(names[i]))) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool parse_days(struct slice s, struct span *out)
{
    struct slice first;
    struct slice last;
    bool two = slice_cut(s, '-', &first, &last);
    return parse_day(first, &out->first_day) && parse_day(two ? last : first, &out->last_day);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HH:MM, up to 24:00. */
static bool parse_time(struct slice s, int *out)
{
    if (s.len != 5 || s.ptr[2] != ':' || !is_digit(s.ptr[0]) || !is_digit(s.ptr[1]) ||
        !is_digit(s.ptr[3]) || !is_digit(s.ptr[4])) {
        return false;
    }
    int minutes = (s.ptr[3] - '0') * 10 + s.ptr[4] - '0';
    *out = ((s.ptr[0] - '0') * 10 + s.ptr[1] - '0') * 60 + minutes;
    return minutes < 60 && *out <= MINUTES_PER_DAY;
}

static bool parse_times(struct slice s, struct span *out)
{
    struct slice begin;
    struct slice end;
    return slice_cut(s, '-', &begin, &end) && parse_time(begin, &out->begin) &&
           parse_time(end, &out->end) && out->begin < MINUTES_PER_DAY;
}

static bool parse_span(struct slice item, struct span *out)
{
    struct slice days;
    struct slice times;
    bool both = slice_cut(item, ' ', &days, &times);
    *out = (struct span){.last_day = DAYS_PER_WEEK - 1, .end = MINUTES_PER_DAY};
    if (both) {
        return parse_days(days, out) && parse_times(slice_trim(times), out);
    }
    return parse_days(item, out) || parse_times(item, out);
}

const char *schedule_trouble(struct slice item)
{
    struct span span;
    if (!parse_span(item, &span)) {
        return "must be days (mon to sun), a time range in UTC (HH:MM), or both, such as "
               "mon-fri 07:00-19:00";
    }
    return span.begin == span.end
               ? "begins and ends at the same time: leave the times out for the whole day"
               : NULL;
}

static bool has_day(const struct span *span, int day)
{
    return span->first_day <= span->last_day ? day >= span->first_day && day <= span->last_day
                                             : day >= span->first_day || day <= span->last_day;
}

bool schedule_contains(struct slice item, int64_t at_ms)
{
    struct span span;
    int64_t minutes = at_ms / 60000;
    int minute = (int)(minutes % MINUTES_PER_DAY);
    int day = (int)((minutes / MINUTES_PER_DAY + EPOCH_WEEKDAY) % DAYS_PER_WEEK);
    int day_before = (day + DAYS_PER_WEEK - 1) % DAYS_PER_WEEK;
    if (!parse_span(item, &span)) {
        return false;
    }
    if (span.begin < span.end) {
        return has_day(&span, day) && minute >= span.begin && minute < span.end;
    }
    return (has_day(&span, day) && minute >= span.begin) ||
           (has_day(&span, day_before) && minute < span.end);
}

static bool is_scheduled(const struct config_list *schedule, int64_t now_ms)
{
    for (size_t i = 0; i < schedule->count; i++) {
        if (schedule_contains(slice_of(schedule->items[i]), now_ms)) {
            return true;
        }
    }
    return schedule->count == 0;
}

int64_t config_idle_wanted(const struct config_class *class, int64_t now_ms)
{
    bool keeps = !config_class_is_retired(class) && is_scheduled(&class->min_idle.schedule, now_ms);
    return keeps ? class->min_idle.count * (int64_t) class->min_idle.scopes.count : 0;
}

int64_t config_min_idle(const struct config_class *class, const char *scope, int64_t now_ms)
{
    const struct config_list *scopes = &class->min_idle.scopes;
    bool keeps = config_idle_wanted(class, now_ms) > 0;
    for (size_t i = 0; keeps && i < scopes->count; i++) {
        if (slice_eq_nocase(slice_of(scopes->items[i]), slice_of(scope))) {
            return class->min_idle.count;
        }
    }
    return 0;
}
