#include <inttypes.h>

#include "common/github/internal.h"

#define ANSWER_LIMIT_BYTES ((size_t)4 * 1024 * 1024) /* a job may have a thousand steps */

int github_get_job(struct github *g, const char *repository, int64_t installation_id,
                   int64_t job_id, struct github_job *out, struct err *e)
{
    struct buf path;
    struct http_response r;
    struct github_scope s = github_scope_parse(repository, installation_id);
    s.is_repository = true;
    buf_init(&path, GITHUB_PATH_BYTES);
    int rc = github_path_scope(&path, &s, e);
    if (rc == 0) {
        buf_printf(&path, "/actions/jobs/%" PRId64, job_id);
        const struct github_call call = {.op = GITHUB_OP_GET_JOB,
                                         .method = "GET",
                                         .path = path.data,
                                         .limit_bytes = ANSWER_LIMIT_BYTES};
        rc = github_call(g, &s, &call, &r, e);
    }
    buf_fini(&path);
    if (rc != 0) {
        return -1;
    }
    rc = github_parse_job(buf_slice(&r.body), out, e);
    http_response_fini(&r);
    return rc;
}
