#include "common/vm/qemu/settings.h"

#include <string.h>

#include "common/config/config_rows.h"

#define AT(member) offsetof(struct qemu_settings, member)

static const struct setting rows[] = {
    TEXT("classes[].qemu.image", AT(image), "", 0, TEXT_MAX, .flags = SETTING_PATH,
         .readers = FOR_FLEET,
         .help = "Directory of the image: `image.json` and what it names. The worker needs it."),
    TEXT("classes[].qemu.binary", AT(binary), "", 0, TEXT_MAX, .readers = FOR_FLEET,
         .help = "The emulator. Empty takes `qemu-system-` and the image's architecture."),
    TEXT("classes[].qemu.state_dir", AT(state_dir), "/var/lib/mayfly/vms", 1, TEXT_MAX,
         .flags = SETTING_PATH, .readers = FOR_FLEET,
         .help = "One directory for each VM lives below it."),
    TEXT("classes[].qemu.accel", AT(accel), "auto", 1, 4, .words = "auto kvm tcg",
         .readers = FOR_FLEET,
         .help = "`auto` takes KVM where it is seen to work, else TCG (emulation)."),
    WHOLE("classes[].qemu.cpus", AT(cpus), "1", 1, 64, .readers = FOR_FLEET,
          .help = "Virtual processors of a VM."),
    WHOLE("classes[].qemu.memory_mib", AT(memory_mib), "1024", 64, 1048576, .readers = FOR_FLEET,
          .help = "Memory of a VM. A guest that needs more kills its own."),
    WHOLE("classes[].qemu.disk_mib", AT(disk_mib), "0", 0, 16777216, .readers = FOR_FLEET,
          .help = "Size of a VM's throw-away disk; 0 takes the image's. A full disk is the job's "
                  "own failure."),
    BOOL("classes[].qemu.restore", AT(restore), "true", .readers = FOR_FLEET,
         .help = "Restore a machine saved where its agent waits, instead of booting one."),
    TEXT("classes[].qemu.network", AT(network), "user", 1, 8, .words = "user proxy",
         .readers = FOR_FLEET,
         .help = "`user` reaches what the host reaches; `proxy` reaches nothing but the class's "
                 "proxy."),
    TEXT("classes[].qemu.user", AT(user), "", 0, 32, .readers = FOR_FLEET,
         .help = "Run VMs as this user when the worker is root. Empty keeps the worker's."),
    WHOLE("classes[].qemu.console_limit_bytes", AT(console_limit_bytes), "1048576", 4096,
          1073741824, .readers = FOR_FLEET,
          .help = "What is kept of a VM's console; the rest is dropped."),
    WHOLE("classes[].qemu.boot_timeout_ms", AT(boot_timeout_ms), "180000", 100, MS_MAX,
          .readers = FOR_FLEET,
          .help = "Until the agent is ready. A VM that takes longer is ended, and the launch tried "
                  "again. Emulation is slow."),
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
                              "https: http://…}\" to it, or say network: user");
    }
}

static void check(const struct config_class_check *c)
{
    const struct qemu_settings *s = qemu_settings_of(&c->config->classes[c->index]);
    int64_t startup_ms = c->config->reaper.startup_timeout_ms;
    if (config_check_asks(c, FOR_WORKER)) {
        check_launch(c, s);
    }
    /* A launch that is given up before its VM had the time to boot would be tried again for ever.
     */
    if (config_check_asks(c, FOR_FLEET) && s->boot_timeout_ms >= startup_ms) {
        config_check_complain(c, "qemu.boot_timeout_ms",
                              "is %lld, not below reaper.startup_timeout_ms (%lld): lower it or "
                              "raise that",
                              (long long)s->boot_timeout_ms, (long long)startup_ms);
    }
}

const struct config_provider qemu_config = {
    .name = "qemu",
    .size = sizeof(struct qemu_settings),
    .settings = rows,
    .setting_count = COUNT_OF(rows),
    .check = check,
    .is_closed = is_closed,
};
