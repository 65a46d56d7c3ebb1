#include "deploy/image/agent/agent_env.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"

#define PATH_VALUE "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
/* What the agent may add: the JIT config, six proxies, and short texts. */
#define ADDED_BYTES_MAX (PAYLOAD_CONFIG_MAX + 16384)

static bool is_one_of(struct slice name, const char *const names[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_eq_cstr(name, names[i])) {
            return true;
        }
    }
    return false;
}

static bool is_replaced(struct slice name, const struct agent_user *user, const struct payload *p)
{
    static const char *const left_out[] = {"ACTIONS_RUNNER_INPUT_JITCONFIG",
                                           "RUNNER_MANUALLY_TRAP_SIG", "PWD", "OLDPWD", "HOSTNAME"};
    static const char *const of_user[] = {"HOME", "USER", "LOGNAME"};
    static const char *const http[] = {"http_proxy", "HTTP_PROXY"};
    static const char *const https[] = {"https_proxy", "HTTPS_PROXY"};
    static const char *const none[] = {"no_proxy", "NO_PROXY"};
    return is_one_of(name, left_out, COUNT_OF(left_out)) ||
           (user != NULL && is_one_of(name, of_user, COUNT_OF(of_user))) ||
           (p != NULL && p->http_proxy.len > 0 && is_one_of(name, http, COUNT_OF(http))) ||
           (p != NULL && p->https_proxy.len > 0 && is_one_of(name, https, COUNT_OF(https))) ||
           (p != NULL && p->no_proxy.len > 0 && is_one_of(name, none, COUNT_OF(none)));
}

/* Programs read these variables in upper or lower case, so both are set. */
static void put_proxy(struct agent_env *env, const char *lower, const char *upper,
                      struct slice value)
{
    if (value.len > 0) {
        agent_env_put(env, lower, value);
        agent_env_put(env, upper, value);
    }
}

static void copy_image(struct agent_env *env, const struct agent_user *user,
                       const struct payload *payload)
{
    for (char *const *entry = environ; entry != NULL && *entry != NULL; entry++) {
        struct slice name, value;
        if (slice_cut(slice_of(*entry), '=', &name, &value) && !is_replaced(name, user, payload)) {
            buf_append(&env->text, slice_of(*entry));
            buf_append_byte(&env->text, '\0');
            env->count++;
        }
    }
}

static size_t image_bytes(void)
{
    size_t total = 0;
    for (char *const *entry = environ; entry != NULL && *entry != NULL; entry++) {
        total += strlen(*entry) + 1;
    }
    return total;
}

void agent_env_init(struct agent_env *env, const struct agent_user *user,
                    const struct payload *payload)
{
    *env = (struct agent_env){.count = 0};
    buf_init(&env->text, image_bytes() + ADDED_BYTES_MAX);
    copy_image(env, user, payload);
    if (getenv("PATH") == NULL) {
        agent_env_put(env, "PATH", SLICE(PATH_VALUE));
    }
    if (getenv("LANG") == NULL) {
        agent_env_put(env, "LANG", SLICE("C.UTF-8"));
    }
    if (user != NULL) {
        agent_env_put(env, "HOME", slice_of(user->home));
        agent_env_put(env, "USER", slice_of(user->name));
        agent_env_put(env, "LOGNAME", slice_of(user->name));
    }
    if (payload != NULL) {
        put_proxy(env, "http_proxy", "HTTP_PROXY", payload->http_proxy);
        put_proxy(env, "https_proxy", "HTTPS_PROXY", payload->https_proxy);
        put_proxy(env, "no_proxy", "NO_PROXY", payload->no_proxy);
    }
}

void agent_env_put(struct agent_env *env, const char *name, struct slice value)
{
    if (memchr(value.len > 0 ? value.ptr : "", '\0', value.len) != NULL) {
        env->failed = true;
        return;
    }
    buf_printf(&env->text, "%s=", name);
    buf_append(&env->text, value);
    buf_append_byte(&env->text, '\0');
    env->count++;
}

char **agent_env_entries(struct agent_env *env)
{
    if (env->failed || env->text.failed) {
        return NULL;
    }
    free(env->entries);
    env->entries = calloc(env->count + 1, sizeof(*env->entries));
    ASSERT(env->entries != NULL);
    char *next = env->text.data;
    for (size_t i = 0; i < env->count; i++) {
        env->entries[i] = next;
        next += strlen(next) + 1;
    }
    return env->entries;
}

void agent_env_fini(struct agent_env *env)
{
    if (env->text.data != NULL) {
        explicit_bzero(env->text.data, env->text.cap);
    }
    buf_fini(&env->text);
    free(env->entries);
    env->entries = NULL;
}
