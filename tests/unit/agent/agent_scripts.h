/*
 * Scripted runners for the agent's tests: a temporary directory, shell scripts in it, and packed
 * payloads. Failures are assertions of cmocka. One thread.
 */
#ifndef MAYFLY_TEST_AGENT_SCRIPTS_H
#define MAYFLY_TEST_AGENT_SCRIPTS_H

#include "common/base/buf.h"
#include "common/payload/payload.h"

struct scripts {
    char dir[64];
    char path[96]; /* of the script written last */
};

void scripts_open(struct scripts *s);
void scripts_close(struct scripts *s);

/* Writes dir/run.sh with a #! line and the body, executable. Returns its path. */
const char *scripts_write(struct scripts *s, const char *body);

/* The text of dir/name; out is reset first. */
void scripts_read(const struct scripts *s, const char *name, struct buf *out);

/* dir/name must hold exactly that text. */
void scripts_expect(const struct scripts *s, const char *name, const char *want);

/* Appends the packed payload. */
void scripts_pack(const struct payload *p, struct buf *out);

#endif
