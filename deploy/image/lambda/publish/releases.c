#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/http/client.h"
#include "deploy/image/lambda/publish/releases.h"

#define CONNECT_MS 10000
#define CALL_MS 30000
#define DIGEST_MARK "sha256:"

static const char *member_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static int get_json(const char *url, json_t **out, struct err *e)
{
    static const char *const headers[] = {"Accept: application/vnd.github+json"};
    const struct http_client_options options = {.user_agent = "mayfly-publish-image",
                                                .proxy = "",
                                                .connect_timeout_ms = CONNECT_MS,
                                                .timeout_ms = CALL_MS};
    const struct http_request request = {
        .method = "GET", .url = url, .headers = headers, .header_count = 1};
    struct http_client *client = NULL;
    struct http_response answer;
    if (http_client_new(&options, &client, e) != 0) {
        return -1;
    }
    int rc = http_send(client, &request, &answer, e);
    if (rc == 0) {
        *out = answer.status == 200 ? json_loadb(answer.body.data, answer.body.len, 0, NULL) : NULL;
        if (*out == NULL) {
            rc = err_set(e, ERR_RETRY, answer.status, "%s: status %d, or no JSON", url,
                         answer.status);
        }
        http_response_fini(&answer);
    }
    http_client_free(client);
    return rc;
}

static bool is_hex(const char *text, size_t len)
{
    return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

static int read_release(const json_t *release, const char *runner_arch, struct runner_release *out,
                        struct err *e)
{
    const char *tag = member_text(release, "tag_name");
    char file[100];
    size_t i;
    const json_t *asset;
    const char *version = tag + (tag[0] == 'v');
    *out = (struct runner_release){.published_ms =
                                       clock_parse_utc(member_text(release, "published_at"))};
    if (version[0] == '\0' || strspn(version, "0123456789.") != strlen(version) ||
        !slice_to_cstr(slice_of(version), out->version, sizeof out->version)) {
        return err_set(e, ERR_RETRY, 0,
                       "the newest release of GitHub's runner has no version: \"%.40s\"", tag);
    }
    (void)snprintf(file, sizeof file, "actions-runner-linux-%s-%s.tar.gz", runner_arch, version);
    json_array_foreach(json_object_get(release, "assets"), i, asset)
    {
        const char *digest = member_text(asset, "digest");
        if (strcmp(member_text(asset, "name"), file) == 0 &&
            strncmp(digest, DIGEST_MARK, strlen(DIGEST_MARK)) == 0 &&
            is_hex(digest + strlen(DIGEST_MARK), 64)) {
            memcpy(out->sha256, digest + strlen(DIGEST_MARK), sizeof out->sha256);
            return 0;
        }
    }
    return err_set(e, ERR_RETRY, 0, "release %s of GitHub's runner has no %s with a digest",
                   version, file);
}

int releases_newest(const char *api_url, const char *runner_arch, struct runner_release *out,
                    struct err *e)
{
    char url[600];
    json_t *release = NULL;
    (void)snprintf(url, sizeof url, "%s/repos/actions/runner/releases/latest", api_url);
    if (get_json(url, &release, e) != 0) {
        return err_wrap(e, "the newest release of GitHub's runner is not known");
    }
    int rc = read_release(release, runner_arch, out, e);
    json_decref(release);
    return rc;
}
