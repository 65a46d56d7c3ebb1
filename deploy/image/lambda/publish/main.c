#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/printable.h"
#include "common/base/quantity.h"
#include "deploy/image/lambda/publish/publish.h"

static void print_publish_usage(FILE *out)
{
    fputs(
        "usage: mayfly-publish-image publish --name NAME --zip FILE --bucket BUCKET\n"
        "                                    --build-role ARN [options]\n"
        "       mayfly-publish-image versions|activate|deactivate --name NAME [VERSION]\n"
        "       mayfly-publish-image [refresh] --if-older-than AGE [--config FILE] [--class NAME]\n"
        "  --name NAME             of the image; one per deployment and class\n"
        "  --zip FILE              output of build-zip\n"
        "  --bucket BUCKET         of S3, in the image's region, for the archive\n"
        "  --prefix PREFIX         of the object's name (mayfly)\n"
        "  --build-role ARN        the role that Lambda builds with; reads the bucket, writes "
        "logs\n"
        "  --region REGION         (as AWS's tools find it)\n"
        "  --architecture A        that of the archive: arm64 or x86_64 (arm64)\n"
        "  --memory-mib N          size class: 512, 1024, 2048, 4096, 8192 (2048)\n"
        "  --docker                all OS capabilities, which Docker needs (--all-capabilities is "
        "the\n"
        "                          same, for sudo and mounts)\n"
        "  --egress ARN            network connector of the build, at most one (INTERNET_EGRESS)\n"
        "  --log-group NAME        CloudWatch log group for the build's and VMs' output\n"
        "  --base-image NAME       Lambda's base image (al2023-1)\n"
        "  --base-version V        of that image (the newest)\n"
        "  --description TEXT      (Mayfly's version and the archive's digest)\n"
        "  --tag KEY=VALUE         of a new image; may be repeated\n"
        "  --port N                of the hooks (9000)\n"
        "  --ready-seconds N       for the ready hook, 1 to 3600 (900)\n"
        "  --validate-seconds N    for the validate hook, 1 to 3600 (900)\n"
        "  --hook-seconds N        for the other hooks, 1 to 60 (60); the run hook of a trial "
        "takes\n"
        "                          up to 30 s, and no longer than this\n"
        "  --wait-seconds N        how long to wait for the build (3600)\n"
        "  --try | --no-try        one VM of the new version must start, or is not tried (it is\n"
        "                          tried where that is permitted); if it does not start, the\n"
        "                          version is made INACTIVE, as it is when INT, TERM or HUP ends\n"
        "                          the trial (exit code 130, 143 or 129)\n"
        "  --try-seconds N         how long to wait for that VM (180)\n"
        "  --poll-ms N             polling interval (5000)\n"
        "  --version, --help\n",
        out);
    fputs(
        "refresh, for a timer: makes a new version of the images of the configuration's classes "
        "(those\n"
        "with the provider lambda and without lambda.image_version) where the newest one that was "
        "not\n"
        "rejected is old, or was made of another archive than the one that --zip or --class names; "
        "else\n"
        "it does nothing and exits 0. The new version is made of that archive, or of the same one, "
        "with\n"
        "the newest release of GitHub's runner; all other properties are those of the version "
        "before. It\n"
        "becomes the class's canary, and old versions are deleted. --wait-seconds, --try, "
        "--no-try,\n"
        "--try-seconds and --poll-ms are as above.\n"
        "  --if-older-than AGE     such as 20d (20d); 0s renews in any case. A version is also old "
        "when\n"
        "                          its runner was replaced by a newer release so long ago, or "
        "when\n"
        "                          Lambda's base image that it was built on is RECALLED. What was\n"
        "                          rejected, or is INACTIVE, is not built again from the same "
        "archive\n"
        "                          and runner before it is as old\n"
        "  --zip ARCHIVE           what versions are to be made of: a file, or s3://BUCKET/KEY\n"
        "  --class NAME[=ARCHIVE]  this class (CLASS@TARGET) alone, and its archive; repeatable\n"
        "  --bucket BUCKET         where new archives are put, below --prefix (beside the one that "
        "they\n"
        "                          are made from)\n"
        "  --base-version V        of the base image (the newest)\n"
        "  --keep-versions N       the newest N versions are not deleted, nor what runs, is good "
        "or\n"
        "                          is tried (10; Lambda's quota is 50)\n"
        "  --github-api URL        where releases of actions/runner are read, without credentials\n"
        "                          (https://api.github.com)\n"
        "  --config FILE           of the daemons; without it the text in MAYFLY_CONFIG, or the "
        "file\n"
        "                          /etc/mayfly/mayfly.yaml\n"
        "Credentials and endpoints are found as AWS's tools find them (AWS_ENDPOINT_URL_S3 and\n"
        "AWS_ENDPOINT_URL_LAMBDA among them).\n",
        out);
}

NORETURN static void fail_usage(const char *what)
{
    printable_line(stderr, "mayfly-publish-image: %s", what);
    exit(2);
}

/* --- options ---------------------------------------------------------------------------------- */

static const struct option options[] = {{"name", required_argument, NULL, 'n'},
                                        {"zip", required_argument, NULL, 'z'},
                                        {"bucket", required_argument, NULL, 'b'},
                                        {"prefix", required_argument, NULL, 'p'},
                                        {"build-role", required_argument, NULL, 'r'},
                                        {"region", required_argument, NULL, 'R'},
                                        {"base-version", required_argument, NULL, 'B'},
                                        {"description", required_argument, NULL, 'd'},
                                        {"log-group", required_argument, NULL, 'l'},
                                        {"egress", required_argument, NULL, 'e'},
                                        {"tag", required_argument, NULL, 't'},
                                        {"architecture", required_argument, NULL, 'a'},
                                        {"memory-mib", required_argument, NULL, 'm'},
                                        {"port", required_argument, NULL, 'o'},
                                        {"ready-seconds", required_argument, NULL, 'y'},
                                        {"validate-seconds", required_argument, NULL, 'v'},
                                        {"hook-seconds", required_argument, NULL, 'k'},
                                        {"wait-seconds", required_argument, NULL, 'w'},
                                        {"poll-ms", required_argument, NULL, 'i'},
                                        {"try-seconds", required_argument, NULL, 's'},
                                        {"try", no_argument, NULL, 'T'},
                                        {"no-try", no_argument, NULL, 'N'},
                                        {"docker", no_argument, NULL, 'D'},
                                        {"if-older-than", required_argument, NULL, 'O'},
                                        {"keep-versions", required_argument, NULL, 'K'},
                                        {"github-api", required_argument, NULL, 'G'},
                                        {"base-image", required_argument, NULL, 'A'},
                                        {"all-capabilities", no_argument, NULL, 'D'},
                                        {"config", required_argument, NULL, 'c'},
                                        {"class", required_argument, NULL, 'C'},
                                        {"version", no_argument, NULL, 'V'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};

struct wishes {
    struct publish_options publish;
    struct refresh_options refresh;
    bool has_age; /* refresh is the command, though none is named */
};

/* The place of a text option; NULL if c is another option. */
static const char **text_option(struct wishes *w, int c)
{
    struct publish_options *o = &w->publish;
    switch (c) {
    case 'c':
        return &w->refresh.config;
    case 'G':
        return &w->refresh.api_url;
    case 'A':
        return &o->base_image;
    case 'a':
        return &o->architecture;
    case 'n':
        return &o->name;
    case 'z':
        return &o->zip;
    case 'b':
        return &o->bucket;
    case 'p':
        return &o->prefix;
    case 'r':
        return &o->build_role;
    case 'R':
        return &o->region;
    case 'B':
        return &o->base_version;
    case 'd':
        return &o->description;
    case 'l':
        return &o->log_group;
    default:
        return NULL;
    }
}

struct number {
    int64_t *value;
    int64_t least;
    int64_t most;
};

static struct number number_option(struct wishes *w, int c)
{
    struct publish_options *o = &w->publish;
    switch (c) {
    case 'K':
        return (struct number){&w->refresh.keep, 2, 45};
    case 'm':
        return (struct number){&o->memory_mib, 512, 8192};
    case 'o':
        return (struct number){&o->port, 1, 65535};
    case 'y':
        return (struct number){&o->ready_seconds, 1, 3600};
    case 'v':
        return (struct number){&o->validate_seconds, 1, 3600};
    case 'k':
        return (struct number){&o->hook_seconds, 1, 60};
    case 'w':
        return (struct number){&o->wait_seconds, 1, 86400};
    case 's':
        return (struct number){&o->try_seconds, 1, 3600};
    case 'i':
        return (struct number){&o->poll_ms, 10, 600000};
    default:
        return (struct number){NULL, 0, 0};
    }
}

static void set_number_option(const struct number *n, const char *text)
{
    char what[160];
    if (!slice_to_int64(slice_of(text), n->value) || *n->value < n->least || *n->value > n->most) {
        snprintf(what, sizeof(what), "\"%.40s\" is not a number from %lld to %lld: see --help",
                 text, (long long)n->least, (long long)n->most);
        fail_usage(what);
    }
}

static void add_option_text(const char **list, size_t *count, const char *text)
{
    if (*count == PUBLISH_LIST_MAX) {
        fail_usage("there are too many --egress, --tag or --class");
    }
    list[(*count)++] = text;
}

static void set_age(struct wishes *w, const char *text)
{
    const struct quantity age = {
        .kind = QUANTITY_DURATION, .max = INT64_C(365) * 24 * 3600 * 1000, .example = "20d"};
    struct buf why;
    char what[400];
    buf_init(&why, 300);
    if (!quantity_read(&age, slice_of(text), &w->refresh.older_than_ms, &why)) {
        snprintf(what, sizeof(what), "--if-older-than %s", why.data);
        fail_usage(what);
    }
    buf_fini(&why);
    w->has_age = true;
}

static void set_option(struct wishes *w, int c)
{
    struct publish_options *o = &w->publish;
    const char **text = text_option(w, c);
    struct number number = number_option(w, c);
    if (text != NULL) {
        *text = optarg;
    } else if (number.value != NULL) {
        set_number_option(&number, optarg);
    } else if (c == 'e') {
        add_option_text(o->egress, &o->egress_count, optarg);
    } else if (c == 'C') {
        add_option_text(w->refresh.classes, &w->refresh.class_count, optarg);
    } else if (c == 'O') {
        set_age(w, optarg);
    } else if (c == 't' && strchr(optarg, '=') != NULL) {
        add_option_text(o->tags, &o->tag_count, optarg);
    } else if (c == 'D') {
        o->docker = true;
    } else if (c == 'T' || c == 'N') {
        o->trial = c == 'T' ? PUBLISH_TRY : PUBLISH_NO_TRY;
    } else if (c == 'V') {
        puts("mayfly-publish-image " MAYFLY_VERSION);
        exit(0);
    } else {
        print_publish_usage(c == 'h' ? stdout : stderr);
        exit(c == 'h' ? 0 : 2);
    }
}

/* Characters that need no encoding anywhere: in a URL, in S3's and Lambda's names. */
static bool has_only(const char *text, const char *more)
{
    for (const char *p = text; *p != '\0'; p++) {
        bool fine = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= '0' && *p <= '9') || strchr(more, *p) != NULL;
        if (!fine) {
            return false;
        }
    }
    return true;
}

static void check_image_name(const struct publish_options *o)
{
    if (o->name == NULL || o->name[0] == '\0' || strlen(o->name) > 64 || !has_only(o->name, "-_")) {
        fail_usage("--name must have 1 to 64 letters, digits, - and _");
    }
}

static void check_publish(const struct publish_options *o)
{
    if (o->zip == NULL || o->bucket == NULL || o->build_role == NULL) {
        fail_usage("publish requires --zip, --bucket and --build-role: see --help");
    }
    if (o->egress_count > 1) {
        fail_usage(
            "--egress may be given once: a build of Lambda has at most one network connector");
    }
    if (strlen(o->bucket) < 3 || strlen(o->bucket) > 63 || !has_only(o->bucket, "-.")) {
        fail_usage("--bucket must be the name of a bucket, without s3://");
    }
    size_t len = strlen(o->prefix);
    if (len > 512 || !has_only(o->prefix, "-_./") || strstr(o->prefix, "//") != NULL ||
        strstr(o->prefix, "..") != NULL ||
        (len > 0 && (o->prefix[0] == '/' || o->prefix[len - 1] == '/'))) {
        fail_usage("--prefix must have letters, digits, - _ . and single slashes between them");
    }
    if (strcmp(o->architecture, "arm64") != 0 && strcmp(o->architecture, "x86_64") != 0) {
        fail_usage("--architecture must be arm64 or x86_64");
    }
    if (o->memory_mib != 512 && o->memory_mib != 1024 && o->memory_mib != 2048 &&
        o->memory_mib != 4096 && o->memory_mib != 8192) {
        fail_usage("--memory-mib must be one of 512, 1024, 2048, 4096, 8192");
    }
}

/* --- commands --------------------------------------------------------------------------------- */

static int run_on_image(const char *command, const char *version, const struct publish_options *o,
                        struct images *im, json_t **out, struct err *e)
{
    if (strcmp(command, "publish") == 0) {
        return publish(im, o, out, e);
    }
    if (strcmp(command, "versions") == 0) {
        return publish_versions(im, o->name, out, e);
    }
    const char *status = strcmp(command, "activate") == 0 ? "ACTIVE" : "INACTIVE";
    return publish_switch(im, o->name, version, status, out, e);
}

static int run_command(const char *command, const char *version, const struct wishes *w,
                       int *out_signal, json_t **out, struct err *e)
{
    struct images im;
    if (strcmp(command, "refresh") == 0) {
        struct refresh_options r = w->refresh;
        r.zip = w->publish.zip;
        r.out_signal = out_signal;
        return refresh(&r, &w->publish, out, e);
    }
    int rc = images_open(&im, w->publish.region, NULL, NULL, e);
    if (rc == 0) {
        rc = run_on_image(command, version, &w->publish, &im, out, e);
    }
    *out_signal = im.signal;
    images_close(&im);
    return rc;
}

static void check_command(const char *command, const char *version, const struct publish_options *o)
{
    bool switches = strcmp(command, "activate") == 0 || strcmp(command, "deactivate") == 0;
    bool publishes = strcmp(command, "publish") == 0;
    bool renews = strcmp(command, "refresh") == 0;
    if (!switches && !publishes && !renews && strcmp(command, "versions") != 0) {
        fail_usage("the command is publish, refresh, versions, activate or deactivate: see --help");
    }
    if (switches != (version != NULL)) {
        fail_usage(switches ? "VERSION is missing: the command versions lists them"
                            : "unknown option");
    }
    if (!renews) {
        check_image_name(o);
    }
    if (publishes) {
        check_publish(o);
    }
}

int main(int argc, char **argv)
{
    struct wishes w = {.publish = {.prefix = "mayfly",
                                   .base_image = "al2023-1",
                                   .architecture = "arm64",
                                   .memory_mib = 2048,
                                   .port = 9000,
                                   .ready_seconds = 900,
                                   .validate_seconds = 900,
                                   .hook_seconds = 60,
                                   .wait_seconds = 3600,
                                   .try_seconds = 180,
                                   .poll_ms = 5000},
                       .refresh = {.api_url = "https://api.github.com",
                                   .keep = 10,
                                   .older_than_ms = INT64_C(20) * 24 * 3600 * 1000}};
    struct err e = {0};
    json_t *out = NULL;
    int signal = 0;
    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1;
         c = getopt_long(argc, argv, "", options, NULL)) {
        set_option(&w, c);
    }
    const char *command = optind < argc ? argv[optind] : w.has_age ? "refresh" : "";
    const char *version = optind + 1 < argc ? argv[optind + 1] : NULL;
    check_command(command, version, &w.publish);
    log_open("mayfly-publish-image", 2);
    if (run_command(command, version, &w, &signal, &out, &e) != 0) {
        printable_line(stderr, "mayfly-publish-image: %s", e.message);
        return signal != 0 ? 128 + signal : 1;
    }
    if (out != NULL) {
        (void)json_dumpf(out, stdout, JSON_INDENT(2));
        puts("");
    }
    json_decref(out);
    return 0;
}
