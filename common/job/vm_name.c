#include "common/job/vm_name.h"

#include <stdio.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/hash.h"
#include "common/base/random.h"

#define NAME_MAX_CHARS 64
#define MARK_SIZE 5
#define UNIQUE_BYTES 6
#define AROUND (sizeof "mf-" - 1 + 2 * (MARK_SIZE - 1) + sizeof "---" - 1 + 2 * UNIQUE_BYTES)

_Static_assert(NAME_MAX_CHARS < VM_NAME_SIZE, "a name and its terminator");

/* Four hex digits of a text's hash. */
static const char *mark_of(const char *text, char out[MARK_SIZE])
{
    uint64_t hash = hash_text(text);
    (void)snprintf(out, MARK_SIZE, "%04x",
                   (unsigned)((hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48) & 0xffff));
    return out;
}

/* GitHub takes more characters, host names and clientTokens do not. */
static char plain(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return fine ? c : '-';
}

void vm_name_make(const char *deployment, const char *class_name, char out[VM_NAME_SIZE])
{
    char owner[MARK_SIZE];
    char class_mark[MARK_SIZE];
    char class_part[NAME_MAX_CHARS];
    char unique[2 * UNIQUE_BYTES + 1];
    size_t fixed = AROUND + strlen(deployment);
    ASSERT(fixed <= AROUND + DEPLOYMENT_NAME_MAX);
    size_t len = strnlen(class_name, NAME_MAX_CHARS - fixed);
    for (size_t i = 0; i < len; i++) {
        class_part[i] = plain(class_name[i]);
    }
    class_part[len] = '\0';
    random_hex(unique, UNIQUE_BYTES);
    int n = snprintf(out, VM_NAME_SIZE, "mf-%s%s-%s-%s-%s", mark_of(deployment, owner),
                     mark_of(class_name, class_mark), deployment, class_part, unique);
    ASSERT(n > 0 && n <= NAME_MAX_CHARS);
}

static bool take(const char **at, const char *text)
{
    size_t len = strlen(text);
    if (strncmp(*at, text, len) != 0) {
        return false;
    }
    *at += len;
    return true;
}

bool vm_name_is_owned(const char *name, const char *deployment)
{
    char owner[MARK_SIZE];
    const char *at = name;
    if (!take(&at, "mf-") || !take(&at, mark_of(deployment, owner)) ||
        strspn(at, "0123456789abcdef") != MARK_SIZE - 1) {
        return false;
    }
    at += MARK_SIZE - 1;
    return take(&at, "-") && take(&at, deployment) && *at == '-';
}
