#include "common/base/protect.h"

#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/attr.h"

int protect_landlock_abi(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (int)version : 0;
}

void protect_memory(void)
{
    /* Neither can fail: lowering a limit is always allowed, and 0 is a valid value (prctl(2)). */
    int failed = setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    failed |= MAYFLY_SANITIZED ? 0 : prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    ASSERT(failed == 0);
}
