#include "common/program/host.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fs.h"
#include "common/base/random.h"
#include "common/config/provider.h"

#define FILE_NAME "host-id"

static bool runs_vms_itself(const struct config *c)
{
    for (size_t i = 0; i < c->class_count; i++) {
        const struct config_provider *p = config_provider_find(c->classes[i].provider);
        if (p != NULL && p->domain == NULL) {
            return true;
        }
    }
    return false;
}

static bool is_id(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("0123456789abcdef", text.ptr[i]) == NULL || text.ptr[i] == '\0') {
            return false;
        }
    }
    return text.len == HOST_ID_DIGITS;
}

static int read_id(const char *path, struct host *out, struct err *e)
{
    struct buf text;
    buf_init(&text, 256);
    int rc = fs_read(path, &text, e);
    struct slice id = slice_trim(buf_slice(&text));
    if (rc == 0 && !is_id(id)) {
        rc = err_set(e, ERR_PERMANENT, 0,
                     "%s does not hold %d hexadecimal digits: restore it from a backup, or remove "
                     "it, and this host becomes a new one, to which the VMs it runs do not belong",
                     path, HOST_ID_DIGITS);
    }
    if (rc == 0) {
        ASSERT(slice_to_cstr(id, out->id, sizeof out->id));
    }
    buf_fini(&text);
    return rc;
}

static int make_id(const char *dir, const char *path, struct err *e)
{
    char line[HOST_ID_DIGITS + 2];
    random_hex(line, HOST_ID_DIGITS / 2);
    memcpy(line + HOST_ID_DIGITS, "\n", 2);
    if (fs_mkdirs(dir, 0755, e) != 0) {
        return -1;
    }
    int rc = fs_write_new(path, slice_of(line), 0644, e);
    return rc != 0 && e->class == ERR_CONFLICT ? 0 : rc;
}

static int open_id(const char *dir, struct host *out, struct err *e)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/" FILE_NAME, dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        return err_set(e, ERR_PERMANENT, 0, "state_dir %s is too long", dir);
    }
    int rc = read_id(path, out, e);
    if (rc != 0 && e->class == ERR_NOT_FOUND) {
        rc = make_id(dir, path, e) != 0 ? -1 : read_id(path, out, e);
    }
    out->has_id = rc == 0;
    return rc == 0 ? 0
                   : err_wrap(e, "this host has no id, by which the ledger knows where its VMs run "
                                 "(state_dir)");
}

static void read_boot_id(struct host *h)
{
    struct buf text;
    struct err ignored;
    buf_init(&text, 256);
    if (fs_read("/proc/sys/kernel/random/boot_id", &text, &ignored) == 0) {
        (void)!slice_to_cstr(slice_trim(buf_slice(&text)), h->boot_id, sizeof h->boot_id);
    }
    buf_fini(&text);
}

int host_open(const struct config *c, struct host *out, struct err *e)
{
    struct stat ns;
    struct host h = {.has_id = false};
    if (gethostname(h.name, sizeof h.name - 1) != 0 || h.name[0] == '\0') {
        memcpy(h.name, "localhost", sizeof "localhost");
    }
    memcpy(h.id, h.name, sizeof h.name);
    read_boot_id(&h);
    if (stat("/proc/self/ns/pid", &ns) == 0) {
        (void)snprintf(h.pid_namespace, sizeof h.pid_namespace, "%llu",
                       (unsigned long long)ns.st_ino);
    }
    if (runs_vms_itself(c) && open_id(c->state_dir, &h, e) != 0) {
        return -1;
    }
    *out = h;
    return 0;
}
