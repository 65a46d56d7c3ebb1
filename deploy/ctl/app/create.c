/* `mayflyctl app create`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/printable.h"
#include "deploy/ctl/app/app.h"

#define TIMEOUT_MS (INT64_C(3600) * 1000) /* GitHub's code is valid for as long */

struct creation {
    const struct app_plan *plan;
    struct app_keep *keep;
    struct app_credentials made;
};

/* The code has been used by then: what cannot be kept is lost here, and can be had again there. */
static int keep_all(struct creation *c, struct err *e)
{
    char id[24];
    (void)snprintf(id, sizeof id, "%" PRId64, c->made.id);
    const struct slice values[APP_PARTS] = {[APP_ID] = slice_of(id),
                                            [APP_KEY] = buf_slice(&c->made.key),
                                            [APP_WEBHOOK_SECRET] =
                                                buf_slice(&c->made.webhook_secret)};
    if (c->keep->ops->store(c->keep, values, e) == 0) {
        return 0;
    }
    e->class = ERR_PERMANENT; /* no reload helps */
    return err_wrap(e,
                    "the App %s was created, but not all of its credentials could be kept: on its "
                    "page, %s, generate a new private key and set a new webhook secret, or delete "
                    "it",
                    c->made.slug, c->made.url);
}

static int exchange(void *arg, const char *code, struct err *e)
{
    struct creation *c = arg;
    return app_convert(c->plan, code, &c->made, e) == 0 ? keep_all(c, e) : -1;
}

static int open_keep(struct ctl *c, struct app_keep **out, struct err *e)
{
    const char *prefix = ctl_option(c, "--ssm");
    const char *directory = ctl_option(c, "--output");
    if (prefix != NULL && directory != NULL) {
        c->exit_code = CTL_EXIT_USAGE;
        return err_set(e, ERR_PERMANENT, 0, "--ssm excludes --output: give one of the two");
    }
    return prefix != NULL ? app_keep_in_ssm(prefix, out, e)
                          : app_keep_in_files(directory != NULL ? directory : ".", out, e);
}

static json_t *answer_of(const struct creation *c)
{
    char install[APP_URL_SIZE + 32];
    (void)snprintf(install, sizeof install, "%s/installations/new", c->made.url);
    json_t *refs = json_pack("{s:o, s:o, s:o}", "id", ctl_text(c->keep->refs[APP_ID]),
                             "private_key", ctl_text(c->keep->refs[APP_KEY]), "webhook_secret",
                             ctl_text(c->keep->refs[APP_WEBHOOK_SECRET]));
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:b, s:o}", "id", (json_int_t)c->made.id, "name",
                     c->made.slug, "url", c->made.url, "install_url", install, "api_url",
                     c->plan->api, "pull", c->plan->pull, "kept", refs);
}

static int create(struct ctl *c, const struct app_plan *plan, json_t **out, struct err *e)
{
    struct creation creation = {.plan = plan};
    if (open_keep(c, &creation.keep, e) != 0) {
        return -1;
    }
    app_credentials_init(&creation.made);
    const struct app_page page = {.plan = plan,
                                  .exchange = exchange,
                                  .arg = &creation,
                                  .open_browser = ctl_option(c, "--no-browser") == NULL,
                                  .timeout_ms = TIMEOUT_MS};
    int rc = app_page_serve(&page, e);
    if (rc == 0) {
        *out = answer_of(&creation);
    }
    app_credentials_fini(&creation.made);
    app_keep_close(creation.keep);
    return rc;
}

int ctl_app_create(struct ctl *c, json_t **out, struct err *e)
{
    struct app_plan plan;
    if (app_plan_read(c, &plan, e) != 0) {
        return -1;
    }
    app_block_signals(true);
    int rc = create(c, &plan, out, e);
    app_block_signals(false);
    return rc;
}

void ctl_app_create_print(const json_t *answer)
{
    const json_t *kept = json_object_get(answer, "kept");
    const char *api = ctl_str(answer, "api_url");
    printable_line(stdout, "The App %s is created (id %" PRId64 "). Kept: %s, %s, %s",
                   ctl_str(answer, "name"), ctl_int(answer, "id"), ctl_str(kept, "id"),
                   ctl_str(kept, "private_key"), ctl_str(kept, "webhook_secret"));
    printable_line(stdout, "1. Install it, on the repositories whose jobs Mayfly runs: %s",
                   ctl_str(answer, "install_url"));
    printable_line(stdout, "2. The configuration's lines:");
    printable_line(stdout, "   github:");
    if (strcmp(api, "https://api.github.com") != 0) {
        printable_line(stdout, "     api_url: %s", api);
    }
    printable_line(stdout, "     app: {id: \"%" PRId64 "\", private_key: \"%s\"}",
                   ctl_int(answer, "id"), ctl_str(kept, "private_key"));
    bool pull = json_is_true(json_object_get(answer, "pull"));
    if (pull) {
        printable_line(stdout, "     pull: {interval: 5s} # and no ingress: deploy/docs/pull.md");
    } else {
        printable_line(stdout, "     webhook_secrets: [\"%s\"]", ctl_str(kept, "webhook_secret"));
    }
    if (strncmp(ctl_str(kept, "id"), "file:", 5) == 0) {
        printable_line(stdout,
                       "   With the systemd units, which read /etc/mayfly/app.pem%s: private_key: "
                       "credential:app-key%s",
                       pull ? "" : " and webhook-secret",
                       pull ? "" : ", webhook_secrets: [credential:webhook-secret]");
    }
    printable_line(stdout, "3. Check: mayflyctl app check");
}
