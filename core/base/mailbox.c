#include "base/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

struct tb_mailbox {
    pthread_mutex_t lock;
    tb_letter *first;
    tb_letter *last;
    int fd; /* eventfd */
};

tb_rc tb_mailbox_new(tb_mailbox **out, tb_err *err)
{
    *out = NULL;
    tb_mailbox *mailbox = tb_mem_array(1, sizeof *mailbox);
    if (mailbox == NULL) {
        return tb_fail(err, TB_E_NOMEM, "mailbox");
    }
    mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->fd < 0) {
        tb_rc rc = tb_fail_errno(err, errno, "eventfd");
        tb_mem_free(mailbox);
        return rc;
    }
    (void)pthread_mutex_init(&mailbox->lock, NULL);
    *out = mailbox;
    return TB_OK;
}

void tb_mailbox_free(tb_mailbox **mailbox)
{
    tb_mailbox *i = *mailbox;
    if (i == NULL) {
        return;
    }
    (void)close(i->fd);
    (void)pthread_mutex_destroy(&i->lock);
    tb_mem_free(i);
    *mailbox = NULL;
}

void tb_mailbox_post(tb_mailbox *mailbox, tb_letter *letter)
{
    letter->next = NULL;
    (void)pthread_mutex_lock(&mailbox->lock);
    bool first = mailbox->first == NULL; /* else it is readable already */
    if (mailbox->last != NULL) {
        mailbox->last->next = letter;
    } else {
        mailbox->first = letter;
    }
    mailbox->last = letter;
    (void)pthread_mutex_unlock(&mailbox->lock);
    if (first) {
        uint64_t one = 1;
        ssize_t n = write(mailbox->fd, &one, sizeof one);
        (void)n; /* the counter is full only if it is readable already */
    }
}

tb_letter *tb_mailbox_take(tb_mailbox *mailbox)
{
    uint64_t count = 0;
    (void)pthread_mutex_lock(&mailbox->lock);
    tb_letter *letter = mailbox->first;
    if (letter != NULL) {
        mailbox->first = letter->next;
    }
    if (mailbox->first == NULL) {
        mailbox->last = NULL;
        ssize_t n = read(mailbox->fd, &count, sizeof count);
        (void)n; /* nothing to read is fine */
    }
    (void)pthread_mutex_unlock(&mailbox->lock);
    return letter;
}

int tb_mailbox_fd(const tb_mailbox *mailbox)
{
    return mailbox->fd;
}
