/* Source: docs.github.com, "Permissions required for GitHub Apps". */
#include "common/github/app_needs.h"

#include <stddef.h>
#include <string.h>

#include "common/base/attr.h"

const struct github_app_need github_app_needs[GITHUB_APP_NEEDS] = {
    {"organization_self_hosted_runners", "Self-hosted runners (organization)", "write",
     .organization = true},
    {"administration", "Administration (repository)", "write", .repository = true},
    {"actions", "Actions (repository)", "read", .organization = true, .repository = true,
     .when = GITHUB_NEEDED_UNLESS},
    {"actions", "Actions (repository)", "write", .organization = true, .repository = true,
     .when = GITHUB_NEEDED_TO_GIVE_UP},
    {"checks", "Checks (repository)", "write", .organization = true, .repository = true,
     .when = GITHUB_NEEDED_TO_GIVE_UP},
    {"metadata", "Metadata (repository)", "read", .organization = true, .repository = true},
};

static size_t rank_of(const char *level)
{
    static const char *const levels[] = {"", "read", "write", "admin"};
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        if (strcmp(levels[i], level) == 0) {
            return i;
        }
    }
    return 0;
}

bool github_app_needs_it(const struct github_app_need *need, bool organization, bool repository,
                         bool give_up)
{
    bool now = need->when == GITHUB_NEEDED || (need->when == GITHUB_NEEDED_TO_GIVE_UP) == give_up;
    bool everywhere = need->organization && need->repository; /* also where a token registers */
    return now &&
           (everywhere || (need->organization && organization) || (need->repository && repository));
}

bool github_level_suffices(const struct github_app_need *need, const char *level)
{
    return rank_of(level) >= rank_of(need->level);
}
