/* Any bytes where AWS, or a file of its tools, may put them: the first byte chooses the reader, the
 * rest is its text. What is accepted must keep the readers' contracts: messages printable and
 * bounded, keys that fit a header's line, words of a command line that are whole, a canonical
 * request of the right form. */
#include <stdlib.h>
#include <string.h>

#include "common/aws/errors.h"
#include "common/aws/secrets.h"
#include "common/aws/sigv4.h"
#include "common/aws/sources.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_answer.h"

#define LONGEST_WAIT_MS (INT64_C(3600) * 1000)

static void try_profiles(struct slice text, enum aws_file_kind kind)
{
    struct aws_profiles p = {0};
    struct err e;
    if (aws_profiles_parse(&p, kind, text, &e) == 0) {
        ASSERT(p.count <= AWS_PROFILE_ENTRIES_MAX);
    }
    for (size_t i = 0; i < p.count; i++) {
        const struct aws_profile_entry *entry = &p.entries[i];
        ASSERT(strncmp(entry->section, "profile ", 8) == 0 ||
               strncmp(entry->section, "services ", 9) == 0);
        if (strncmp(entry->section, "profile ", 8) == 0) {
            ASSERT(aws_profile_is_there(&p, entry->section + 8));
            const char *value = aws_profile_get(&p, entry->section + 8, entry->key);
            ASSERT(value == NULL || strchr(value, '\n') == NULL);
            (void)aws_profile_endpoint(&p, entry->section + 8, "sqs");
        }
    }
    aws_profiles_fini(&p);
}

static void try_answer(struct slice text, int status)
{
    struct http_response r;
    struct aws_answer a;
    fuzz_answer(text, status, &r);
    aws_answer_read(&r, &a);
    struct aws_verdict v = aws_classify(&a, status, NULL);
    ASSERT(v.class != ERR_NONE && v.hint != NULL);
    ASSERT(a.retry_after_ms >= 0 && a.retry_after_ms <= LONGEST_WAIT_MS);
    fuzz_check_printable(a.name, sizeof a.name);
    fuzz_check_printable(a.older, sizeof a.older);
    fuzz_check_printable(a.message, sizeof a.message);
    fuzz_check_printable(a.request_id, sizeof a.request_id);
    (void)aws_is_about_time(&a);
    (void)aws_is_about_credentials(&a);
    http_response_fini(&r);
}

static void try_keys(struct slice text, bool sts)
{
    struct aws_keys k;
    struct err e;
    int rc = sts ? aws_keys_from_sts(text, "fuzz", &k, &e)
                 : aws_keys_from_json(text, "Token", "fuzz", &k, &e);
    if (rc == 0) {
        ASSERT(k.access_key[0] != '\0' && k.secret_key[0] != '\0' && k.expires_ms >= 0);
        fuzz_check_printable(k.access_key, strlen(k.access_key) + 1);
        fuzz_check_printable(k.session_token, strlen(k.session_token) + 1);
        ASSERT(strpbrk(k.access_key, " /") == NULL && strchr(k.session_token, ' ') == NULL);
        aws_keys_fini(&k);
    } else {
        ASSERT(e.class == ERR_AUTH);
    }
}

static void try_command(struct slice text)
{
    char *command = slice_dup(text);
    char **words = aws_process_split(command);
    size_t total = 0;
    for (size_t i = 0; words != NULL && words[i] != NULL; i++) {
        total += strlen(words[i]);
    }
    ASSERT(words == NULL || (words[0] != NULL && total <= strlen(command)));
    aws_process_free(words);
    (void)aws_container_uri_is_near(command);
    free(command);
}

/* Method, path, query, then a line for each header, an empty line, the names, a digest. */
static void check_canonical(const struct buf *text, size_t headers)
{
    size_t lines = 1;
    for (size_t i = 0; i < text->len; i++) {
        lines += text->data[i] == '\n' ? 1 : 0;
    }
    ASSERT(lines >= 3 + 1 + 3 && lines <= 3 + headers + 1 + 3);
    ASSERT(text->len > 64 && text->data[text->len - 65] == '\n');
}

static void try_request(struct slice text)
{
    static const struct sigv4_signer signer = {
        .access_key = "AK", .secret_key = "SK", .region = "r", .service = "s"};
    struct slice path;
    struct slice query;
    struct slice line;
    struct buf out;
    struct err e;
    (void)slice_cut(text, '\n', &path, &query);
    (void)slice_cut(query, '\n', &query, &line);
    char *header = slice_dup(line);
    const char *const headers[] = {"Host: h", header};
    struct sigv4_request r = {.method = "GET",
                              .path = path,
                              .query = query,
                              .headers = headers,
                              .header_count = COUNT_OF(headers),
                              .body = text};
    buf_init(&out, (size_t)1 << 20);
    if (sigv4_canonical(&signer, &r, 0, &out, &e) == 0) {
        check_canonical(&out, COUNT_OF(headers) + 1);
    } else {
        ASSERT(e.class == ERR_PERMANENT);
    }
    buf_fini(&out);
    free(header);
}

static void try_xml(struct slice text)
{
    struct buf out;
    buf_init(&out, 64);
    if (aws_xml_text(text, "a", &out)) {
        ASSERT(out.len <= text.len && !out.failed);
    }
    buf_fini(&out);
    (void)aws_http_date(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {301, 400, 401, 403, 404, 409, 413, 429, 500, 502, 503};
    if (size == 0) {
        return 0;
    }
    struct slice text = {(const char *)data + 1, size - 1};
    switch (data[0] % 8) {
    case 0:
        try_profiles(text, AWS_FILE_CONFIG);
        break;
    case 1:
        try_profiles(text, AWS_FILE_CREDENTIALS);
        break;
    case 2:
        try_keys(text, false);
        break;
    case 3:
        try_keys(text, true);
        break;
    case 4:
        try_command(text);
        break;
    case 5:
        try_request(text);
        break;
    case 6:
        try_xml(text);
        break;
    default:
        try_answer(text, statuses[(data[0] / 8) % COUNT_OF(statuses)]);
        break;
    }
    return 0;
}
