#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "tests/fakes/qemu/fake_qemu.h"

static char faults_path[4096]; /* set once, before there are threads */

void fake_faults_beside(const char *kernel)
{
    char kernel_path[3072];
    ssize_t len = readlink(kernel, kernel_path, sizeof kernel_path - 1);
    kernel_path[len < 0 ? 0 : len] = '\0';
    const char *slash = strrchr(kernel_path, '/');
    (void)snprintf(faults_path, sizeof faults_path, "%.*s/faults",
                   slash == NULL ? 1 : (int)(slash - kernel_path),
                   slash == NULL ? "." : kernel_path);
}

/* Reads the file and writes it again with one taken off a counted fault; under its lock. */
static bool find_fault(int fd, const char *name, int64_t *out_number)
{
    char text[4096] = {0};
    struct buf rest_of_file;
    struct slice line;
    struct slice word;
    struct slice number;
    bool found = false;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    struct slice rest = {text, n < 0 ? 0 : (size_t)n};
    buf_init(&rest_of_file, sizeof text);
    while (rest.len > 0) {
        int64_t value = -1;
        (void)slice_cut(rest, '\n', &line, &rest);
        (void)slice_cut(slice_trim(line), ' ', &word, &number);
        bool counted = slice_to_int64(slice_trim(number), &value);
        if (slice_eq_cstr(word, name) && (!counted || value > 0)) {
            found = true;
            if (out_number != NULL) {
                *out_number = counted ? value : -1;
            }
            if (counted && word.ptr[word.len - 1] == '!') {
                buf_printf(&rest_of_file, "%s %lld\n", name, (long long)value - 1);
                continue;
            }
        }
        buf_printf(&rest_of_file, "%.*s\n", SLICE_ARG(line));
    }
    if (found && name[strlen(name) - 1] == '!') {
        (void)!ftruncate(fd, 0);
        (void)!pwrite(fd, rest_of_file.data, rest_of_file.len, 0);
    }
    buf_fini(&rest_of_file);
    return found;
}

bool fake_fault(const char *name, int64_t *out_number)
{
    int fd = open(faults_path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    (void)flock(fd, LOCK_EX);
    bool found = find_fault(fd, name, out_number);
    close(fd);
    return found;
}
