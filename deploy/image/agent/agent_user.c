#include "deploy/image/agent/agent_user.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/fs.h"

#define FILE_MAX_BYTES 262144

static bool to_id(struct slice s, unsigned int *out)
{
    int64_t value;
    if (!slice_to_int64(s, &value) || value < 0 || value >= UINT32_MAX) {
        return false;
    }
    *out = (unsigned int)value;
    return true;
}

/* Splits a line into `n` fields at its colons; false if it has fewer. */
static bool split_fields(struct slice line, struct slice *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!slice_cut(line, ':', &fields[i], &line) && i + 1 < n) {
            return false;
        }
    }
    return true;
}

static bool has_member(struct slice members, const char *name)
{
    struct slice one;
    while (members.len > 0) {
        slice_cut(members, ',', &one, &members);
        if (slice_eq_cstr(slice_trim(one), name)) {
            return true;
        }
    }
    return false;
}

static void add_groups(struct slice group, struct agent_user *u)
{
    struct slice line, fields[4];
    while (group.len > 0 && u->group_count < AGENT_GROUPS_MAX) {
        gid_t gid;
        slice_cut(group, '\n', &line, &group);
        if (split_fields(line, fields, 4) && to_id(fields[2], &gid) && gid != u->gid &&
            has_member(fields[3], u->name)) {
            u->groups[u->group_count++] = gid;
        }
    }
}

int agent_user_find(struct slice passwd, struct slice group, const char *name,
                    struct agent_user *out, struct err *e)
{
    struct slice line, fields[7];
    while (passwd.len > 0) {
        struct agent_user u = {.group_count = 1};
        slice_cut(passwd, '\n', &line, &passwd);
        if (!split_fields(line, fields, 7) || !slice_eq_cstr(fields[0], name)) {
            continue;
        }
        if (!slice_to_cstr(fields[0], u.name, sizeof(u.name)) || !to_id(fields[2], &u.uid) ||
            !to_id(fields[3], &u.gid) || !slice_to_cstr(fields[5], u.home, sizeof(u.home))) {
            return err_set(e, ERR_PERMANENT, 0, "/etc/passwd: the line of user %s is damaged",
                           name);
        }
        u.groups[0] = u.gid;
        add_groups(group, &u);
        *out = u;
        return 0;
    }
    return err_set(e, ERR_NOT_FOUND, 0, "there is no user %s in /etc/passwd", name);
}

int agent_user_load(const char *name, struct agent_user *out, struct err *e)
{
    struct buf passwd, group;
    buf_init(&passwd, FILE_MAX_BYTES);
    buf_init(&group, FILE_MAX_BYTES);
    int rc = -1;
    if (fs_read("/etc/passwd", &passwd, e) == 0 && fs_read("/etc/group", &group, e) == 0) {
        rc = agent_user_find(buf_slice(&passwd), buf_slice(&group), name, out, e);
    }
    buf_fini(&passwd);
    buf_fini(&group);
    return rc;
}
