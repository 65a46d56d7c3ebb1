#include "worker/launch_payload.h"

#include "common/payload/payload.h"
#include "common/vm/proxy.h"

/* The agent's limits are whole seconds: round up. */
static int64_t whole_seconds(int64_t ms)
{
    return (ms + 999) / 1000;
}

int launch_pack_payload(const struct config_class *class, const char *jit_config,
                        const char *runner_name, struct buf *out, struct err *e)
{
    struct vm_proxy_env proxy;
    vm_proxy_env_of(class, &proxy);
    const struct payload p = {
        .jit_config = slice_of(jit_config),
        .runner_name = slice_of(runner_name),
        .http_proxy = slice_of(proxy.http),
        .https_proxy = slice_of(proxy.https),
        .no_proxy = slice_of(proxy.no_proxy),
        .idle_seconds = whole_seconds(class->idle_timeout_ms),
        .max_duration_seconds = whole_seconds(class->max_duration_ms),
        .hold_seconds = whole_seconds(class->hold_on_failure_ms),
    };
    if (payload_pack(&p, out, e) != 0) {
        return err_said_by(e, ERR_FROM_PROVIDER); /* it has no room for it; not the job's fault */
    }
    return 0;
}
