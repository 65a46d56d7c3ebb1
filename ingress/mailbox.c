#include "ingress/mailbox.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ingress/intake.h"

int mailbox_init(struct mailbox *m, struct err *e)
{
    *m = (struct mailbox){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (m->fd < 0) {
        return err_errno(e, ERR_CAPACITY, errno, "eventfd");
    }
    ASSERT(pthread_mutex_init(&m->lock, NULL) == 0);
    m->last = &m->first;
    return 0;
}

void mailbox_fini(struct mailbox *m)
{
    ASSERT(m->first == NULL);
    pthread_mutex_destroy(&m->lock);
    close(m->fd);
}

int mailbox_fd(const struct mailbox *m)
{
    return m->fd;
}

static void signal_fd(const struct mailbox *m)
{
    uint64_t one = 1;
    ssize_t n = write(m->fd, &one, sizeof one);
    ASSERT(n == (ssize_t)sizeof one);
}

void mailbox_post(struct mailbox *m, struct delivery *list)
{
    pthread_mutex_lock(&m->lock);
    *m->last = list;
    while (*m->last != NULL) {
        m->last = &(*m->last)->next;
    }
    if (!m->signalled) {
        m->signalled = true;
        signal_fd(m);
    }
    pthread_mutex_unlock(&m->lock);
}

void mailbox_wake(struct mailbox *m)
{
    mailbox_post(m, NULL);
}

struct delivery *mailbox_take(struct mailbox *m)
{
    uint64_t count;
    pthread_mutex_lock(&m->lock);
    struct delivery *list = m->first;
    m->first = NULL;
    m->last = &m->first;
    if (m->signalled) {
        m->signalled = false;
        ssize_t n = read(m->fd, &count, sizeof count);
        ASSERT(n == (ssize_t)sizeof count);
    }
    pthread_mutex_unlock(&m->lock);
    return list;
}
