#include "common/vm/launcher.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/slice.h"

static int launcher_fd = -1; /* set before there are threads */

void vm_launcher_use(int fd)
{
    launcher_fd = fd;
}

bool vm_launcher_present(void)
{
    return launcher_fd >= 0;
}

int vm_launcher_start(const char *dir, int output, struct err *e)
{
    struct vm_launcher_request request = {.dir = ""};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    if (!slice_to_cstr(slice_of(dir), request.dir, sizeof request.dir)) {
        return err_set(e, ERR_PERMANENT, ENAMETOOLONG, "the path %s is too long", dir);
    }
    struct iovec data = {.iov_base = &request, .iov_len = sizeof request};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof output);
    memcpy(CMSG_DATA(head), &output, sizeof output);
    ssize_t n;
    do {
        n = sendmsg(launcher_fd, &message, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof request
               ? 0
               : err_errno(e, ERR_RETRY, errno,
                           "the launcher of VMs, a process of this worker, is gone: restart the "
                           "worker");
}
