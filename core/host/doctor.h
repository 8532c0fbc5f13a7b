/* core/host/doctor.h - what `doctor` of both daemons looks at alike, and how it
 * says what it found: one line a check, "passed" or "problem", and under a
 * problem how to fix it. Only looks: nothing is changed. One owner. */
#ifndef TB_HOST_DOCTOR_H
#define TB_HOST_DOCTOR_H

#include "crypto/cert.h"
#include "host/folder.h"

typedef struct tb_doctor {
    unsigned n_passed, n_problems;
    unsigned n_modes; /* problems of owner and mode among them */
} tb_doctor;

/* Prints "passed   WHAT: ...". */
void tb_doctor_passed(tb_doctor *d, const char *what, const char *fmt, ...)
    TB_NONNULL(1, 2, 3) TB_PRINTF(3, 4);

/* Prints "problem  WHAT: ..." and below it "fix: ...". */
void tb_doctor_problem(tb_doctor *d, const char *what, const char *fix,
                       const char *fmt, ...) TB_NONNULL(1, 2, 3, 4)
    TB_PRINTF(4, 5);

/* The sum of it. Errors: REFUSED (there are problems). */
tb_rc tb_doctor_end(const tb_doctor *d, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Room on the folder's disk, descriptors, core dumps, libsodium. */
void tb_doctor_machine(tb_doctor *d, const char *dir, uint64_t disk_bytes,
                       uint64_t n_files) TB_NONNULL(1, 2);

/* Owner and mode of the folder and of these items of it, those that exist. */
void tb_doctor_modes(tb_doctor *d, const tb_folder *folder,
                     const tb_folder_item *items, size_t n_items)
    TB_NONNULL(1, 2, 3);
/* The same for one file, under this name. */
void tb_doctor_mode(tb_doctor *d, const char *what, const char *path)
    TB_NONNULL(1, 2, 3);

/* Keys could not be read: why. fix: what helps, unless a problem of owner or
 * mode that was told before says it. */
void tb_doctor_keys(tb_doctor *d, tb_rc rc, const char *fix, const tb_err *err)
    TB_NONNULL(1, 3, 4);

/* Dates of the working keys' certificate, and that the clock is not behind what
 * it has seen: newest is a file that was written here last. */
void tb_doctor_dates(tb_doctor *d, const tb_certificate *certificate,
                     const char *newest) TB_NONNULL(1, 2, 3);

/* Resolves "tcp://host:port" and connects to it; true when that worked. */
bool tb_doctor_reach(tb_doctor *d, const char *endpoint) TB_NONNULL(1, 2);

#endif
