#include <stdio.h>
#include <string.h>

#include "common/base/random.h"
#include "common/ledger/ledger_front.h"

#define UNIQUE_BYTES 6
#define AROUND_CLASS (sizeof "mf--" - 1 + 1 + 2 * UNIQUE_BYTES) /* and the deployment */

/* GitHub takes more characters, host names and clientTokens do not. */
static char plain(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    return fine ? c : '-';
}

void ledger_make_vm_name(const char *deployment, const char *class_name, char *out, size_t size)
{
    char unique[2 * UNIQUE_BYTES + 1];
    char class_part[LEDGER_VM_NAME_MAX + 1];
    size_t fixed = AROUND_CLASS + strlen(deployment);
    ASSERT(fixed < LEDGER_VM_NAME_MAX && size > LEDGER_VM_NAME_MAX);
    size_t len = strnlen(class_name, LEDGER_VM_NAME_MAX - fixed);
    for (size_t i = 0; i < len; i++) {
        class_part[i] = plain(class_name[i]);
    }
    class_part[len] = '\0';
    random_hex(unique, UNIQUE_BYTES);
    (void)snprintf(out, size, "mf-%s-%s-%s", deployment, class_part, unique);
}
