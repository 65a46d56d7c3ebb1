/*
 * The settings of the provider `qemu`, classes[].qemu: what config_class.settings points to. This
 * part of the provider is linked into every program, the rest only into those that use it.
 */
#ifndef MAYFLY_VM_QEMU_SETTINGS_H
#define MAYFLY_VM_QEMU_SETTINGS_H

#include "common/config/config.h"
#include "common/config/provider.h"

struct vm_ops;

struct qemu_settings {
    char *image;  /* directory with image.json */
    char *binary; /* "" : qemu-system-<arch> */
    char *accel;  /* auto, kvm, tcg */
    int64_t cpus;
    int64_t memory_bytes;
    int64_t disk_size_bytes;  /* of the temporary disk; 0: as the image's */
    double memory_overcommit; /* admission.h */
    double disk_overcommit;
    int64_t reserved_memory_bytes;
    int64_t reserved_disk_bytes;
    bool restore;             /* restore a snapshot instead of booting */
    bool confine;             /* QEMU itself: worker/supervisor/confine.h, and no network */
    char *network;            /* "internet", "proxy", "none": net_policy.h */
    struct config_list allow; /* net_allow_parse */
    int64_t max_console_size_bytes;
    int64_t boot_timeout_ms; /* until the agent is ready */
};

extern const struct config_provider qemu_config;
extern const struct vm_ops vm_ops_qemu;

/* The settings of a class with this provider. */
const struct qemu_settings *qemu_settings_of(const struct config_class *class);

#endif
