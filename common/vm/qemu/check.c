/* The online check of QEMU classes: what a launch on this host needs. No VM is started. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check/check.h"
#include "common/vm/qemu/qemu.h"
#include "common/vm/qemu/settings.h"

#define SUBJECT_BYTES 160

static void say_image(struct check *c, const char *subject, const struct vm_qemu *q)
{
    const struct check_finding f = {
        .level = CHECK_OK, .subject = subject, .request = "image, QEMU and state_dir"};
    check_say(c, &f, "image %s %s for %s, %s, VMs below %s", q->image.name, q->image.version,
              q->image.arch, q->qemu_version, q->vms_dir);
}

static void say_accel(struct check *c, const char *subject, const struct vm_qemu *q)
{
    struct check_finding f = {.level = CHECK_OK, .subject = subject, .request = "/dev/kvm"};
    bool usable = access("/dev/kvm", R_OK | W_OK) == 0;
    int errnum = errno;
    if (strcmp(q->accel, "tcg") == 0) {
        check_say(c, &f, "not used: qemu.accel is tcg");
        return;
    }
    if (usable) {
        check_say(c, &f, "this user may open it%s",
                  strcmp(q->accel, "auto") == 0 ? "; the first launch tries whether it works" : "");
        return;
    }
    f.level = strcmp(q->accel, "kvm") == 0 ? CHECK_FAIL : CHECK_WARN;
    f.hint = "load the module kvm_intel or kvm_amd (a cloud VM needs nested virtualization), and "
             "put the worker's user and worker.vm_uids' group into the group of /dev/kvm";
    check_say(c, &f, "%s%s", strerror(errnum),
              f.level == CHECK_FAIL ? ": no VM of this class starts"
                                    : ": VMs are emulated, many times slower");
}

static void say_room(struct check *c, const char *subject, const struct vm_qemu *q)
{
    struct err e = {0};
    struct check_finding f = {.level = CHECK_OK, .subject = subject, .request = "room for a VM"};
    const struct qemu_amount most = qemu_host_most(q, "tcg");
    if (qemu_host_room(q, &most, &e) == 0) {
        check_say(c, &f, "this host has room for one more now");
        return;
    }
    f.level = CHECK_WARN;
    f.hint = "nothing if VMs run here now; else lower qemu.memory or qemu.disk_size, or use a "
             "larger host";
    check_say(c, &f, "%s", e.message);
}

/* In a process of its own, as the supervisor of a VM does it. */
static void say_namespaces(struct check *c)
{
    struct check_finding f = {
        .level = CHECK_OK, .subject = "qemu", .request = "unshare(CLONE_NEWNET)"};
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 ? 0 : errno);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        check_say(c, &f, "each VM's network is a namespace of its own");
        return;
    }
    f.level = CHECK_WARN;
    f.hint = "permit unprivileged user namespaces (kernel.unprivileged_userns_clone, "
             "user.max_user_namespaces, an AppArmor or container profile), or give the worker "
             "CAP_SYS_ADMIN";
    check_say(c, &f, "%s: a VM's emulator shares this host's network",
              pid > 0 && WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "it did not end");
}

void vm_qemu_check(struct check *c)
{
    bool any = false;
    for (size_t i = 0; i < c->config->class_count; i++) {
        const struct config_class *class = &c->config->classes[i];
        char subject[SUBJECT_BYTES];
        struct err e = {0};
        void *state = NULL;
        if (strcmp(class->provider, "qemu") != 0) {
            continue;
        }
        (void)snprintf(subject, sizeof subject, "class %.128s", class->name);
        if (vm_ops_qemu.open(class, c->config->deployment, &state, &e) != 0) {
            check_say_error(c, CHECK_FAIL, subject, "image, QEMU and state_dir", &e);
            continue;
        }
        any = true;
        say_image(c, subject, state);
        say_accel(c, subject, state);
        say_room(c, subject, state);
        vm_ops_qemu.close(state);
    }
    if (any && c->who == CONFIG_FOR_WORKER) {
        say_namespaces(c);
    }
}
