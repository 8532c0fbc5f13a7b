/* tests/sim/buffers.h - what must hold in each schedule of an asynchronous run:
 * - a client's update of a configuration is accepted at most once, and never
 *   when its model is more than max_staleness rounds old;
 * - it weighs 65536 / sqrt(1 + staleness), rounded, of 65536;
 * - a buffer holds at most `buffer` updates, and a committed one is, to the
 *   bit, what a naive sum over exactly its updates gives;
 * - at the end each update is in one committed or abandoned buffer, or left
 *   over with a record that says so. */
#ifndef TB_TESTS_SIM_BUFFERS_H
#define TB_TESTS_SIM_BUFFERS_H

#include "fleet.h"

/* Takes a durable row; true when it was about a buffer. */
bool buffers_row(fleet *f, const tb_record *record);

/* At the end. */
void buffers_check(const fleet *f);

/* A hash of the order of acceptance: who, from which round, in which one. */
tb_hash buffers_order(const fleet *f);

#endif
