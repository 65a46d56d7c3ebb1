#include "common/job/vm_name.h"

#include <stdio.h>
#include <string.h>

#include "common/base/attr.h"
#include "common/base/hash.h"
#include "common/base/random.h"

#define NAME_MAX_CHARS 64
#define DIGITS_SIZE 5
#define UNIQUE_BYTES 6
#define FIXED_CHARS (sizeof "mf-" - 1 + 2 * (DIGITS_SIZE - 1) + sizeof "---" - 1 + 2 * UNIQUE_BYTES)

_Static_assert(NAME_MAX_CHARS < VM_NAME_SIZE, "a name and its terminator");

/* Four hex digits of a text's hash. */
static const char *hash_digits(const char *text, char out[DIGITS_SIZE])
{
    uint64_t hash = hash_text(text);
    (void)snprintf(out, DIGITS_SIZE, "%04x",
                   (unsigned)((hash ^ hash >> 16 ^ hash >> 32 ^ hash >> 48) & 0xffff));
    return out;
}

/* GitHub accepts more characters, but host names and clientTokens do not. */
static char name_char(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return fine ? c : '-';
}

void vm_name_make(const char *deployment, const char *class_name, char out[VM_NAME_SIZE])
{
    char owner[DIGITS_SIZE];
    char class_digits[DIGITS_SIZE];
    char class_part[NAME_MAX_CHARS];
    char unique[2 * UNIQUE_BYTES + 1];
    size_t fixed = FIXED_CHARS + strlen(deployment);
    ASSERT(fixed <= FIXED_CHARS + DEPLOYMENT_NAME_MAX);
    size_t len = strnlen(class_name, NAME_MAX_CHARS - fixed);
    for (size_t i = 0; i < len; i++) {
        class_part[i] = name_char(class_name[i]);
    }
    class_part[len] = '\0';
    random_hex(unique, UNIQUE_BYTES);
    int n = snprintf(out, VM_NAME_SIZE, "mf-%s%s-%s-%s-%s", hash_digits(deployment, owner),
                     hash_digits(class_name, class_digits), deployment, class_part, unique);
    ASSERT(n > 0 && n <= NAME_MAX_CHARS);
}

static bool skip_prefix(const char **at, const char *text)
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
    char owner[DIGITS_SIZE];
    const char *at = name;
    if (!skip_prefix(&at, "mf-") || !skip_prefix(&at, hash_digits(deployment, owner)) ||
        strspn(at, "0123456789abcdef") != DIGITS_SIZE - 1) {
        return false;
    }
    at += DIGITS_SIZE - 1;
    return skip_prefix(&at, "-") && skip_prefix(&at, deployment) && *at == '-';
}

bool vm_name_is_of_class(const char *name, const char *class_name)
{
    char digits[DIGITS_SIZE];
    const size_t before = sizeof "mf-" - 1 + DIGITS_SIZE - 1; /* and the deployment's digits */
    return strnlen(name, before) == before && strncmp(name, "mf-", 3) == 0 &&
           strncmp(name + before, hash_digits(class_name, digits), DIGITS_SIZE - 1) == 0;
}

void place_name_make(const char *class_name, const char *target, char out[PLACE_NAME_SIZE])
{
    int n =
        snprintf(out, PLACE_NAME_SIZE, "%s%s%s", class_name, target[0] != '\0' ? "@" : "", target);
    ASSERT(n >= 0 && n < PLACE_NAME_SIZE);
}
