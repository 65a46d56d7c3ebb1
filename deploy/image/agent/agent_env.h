/*
 * The environment of the programs that the agent starts.
 *
 * It is the image's own, which the agent was started with (ENV of a Dockerfile, the image's
 * environment variables, a unit's), so that a job finds JAVA_HOME, TZ or SSL_CERT_FILE as the image
 * sets them. The agent replaces what it must: the user's HOME, USER and LOGNAME, the proxies that
 * the payload names, and what it sets for the runner. PATH and LANG get a value where the image has
 * none; PWD, OLDPWD and HOSTNAME, which are true of the agent's start alone, are left out. One
 * thread.
 */
#ifndef MAYFLY_AGENT_ENV_H
#define MAYFLY_AGENT_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/payload/payload.h"
#include "deploy/image/agent/agent_user.h"

struct agent_env {
    struct buf text; /* NAME=value, each terminated */
    size_t count;
    char **entries;
    bool failed;
};

/* user: NULL for the agent's own; payload: whose proxies, NULL for none. */
void agent_env_init(struct agent_env *env, const struct agent_user *user,
                    const struct payload *payload);

/* A variable that agent_env_init leaves out; a value that cannot be one fails the whole. */
void agent_env_put(struct agent_env *env, const char *name, struct slice value);

/* For execve, valid until agent_env_fini; NULL if a value was not valid in an environment. */
MUST_CHECK char **agent_env_entries(struct agent_env *env);

/* Wipes it: it may contain the JIT config. */
void agent_env_fini(struct agent_env *env);

#endif
