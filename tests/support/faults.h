/* tests/support/faults.h - makes the n-th system call fail, for SQLite and for
 * us: faults.c takes the place of libc's functions in the test program that
 * links it. Syncs cost nothing there: no test of it cuts the power. For tests
 * of one thread. */
#ifndef TB_TESTS_SUPPORT_FAULTS_H
#define TB_TESTS_SUPPORT_FAULTS_H

#include <stdbool.h>

typedef enum tb_fault_call {
    TB_FAULT_EINTR,  /* open, read, write, sync: interrupted */
    TB_FAULT_SHORT,  /* read and write: half of it */
    TB_FAULT_ENOSPC, /* what may take room on a disk */
    TB_FAULT_EIO,    /* any of them */
    TB_FAULT_EMFILE, /* open */
    TB_FAULT_COUNT
} tb_fault_call;

/* "EINTR", ... */
const char *tb_fault_name(tb_fault_call call);

/* The n-th call (from 0) from here on that this can happen to fails; with
 * for_ever all behind it too. */
void tb_faults_arm(tb_fault_call call, long n, bool for_ever);

/* All calls work again. Whether one failed. */
bool tb_faults_disarm(void);

#endif
