/* Any bytes where a VM, its files or its provider's service may put them: the first byte chooses
 * the reader, the rest is its text. What is accepted keeps its bounds, and what a person reads of
 * it is printable where its reader promises that. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/vm/lambda/call.h"
#include "common/vm/proxy.h"
#include "common/vm/qemu/image.h"
#include "common/vm/qemu/notice.h"
#include "common/vm/qemu/qmp.h"
#include "common/vm/qemu/state.h"
#include "common/vm/vm_backend.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_answer.h"

#define IMAGE "arn:aws:lambda:us-east-1:123456789012:microvm-image:mayfly"

static char directory[64]; /* of this process, with the files that are read */

static void remove_files(void)
{
    static const char *const names[] = {
        "vm.json", "process.json", "exit.json", "image.json", "notice.json", "k", "d"};
    char path[PATH_MAX];
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        (void)unlink(qemu_path(path, directory, names[i]));
    }
    (void)rmdir(directory);
}

static void make_directory(void)
{
    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof directory, "%s", "/tmp/fuzz_vm.XXXXXX");
        ASSERT(mkdtemp(directory) != NULL && atexit(remove_files) == 0);
    }
}

static void put_file(const char *name, struct slice text)
{
    char path[PATH_MAX];
    make_directory();
    int fd = open(qemu_path(path, directory, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len);
    ASSERT(close(fd) == 0);
}

/* --- QEMU and its agent --- */

static void try_qmp(struct slice text)
{
    struct buf out;
    struct err e;
    char word[16];
    buf_init(&out, 8 * text.len + 64);
    enum qmp_kind kind = qmp_classify(text, &out, &e);
    ASSERT(kind == QMP_RETURN || out.len == 0);
    qmp_text_member(&out, "status", word, sizeof word);
    struct qmp_news news;
    qmp_news_of(text, &news);
    fuzz_check_printable(news.reason, sizeof news.reason);
    fuzz_check_printable(news.status, sizeof news.status);
    ASSERT(memchr(word, '\0', sizeof word) != NULL);
    buf_fini(&out);
}

static void try_status(struct slice text)
{
    struct qemu_agent_status s;
    qemu_agent_status_parse(text, &s);
    fuzz_check_printable(s.reason, sizeof s.reason);
    ASSERT(s.exited || s.reason[0] == '\0');
}

static void try_records(struct slice text)
{
    static struct qemu_vm_record vm;
    static struct qemu_process_record processes;
    static struct qemu_exit_record end;
    struct err e;
    put_file("vm.json", text);
    put_file("process.json", text);
    put_file("exit.json", text);
    if (qemu_vm_record_read(directory, &vm, &e) == 0) {
        ASSERT(memchr(vm.name, '\0', sizeof vm.name) != NULL);
        ASSERT(memchr(vm.image, '\0', sizeof vm.image) != NULL);
    }
    if (qemu_process_record_read(directory, &processes, &e) == 0) {
        ASSERT(memchr(processes.cgroup, '\0', sizeof processes.cgroup) != NULL);
        ASSERT(processes.qemu.pid >= 0 && processes.supervisor.pid >= 0);
    }
    if (qemu_exit_record_read(directory, &end, &e) == 0) {
        ASSERT(memchr(end.reason, '\0', sizeof end.reason) != NULL);
    }
}

static void try_notice(struct slice text)
{
    static struct qemu_notice n;
    put_file("notice.json", text);
    if (qemu_notice_take(directory, &n)) {
        for (size_t i = 0; i < NET_KINDS; i++) {
            ASSERT(memchr(n.refused[i].text, '\0', sizeof n.refused[i].text) != NULL);
        }
        for (size_t i = 0; i < QEMU_EVENTS; i++) {
            ASSERT(memchr(n.events[i].text, '\0', sizeof n.events[i].text) != NULL);
        }
    }
}

/* The disk, until an empty line, and then the record; without one the disk is a good one. */
static void try_image(struct slice text)
{
    static const char good[32] = {'Q', 'F', 'I', '\xfb', 0, 0, 0, 3, [29] = 1};
    struct qemu_image image;
    struct err e;
    const char *end = text.len >= 2 ? memmem(text.ptr, text.len, "\n\n", 2) : NULL;
    size_t head = end != NULL ? (size_t)(end - text.ptr) : 0;
    size_t skip = end != NULL ? head + 2 : 0;
    put_file("d", end != NULL ? (struct slice){text.ptr, head} : (struct slice){good, sizeof good});
    put_file("k", SLICE("kernel"));
    put_file("image.json", (struct slice){text.ptr + skip, text.len - skip});
    if (qemu_image_load(directory, &image, &e) != 0) {
        ASSERT(e.class == ERR_PERMANENT);
        return;
    }
    ASSERT(image.disk_bytes > 0 && image.disk_bytes <= (int64_t)1 << 50);
    ASSERT(strlen(image.identity) == 64);
    ASSERT(strcmp(image.arch, "x86_64") == 0 || strcmp(image.arch, "aarch64") == 0);
    qemu_image_fini(&image);
}

/* --- proxies --- */

static void check_proxy(const struct vm_proxy *p)
{
    int64_t port = 0;
    ASSERT(p->host[0] != '\0' && memchr(p->host, '\0', sizeof p->host) != NULL);
    ASSERT(slice_to_range(slice_of(p->port), 1, 65535, &port));
    ASSERT(p->userinfo.len == 0 || p->userinfo.ptr[p->userinfo.len - 1] == '@');
    fuzz_check_printable(p->host, sizeof p->host);
}

static void try_proxy(struct slice text)
{
    struct vm_proxy p;
    char *url = slice_dup(text);
    if (vm_proxy_parse(url, &p)) {
        check_proxy(&p);
    }
    if (vm_proxy_destination(url, &p)) {
        check_proxy(&p);
    }
    free(url);
}

/* --- Lambda: its client is replaced by one that has the input as its next answer --- */

static struct slice answer;
static int answers;

int __wrap_lambda_client_open(const struct config_class *class, struct aws_client **out,
                              struct err *e);
int __wrap_lambda_send(struct aws_client *c, const struct lambda_call *call,
                       struct http_response *out, bool *role_denied, struct err *e);

int __wrap_lambda_client_open(const struct config_class *class, struct aws_client **out,
                              struct err *e)
{
    (void)class;
    (void)e;
    *out = NULL;
    return 0;
}

const char *__wrap_aws_client_region(const struct aws_client *c);

const char *__wrap_aws_client_region(const struct aws_client *c)
{
    (void)c;
    return "us-east-1";
}

/* An answer with a next page would be given for ever. */
int __wrap_lambda_send(struct aws_client *c, const struct lambda_call *call,
                       struct http_response *out, bool *role_denied, struct err *e)
{
    (void)c;
    (void)call;
    (void)role_denied;
    if (answers-- == 0) {
        return err_set(e, ERR_RETRY, 0, "no more pages");
    }
    fuzz_answer(answer, 200, out);
    return 0;
}

static void check_vm(const struct vm_info *vm)
{
    ASSERT(vm->id[0] != '\0' && memchr(vm->id, '\0', sizeof vm->id) != NULL);
    ASSERT(memchr(vm->reason, '\0', sizeof vm->reason) != NULL);
    ASSERT(vm->state <= VM_RUN_ENDED && vm->started_ms >= 0 && vm->max_duration_ms >= 0);
}

static void try_lambda(struct slice text)
{
    struct lambda_settings settings = {.endpoint = (char[]){""},
                                       .region = (char[]){"us-east-1"},
                                       .image = (char[]){IMAGE},
                                       .image_version = (char[]){""},
                                       .execution_role = (char[]){""},
                                       .kms_key = (char[]){""},
                                       .log_group = (char[]){""}};
    struct config_class class = {
        .name = (char[]){"small"}, .provider = (char[]){"lambda"}, .settings = &settings};
    struct vm_provider *p = NULL;
    struct vm_info vm;
    struct vm_info *list = NULL;
    size_t n = 0;
    struct err e;
    ASSERT(vm_open(&class, "mayfly", &p, &e) == 0);
    answer = text;
    answers = 1;
    if (vm_describe(p, "id", &vm, &e) == 0) {
        check_vm(&vm);
    }
    answers = 3;
    if (vm_list(p, &list, &n, &e) == 0) {
        for (size_t i = 0; i < n; i++) {
            check_vm(&list[i]);
        }
        free(list);
    }
    vm_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct slice) = {try_qmp,   try_status, try_records, try_notice,
                                                    try_image, try_proxy,  try_lambda};
    if (size > 0) {
        readers[data[0] % COUNT_OF(readers)]((struct slice){(const char *)data + 1, size - 1});
    }
    return 0;
}
