/*
 * Shared by the commands `mayflyctl app …`; the console takes app_web_of, and no other file includes it.
 *
 * create.c is the command that makes the App: plan.c has what is asked of GitHub (the manifest),
 * session.c decides about requests to the local page, page.c serves it, convert.c exchanges GitHub's
 * code for the credentials, files.c and ssm.c keep them. check.c checks an App, import_key.c moves its
 * key into KMS. One thread.
 */
#ifndef MAYFLY_DEPLOY_CTL_APP_APP_H
#define MAYFLY_DEPLOY_CTL_APP_APP_H

#include "common/base/buf.h"
#include "deploy/ctl/ctl.h"

#define APP_URL_SIZE 1024
#define APP_NAME_MAX 34 /* GitHub's limit */
#define APP_CODE_SIZE 256
#define APP_SECRET_DIGITS 32 /* of the session's: 128 bits */

/* --- plan.c: pure --- */

struct app_plan {
    char api[APP_URL_SIZE]; /* without a trailing slash */
    char web[APP_URL_SIZE]; /* GitHub's pages, the same */
    char name[APP_NAME_MAX + 1];
    const char *organization; /* ""; the App is the user's own */
    const char *webhook_url;
    bool pull;         /* no ingress: GitHub's delivery log is read (github.pull) */
    bool repositories; /* runners register with repositories */
    bool give_up;      /* reaper.give_up is to be on */
};

/* Reads the options. A failure sets the exit code to CTL_EXIT_USAGE. */
MUST_CHECK int app_plan_read(struct ctl *c, struct app_plan *out, struct err *e);
/* GitHub's pages, from the URL of its API: https://github.com, https://HOST. */
MUST_CHECK bool app_web_of(const char *api, char *out, size_t size);
/* The URL to which GitHub is to send webhooks: http or https with a host, without blanks or a user's
 * part. A failure sets the exit code to CTL_EXIT_USAGE. */
MUST_CHECK int app_check_webhook_url(struct ctl *c, const char *url, struct err *e);
/* Appends the manifest, JSON; GitHub returns to redirect_url. */
void app_manifest(const struct app_plan *plan, const char *redirect_url, struct buf *out);
/* Appends the URL that the manifest is posted to. `state` needs no encoding. */
void app_form_action(const struct app_plan *plan, const char *state, struct buf *out);

/* --- session.c: pure but for randomness --- */

/* One run of the command. `token` is in the URL that is printed, and lets one browser in, which gets
 * `cookie`; `state` goes to GitHub and returns. Others on this machine may see the URL in the
 * arguments of the browser's process, or send requests; they have no cookie. */
struct app_session {
    char origin[40]; /* "http://127.0.0.1:PORT" */
    char cookie_name[24];
    char token[APP_SECRET_DIGITS + 1];
    char cookie[APP_SECRET_DIGITS + 1];
    char state[APP_SECRET_DIGITS + 1];
    bool opened; /* a browser has the cookie */
};
void app_session_init(struct app_session *s, int port);

struct app_request {
    struct slice path;
    struct slice query;
    const char *host; /* the headers; NULL: none */
    const char *cookie;
};

enum app_step {
    APP_REFUSE,   /* with status and reason */
    APP_SHOW,     /* the first page */
    APP_EXCHANGE, /* GitHub returned with `code` */
};

struct app_verdict {
    enum app_step step;
    bool set_cookie;
    int status;
    const char *reason;       /* static */
    char code[APP_CODE_SIZE]; /* unreserved characters alone */
};
void app_session_judge(struct app_session *s, const struct app_request *r, struct app_verdict *out);

/* --- convert.c --- */

struct app_credentials { /* secrets; app_credentials_fini wipes them */
    int64_t id;
    char slug[104];
    char url[APP_URL_SIZE]; /* the App's page */
    struct buf key;         /* PEM */
    struct buf webhook_secret;
};
void app_credentials_init(struct app_credentials *a);
void app_credentials_fini(struct app_credentials *a);

/* Exchanges the code. ERR_RETRY: the same code may be sent again. */
MUST_CHECK int app_convert(const struct app_plan *plan, const char *code,
                           struct app_credentials *out, struct err *e);
/* Reads GitHub's answer. */
MUST_CHECK int app_convert_read(const struct app_plan *plan, struct slice body,
                                struct app_credentials *out, struct err *e);

/* --- files.c, ssm.c: where the credentials are kept --- */

enum app_part { APP_ID, APP_KEY, APP_WEBHOOK_SECRET, APP_PARTS };

struct app_keep; /* places that are reserved */
struct app_keep_ops {
    /* Durable and under its own name before it returns; nothing is replaced. */
    int (*store)(struct app_keep *k, const struct slice values[APP_PARTS], struct err *e);
    /* Gives up what was reserved and not stored. */
    void (*close)(struct app_keep *k);
};
struct app_keep {
    const struct app_keep_ops *ops;
    char *refs[APP_PARTS]; /* as the configuration names them: "file:/etc/mayfly/app.pem" */
};

/* Both reserve the places, so that one that exists, a full disk or a missing permission is found
 * before the App is made. ERR_CONFLICT: one exists. */
MUST_CHECK int app_keep_in_files(const char *directory, struct app_keep **out, struct err *e);
MUST_CHECK int app_keep_in_ssm(const char *prefix, struct app_keep **out, struct err *e);
void app_keep_close(struct app_keep *k); /* NULL is fine */

/* --- page.c --- */

/* What the page shows besides itself; `exchange` returns 0 when all is kept. */
struct app_page {
    const struct app_plan *plan;
    int (*exchange)(void *arg, const char *code, struct err *e);
    void *arg;
    bool open_browser;
    int64_t timeout_ms;
};
/* Serves the page on loopback until `exchange` succeeded, or failed with anything but ERR_RETRY;
 * ERR_PERMANENT also when it was ended by a signal, or nobody came in time. */
MUST_CHECK int app_page_serve(const struct app_page *page, struct err *e);

/* What is reserved is given up at Ctrl-C too: signals wait, but while the page is served. */
void app_block_signals(bool block);

#endif
