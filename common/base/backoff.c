#include "common/base/backoff.h"

#include "common/base/random.h"

int64_t backoff_ceiling_ms(int64_t base_ms, int64_t cap_ms, int attempt)
{
    int64_t ceiling = base_ms;
    for (int i = 1; i < attempt && ceiling < cap_ms; i++) {
        ceiling = ceiling > cap_ms / 2 ? cap_ms : ceiling * 2;
    }
    return ceiling < cap_ms ? ceiling : cap_ms;
}

int64_t backoff_full_jitter_ms(int64_t base_ms, int64_t cap_ms, int attempt)
{
    int64_t ceiling = backoff_ceiling_ms(base_ms, cap_ms, attempt);
    return 1 + (int64_t)random_below((uint64_t)ceiling);
}
