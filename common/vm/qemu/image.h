/*
 * A VM image on disk: a directory with image.json, a kernel, an initrd and a base disk.
 *
 *   {"name": "demo", "version": "1", "arch": "amd64", "kernel": "kernel", "initrd": "initrd",
 *    "disk": "disk.qcow2", "cmdline": "console=ttyS0 …", "runner_version": "2.337.0",
 *    "protocol": 1}
 *
 * File names are relative to the directory and must stay in it. The last two may lack; `protocol` is the
 * version of the payloads that its agent reads, and must be this program's (PAYLOAD_VERSION). Other members are for people. The
 * base disk (qcow2 or raw, recognised by its first bytes) is only ever read. Plain value, read once;
 * whoever holds it owns it.
 */
#ifndef MAYFLY_VM_QEMU_IMAGE_H
#define MAYFLY_VM_QEMU_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/attr.h"
#include "common/base/err.h"

struct qemu_image {
    char *name;
    char *version;
    char *arch;   /* "x86_64" or "aarch64" */
    char *kernel; /* absolute paths */
    char *initrd;
    char *disk;
    char *cmdline;
    char *runner_version; /* of GitHub's runner in it; "": image.json does not say */
    bool disk_is_qcow2;
    int64_t disk_bytes; /* the size the guest sees */
    char identity[65];  /* SHA-256 in hex over image.json and the files' sizes and times */
};

/* ERR_PERMANENT with the path and what is wrong; *out is untouched then. */
MUST_CHECK int qemu_image_load(const char *directory, struct qemu_image *out, struct err *e);
void qemu_image_fini(struct qemu_image *image);
/* See vm_image_built: the time of image.json, which a build writes last, wall clock ms. */
MUST_CHECK int qemu_image_built(const char *directory, int64_t *built_ms, struct err *e);

/* SHA-256 of text as 64 hex digits and a NUL; out holds 65 bytes. */
struct slice;
void qemu_digest(struct slice text, char *out);

#endif
