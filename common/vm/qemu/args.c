#include "common/vm/qemu/args.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 96

struct args {
    char *items[ARGS_MAX + 1];
    size_t count;
};

static void add_argument(struct args *a, const char *word)
{
    ASSERT(a->count < ARGS_MAX);
    a->items[a->count++] = slice_dup(slice_of(word));
}

PRINTF(3, 4) static void addf(struct args *a, const char *option, const char *fmt, ...)
{
    char text[8192];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0 && (size_t)n < sizeof text);
    add_argument(a, option);
    add_argument(a, text);
}

static void add_machine(struct args *a, const struct qemu_args_in *in)
{
    bool x86 = strcmp(in->image->arch, "x86_64") == 0;
    addf(a, "-machine", x86 ? "q35,graphics=off,vmport=off,usb=off" : "virt,gic-version=max");
    if (strcmp(in->accel, "tcg") == 0) {
        addf(a, "-accel", "tcg,tb-size=%d", QEMU_TCG_MIB);
    } else {
        addf(a, "-accel", "%s", in->accel);
    }
    addf(a, "-cpu", "%s", strcmp(in->accel, "kvm") == 0 ? "host" : "max");
    addf(a, "-smp", "%" PRId64, in->cpus);
    addf(a, "-m", "%" PRId64, in->memory_mib);
    addf(a, "-rtc", "base=utc,clock=host");
}

static void add_channels(struct args *a, bool shell)
{
    addf(a, "-chardev", "stdio,id=console,signal=off");
    addf(a, "-serial", "chardev:console");
    addf(a, "-chardev", "socket,id=qmp,path=" QEMU_QMP_SOCKET ",server=on,wait=off");
    addf(a, "-mon", "chardev=qmp,mode=control");
    addf(a, "-chardev", "socket,id=monitor,fd=%d", QEMU_FD_MONITOR);
    addf(a, "-mon", "chardev=monitor,mode=control");
    addf(a, "-device", "virtio-serial-pci,id=vser,bus=pcie.0,addr=0x4,max_ports=4");
    addf(a, "-chardev", "socket,id=payload,path=" QEMU_PAYLOAD_SOCKET ",server=on,wait=off");
    addf(a, "-device",
         "virtserialport,id=port1,bus=vser.0,nr=1,chardev=payload,name=org.mayfly.payload");
    addf(a, "-add-fd", "fd=%d,set=1", QEMU_FD_STATUS);
    addf(a, "-chardev", "file,id=status,path=/dev/fdset/1,append=on");
    addf(a, "-device",
         "virtserialport,id=port2,bus=vser.0,nr=2,chardev=status,name=org.mayfly.status");
    if (shell) {
        addf(a, "-chardev", "socket,id=shell,fd=%d", QEMU_FD_SHELL);
        addf(a, "-device",
             "virtserialport,id=port3,bus=vser.0,nr=3,chardev=shell,name=org.mayfly.shell");
    }
}

/* A disk that is only read, on the disk `backing` ("": on none). */
static void add_base(struct args *a, const char *name, int fd, const char *format,
                     const char *backing)
{
    addf(a, "-add-fd", "fd=%d,set=%d", fd, fd);
    addf(a, "-blockdev", "driver=file,node-name=%sfile,filename=/dev/fdset/%d,read-only=on", name,
         fd);
    addf(a, "-blockdev", "driver=%s,node-name=%s,file=%sfile,read-only=on%s%s", format, name, name,
         *backing == '\0' ? "" : ",backing=", backing);
}

static void add_disk(struct args *a, const struct qemu_args_in *in)
{
    add_base(a, "image", QEMU_FD_DISK, in->image->disk_is_qcow2 ? "qcow2" : "raw", "");
    if (in->incoming) {
        add_base(a, "saved", QEMU_FD_SAVED_DISK, "qcow2", "image");
    }
    /* The disk is deleted with the VM: it need not survive a power cut. */
    addf(a, "-blockdev",
         "driver=file,node-name=diskfile,filename=" QEMU_OVERLAY ",cache.no-flush=on");
    addf(a, "-blockdev", "driver=qcow2,node-name=disk,file=diskfile,cache.no-flush=on,backing=%s",
         in->incoming ? "saved" : "image");
    /* By default QEMU pauses the VM when the host's disk is full, and nobody resumes it. */
    addf(a, "-device",
         "virtio-blk-pci,id=blk,bus=pcie.0,addr=0x5,drive=disk,werror=report,rerror=report");
}

/* Frames go to the gateway over a socket that the supervisor made; QEMU itself opens none. */
static void add_network(struct args *a)
{
    addf(a, "-netdev", "stream,id=net,server=off,addr.type=fd,addr.str=%d", QEMU_FD_NETWORK);
    addf(a, "-device",
         "virtio-net-pci,id=nic,bus=pcie.0,addr=0x6,netdev=net,mac=52:54:00:12:34:56,romfile=");
}

static char **take_arguments(struct args *a)
{
    char **argv = calloc(a->count + 1, sizeof *argv);
    ASSERT(argv != NULL);
    memcpy(argv, a->items, a->count * sizeof *argv);
    return argv;
}

char **qemu_args_build(const struct qemu_args_in *in)
{
    struct args a = {.count = 0};

    add_argument(&a, in->binary);
    add_argument(&a, "-nodefaults");
    add_argument(&a, "-no-user-config");
    add_argument(&a, "-no-reboot");
    addf(&a, "-display", "none");
    if (in->sandbox) {
        addf(&a, "-sandbox",
             "on,obsolete=deny,resourcecontrol=deny,elevateprivileges=deny,spawn=deny");
    }
    add_machine(&a, in);
    add_channels(&a, in->shell);
    add_disk(&a, in);
    add_network(&a);
    addf(&a, "-object", "rng-random,id=rng,filename=/dev/urandom");
    addf(&a, "-device", "virtio-rng-pci,id=vrng,bus=pcie.0,addr=0x7,rng=rng");
    addf(&a, "-kernel", "/proc/self/fd/%d", QEMU_FD_KERNEL);
    addf(&a, "-initrd", "/proc/self/fd/%d", QEMU_FD_INITRD);
    addf(&a, "-append", "%s", in->image->cmdline);
    if (in->incoming) {
        addf(&a, "-incoming", "fd:%d", QEMU_FD_INCOMING);
    }
    return take_arguments(&a);
}

PRINTF(2, 3) static void add_word(struct args *a, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0 && (size_t)n < sizeof text);
    add_argument(a, text);
}

char **qemu_gateway_args_build(const struct qemu_gateway_in *in)
{
    struct args a = {.count = 0};
    add_argument(&a, in->binary);
    add_word(&a, "mode=%s", in->mode);
    for (size_t i = 0; i < in->allow_count; i++) {
        add_word(&a, "allow=%s", in->allow[i]);
    }
    for (size_t i = 0; i < in->proxy_count; i++) {
        add_word(&a, "proxy=%s/%s", in->proxies[i].host, in->proxies[i].port);
    }
    return take_arguments(&a);
}

void qemu_args_free(char **argv)
{
    for (size_t i = 0; argv != NULL && argv[i] != NULL; i++) {
        free(argv[i]);
    }
    free(argv);
}
