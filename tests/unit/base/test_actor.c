#include <poll.h>
#include <stdatomic.h>

#include "base/actor.h"
#include "support/check.h"

#define LIMIT_MS 120000

typedef struct job {
    tb_rc start;      /* what to say of the start */
    bool never_ready; /* do not say it */
    bool deaf;        /* do not stop until released */
    atomic_int wakes;
    atomic_bool released;
} job;

static void work(tb_actor *self, void *arg)
{
    job *j = arg;
    tb_err why;
    if (!j->never_ready) {
        tb_rc rc =
            j->start == TB_OK ? TB_OK : tb_fail(&why, j->start, "the reason");
        tb_actor_ready(self, rc, rc == TB_OK ? NULL : &why);
        if (rc != TB_OK) {
            return;
        }
    }
    struct pollfd p = {.fd = tb_actor_fd(self), .events = POLLIN};
    while (j->deaf ? !atomic_load(&j->released) : !tb_actor_stopping(self)) {
        if (poll(&p, 1, 5) > 0) {
            tb_actor_clear(self);
            (void)atomic_fetch_add(&j->wakes, 1);
        }
    }
    atomic_store(&j->released, true);
}

static void an_actor_starts_wakes_and_stops(void **state)
{
    tb_err err;
    tb_actor *a = NULL;
    job j = {.start = TB_OK};
    (void)state;
    CHECK_OK(tb_actor_start(&a, work, &j, LIMIT_MS, &err), err);
    tb_actor_wake(a);
    while (atomic_load(&j.wakes) == 0) {
        (void)poll(NULL, 0, 1);
    }
    CHECK_OK(tb_actor_stop(&a, LIMIT_MS, &err), err);
    CHECK(a == NULL);
    CHECK_OK(tb_actor_stop(&a, LIMIT_MS, &err), err);
}

static void a_start_that_fails_is_returned_with_its_text(void **state)
{
    tb_err err;
    tb_actor *a = NULL;
    job j = {.start = TB_E_BUSY};
    (void)state;
    CHECK_ERR(tb_actor_start(&a, work, &j, LIMIT_MS, &err), TB_E_BUSY, err,
              "the reason");
    CHECK(a == NULL);
}

static void a_thread_that_is_not_ready_in_time_is_left(void **state)
{
    tb_err err;
    tb_actor *a = NULL;
    static job j = {.never_ready = true};
    (void)state;
    CHECK_ERR(tb_actor_start(&a, work, &j, 20, &err), TB_E_TIMEOUT, err,
              "20 ms");
    CHECK(a == NULL);
    while (!atomic_load(&j.released)) { /* it was asked to stop */
        (void)poll(NULL, 0, 1);
    }
}

static void a_thread_that_does_not_stop_in_time_keeps_its_object(void **state)
{
    tb_err err;
    tb_actor *a = NULL;
    job j = {.deaf = true};
    (void)state;
    CHECK_OK(tb_actor_start(&a, work, &j, LIMIT_MS, &err), err);
    CHECK_ERR(tb_actor_stop(&a, 20, &err), TB_E_TIMEOUT, err, "20 ms");
    CHECK(a != NULL);
    atomic_store(&j.released, true);
    CHECK_OK(tb_actor_stop(&a, LIMIT_MS, &err), err);
}

static tb_rc start_and_stop(void *arg, tb_err *err)
{
    tb_actor *a = NULL;
    job j = {.start = TB_OK};
    (void)arg;
    tb_rc rc = tb_actor_start(&a, work, &j, LIMIT_MS, err);
    CHECK(tb_actor_stop(&a, LIMIT_MS, NULL) == TB_OK);
    return rc;
}

static void starting_survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(start_and_stop, NULL) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_actor_starts_wakes_and_stops),
        cmocka_unit_test(a_start_that_fails_is_returned_with_its_text),
        cmocka_unit_test(a_thread_that_is_not_ready_in_time_is_left),
        cmocka_unit_test(a_thread_that_does_not_stop_in_time_keeps_its_object),
        cmocka_unit_test(starting_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
