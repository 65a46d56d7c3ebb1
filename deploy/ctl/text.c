#include <stdio.h>

#include "common/base/clock.h"
#include "deploy/ctl/ctl.h"

json_t *ctl_text(const char *s)
{
    json_t *text = json_string(s);
    return text != NULL ? text : json_string("(not readable as UTF-8)");
}

json_t *ctl_time(int64_t wall_ms)
{
    char text[32];
    if (wall_ms == 0) {
        return json_null();
    }
    clock_format_utc(wall_ms, text, sizeof text);
    return json_string(text);
}

const char *ctl_duration(int64_t ms, char out[24])
{
    long long s = ms / 1000;
    if (ms < 60000) {
        (void)snprintf(out, 24, "%lld.%lld s", s, (long long)(ms % 1000) / 100);
    } else if (s < 3600) {
        (void)snprintf(out, 24, "%lldm%02llds", s / 60, s % 60);
    } else {
        (void)snprintf(out, 24, "%lldh%02lldm", s / 3600, s / 60 % 60);
    }
    return out;
}

const char *ctl_str(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

int64_t ctl_int(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

void ctl_done_print(const json_t *answer)
{
    printf("%s\n", ctl_str(answer, "did"));
}
