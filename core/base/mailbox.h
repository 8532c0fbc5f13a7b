/* core/base/mailbox.h - finished work on its way from other threads to the
 * thread that asked for it. Any thread posts, its owner takes and polls. */
#ifndef TB_BASE_MAILBOX_H
#define TB_BASE_MAILBOX_H

#include "base/err.h"

typedef struct tb_mailbox tb_mailbox;

/* Errors: NOMEM, IO. */
tb_rc tb_mailbox_new(tb_mailbox **out, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
/* It must be empty. */
void tb_mailbox_free(tb_mailbox **mailbox) TB_NONNULL(1);

/* The head of anything that is handed over: made before the work starts, so
 * that posting cannot fail. */
typedef struct tb_letter {
    struct tb_letter *next;
} tb_letter;

/* Hands the letter over. */
void tb_mailbox_post(tb_mailbox *mailbox, tb_letter *letter) TB_NONNULL(1, 2);

/* The oldest letter; NULL: none. Whoever made it frees it. */
tb_letter *tb_mailbox_take(tb_mailbox *mailbox) TB_NONNULL(1);

/* Readable while there may be letters. For poll(2). */
int tb_mailbox_fd(const tb_mailbox *mailbox) TB_NONNULL(1);

#endif
