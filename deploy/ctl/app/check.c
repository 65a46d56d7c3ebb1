/* `mayflyctl app check` and `app hook`: the App that the configuration names. */
#include "deploy/ctl/check.h"
#include "common/github/github.h"
#include "deploy/ctl/app/app.h"

/* As the worker, which has the App's key. */
static const struct ctl_check_part github_part[] = {
    {"mayfly-worker", CONFIG_FOR_WORKER, {check_github}},
};

int ctl_app_check(struct ctl *c, struct err *e)
{
    const char *url = ctl_option(c, "--webhook-url");
    if (url != NULL && app_check_webhook_url(c, url, e) != 0) {
        return -1;
    }
    return ctl_check_parts(c, github_part, COUNT_OF(github_part), url, e);
}

int ctl_app_hook(struct ctl *c, json_t **out, struct err *e)
{
    struct github *g = NULL;
    const char *url = c->argv[0];
    if (app_check_webhook_url(c, url, e) != 0) {
        return -1;
    }
    if (!config_has_app_keys(c->config)) {
        return err_set(e, ERR_AUTH, 0,
                       "the configuration has no github.app (or github.apps) with a private key "
                       "that this user can "
                       "read: run this as a user that can");
    }
    int rc = github_open(c->config, NULL, &g, e);
    if (rc == 0) {
        rc = github_set_hook_url(g, url, e);
    }
    github_close(g);
    if (rc == 0) {
        *out =
            json_pack("{s:s, s:s+}", "url", url, "did", "GitHub sends the App's webhooks to ", url);
    }
    return rc;
}
