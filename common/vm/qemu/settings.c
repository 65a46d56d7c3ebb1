#include "common/vm/qemu/settings.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/quantity.h"
#include "common/config/rows.h"
#include "common/vm/qemu/net_policy.h"

#define AT(member) offsetof(struct qemu_settings, member)

static bool is_allow(struct slice text)
{
    struct net_allow entry;
    return net_allow_parse(text, &entry) == NULL;
}

static const struct setting_form form_allow = {
    "an address or a prefix with its first address, and :PORT if only one is meant, such as "
    "10.1.0.0/16:443 or [fd00::/8]:443 (this host's loopback needs a port)",
    .fits = is_allow};

static const struct setting rows[] = {
    TEXT("classes[].qemu.image", AT(image), "", 0, TEXT_MAX, .flags = SETTING_PATH,
         .readers = FOR_FLEET,
         .help =
             "Directory of the image: `image.json` and the files it names. May be a link to one of "
             "its "
             "versions: a reload (SIGHUP) opens what it leads to then. Required for the worker."),
    TEXT("classes[].qemu.binary", AT(binary), "", 0, TEXT_MAX, .readers = FOR_FLEET,
         .help = "Path of the QEMU binary. Empty: `qemu-system-` and the image's architecture."),
    TEXT("classes[].qemu.accel", AT(accel), "auto", 1, 4, .choices = "auto kvm tcg",
         .readers = FOR_FLEET,
         .help = "Accelerator. `auto`: KVM if a test shows that it works, else TCG (emulation)."),
    WHOLE("classes[].qemu.cpus", AT(cpus), "1", 1, 64, .readers = FOR_FLEET,
          .help = "Virtual CPUs of a VM."),
    SIZE("classes[].qemu.memory", AT(memory_bytes), "1GiB", MIB(64), TIB(1), .readers = FOR_FLEET,
         .help = "Memory of a VM, rounded up to whole MiB. When it is used up, the guest's kernel "
                 "kills processes of the job."),
    SIZE("classes[].qemu.disk_size", AT(disk_size_bytes), "0B", 0, TIB(16), .readers = FOR_FLEET,
         .help = "Size of a VM's temporary disk. 0B: the image's size; it cannot be smaller. When "
                 "it is full, the job's writes fail."),
    NUMBER("classes[].qemu.memory_overcommit", AT(memory_overcommit), "1", 1, 1000,
           .readers = FOR_FLEET,
           .help = "How often the host's memory is given away. A VM starts only if it and the VMs "
                   "that live may together use all that is promised to them (memory, and 128 MiB "
                   "each for the emulator, 384 MiB without KVM); else the host is full, and the "
                   "launch waits. Above 1 the host may run out of memory."),
    NUMBER("classes[].qemu.disk_overcommit", AT(disk_overcommit), "1", 1, 1000,
           .readers = FOR_FLEET,
           .help = "The same for the file system of `state_dir` and the VMs' disks. Above 1 it may "
                   "run full: then writes of all its VMs fail."),
    SIZE("classes[].qemu.reserved_memory", AT(reserved_memory_bytes), "256MiB", 0, TIB(1),
         .readers = FOR_FLEET,
         .help =
             "Memory of the host that no VM is given: for this program, the stores, the system."),
    SIZE("classes[].qemu.reserved_disk", AT(reserved_disk_bytes), "256MiB", 0, TIB(16),
         .readers = FOR_FLEET,
         .help =
             "Part of the file system of `state_dir` that no VM is given: for the stores if they "
             "are there, and for logs."),
    BOOL("classes[].qemu.restore", AT(restore), "true", .readers = FOR_FLEET,
         .help =
             "Restore VMs from a snapshot taken when the agent is ready, instead of booting each."),
    TEXT("classes[].qemu.network", AT(network), "internet", 1, 8, .choices = "internet proxy none",
         .readers = FOR_FLEET,
         .help = "What a VM reaches besides `qemu.allow`. `internet`: public addresses and their "
                 "names, but nothing of its host, its neighbours or a cloud's metadata. `proxy`: "
                 "the class's proxy alone. `none`: nothing."),
    LIST("classes[].qemu.allow", AT(allow), 0, 64, .form = &form_allow, .readers = FOR_FLEET,
         .help = "Further addresses that a VM reaches: a prefix or an address, and a port if not "
                 "all. This host's own addresses and link-local ones must be named one by one; "
                 "127.0.0.1:PORT is reached at the VM's gateway, 10.0.2.2:PORT. Names are not "
                 "looked up."),
    BOOL("classes[].qemu.confine", AT(confine), "true", .readers = FOR_FLEET,
         .help = "Confine QEMU itself, as far as the system permits: an empty network namespace, "
                 "landlock (its own files alone) and a seccomp filter (no other process, no "
                 "connection). `false`: for a `qemu.binary` that needs more of the host, such as "
                 "one with a remote disk."),
    SIZE("classes[].qemu.max_console_size", AT(max_console_size_bytes), "1MiB", KIB(4), GIB(1),
         .readers = FOR_FLEET,
         .help = "Most console output kept of one VM; further output is discarded."),
    DURATION("classes[].qemu.boot_timeout", AT(boot_timeout_ms), "3m", MILLISECONDS(100), DAYS(1),
             .readers = FOR_FLEET,
             .help = "How long a VM may take until its agent is ready. A slower one is terminated "
                     "and the launch is retried. Below `reaper.startup_timeout`. Emulation (TCG) "
                     "is slow."),
};

const struct qemu_settings *qemu_settings_of(const struct config_class *class)
{
    ASSERT(strcmp(class->provider, qemu_config.name) == 0 && class->settings != NULL);
    return class->settings;
}

static bool is_closed(const void *settings)
{
    const struct qemu_settings *s = settings;
    return strcmp(s->network, "proxy") == 0;
}

/* The image may be a link to one of its versions (deploy/image/versions.sh). */
static uint64_t image_revision(const void *settings)
{
    const struct qemu_settings *s = settings;
    char real[PATH_MAX];
    return realpath(s->image, real) == NULL ? 0 : hash_text(real);
}

static void check_launch(const struct config_class_check *c, const struct qemu_settings *s)
{
    const struct config_class *class = &c->config->classes[c->index];
    bool proxy = class->proxy.http[0] != '\0' || class->proxy.https[0] != '\0';
    if (s->image[0] == '\0') {
        config_check_complain(c, "qemu.image",
                              "is required: add \"qemu: {image: /var/lib/mayfly/image}\"");
    }
    if (is_closed(s) && !proxy) {
        config_check_complain(c, "qemu.network",
                              "is proxy, and the class has none: add \"proxy: {http: http://…, "
                              "https: http://…}\" to it, or say network: internet");
    }
}

static void check_qemu_class(const struct config_class_check *c)
{
    const struct qemu_settings *s = qemu_settings_of(&c->config->classes[c->index]);
    int64_t startup_ms = c->config->reaper.startup_timeout_ms;
    char boot[QUANTITY_TEXT_SIZE];
    char startup[QUANTITY_TEXT_SIZE];
    if (config_check_asks(c, FOR_WORKER)) {
        check_launch(c, s);
    }
    /* A launch that is given up before its VM had the time to boot would be retried without end.
     */
    if (config_check_asks(c, FOR_FLEET) && s->boot_timeout_ms >= startup_ms) {
        config_check_complain(c, "qemu.boot_timeout",
                              "is %s, not below reaper.startup_timeout (%s): lower it or raise "
                              "that",
                              quantity_text(QUANTITY_DURATION, s->boot_timeout_ms, boot),
                              quantity_text(QUANTITY_DURATION, startup_ms, startup));
    }
}

const struct config_provider qemu_config = {
    .name = "qemu",
    .size = sizeof(struct qemu_settings),
    .settings = rows,
    .setting_count = COUNT_OF(rows),
    .check = check_qemu_class,
    .is_closed = is_closed,
    .revision = image_revision,
};
