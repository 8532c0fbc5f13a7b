/* Members, invites and versions: rows that live as long as the machine. */
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

/* Position of the name, or where it would stand. */
static size_t place(const tb_coordinator *co, const tb_name *name)
{
    size_t low = 0;
    size_t high = co->n_rows;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(co->rows[mid]->name.text, name->text) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

tb_row *tb_co_find(const tb_coordinator *co, const tb_name *name)
{
    size_t at = place(co, name);
    return at < co->n_rows && tb_name_equal(&co->rows[at]->name, name)
               ? co->rows[at]
               : NULL;
}

/* The array with room for one more element, or NULL; at itself stays valid. */
static void *grow(void *at, size_t n, size_t *cap, size_t size, tb_err *err)
{
    if (at != NULL && n < *cap) {
        return at;
    }
    size_t more = *cap == 0 ? 16 : 2 * *cap;
    void *p = tb_mem_resize(at, more, size);
    if (p == NULL) {
        (void)tb_fail(err, TB_E_NOMEM, "coordinator: %zu rows", more);
        return NULL;
    }
    *cap = more;
    return p;
}

static tb_invite_row *find_invite(const tb_coordinator *co,
                                  const uint8_t id[16])
{
    for (size_t i = 0; i < co->n_invites; i++) {
        if (memcmp(co->invites[i].invite.invite, id, 16) == 0) {
            return &co->invites[i];
        }
    }
    return NULL;
}

static tb_rc invited(tb_coordinator *co, const tb_rec_invited *r, tb_err *err)
{
    const tb_row *row = tb_co_find(co, &r->client);
    if (row != NULL && !row->revoked) {
        return tb_fail(err, TB_E_EXISTS,
                       "client %s is a member already: revoke it first, or "
                       "choose another name",
                       r->client.text);
    }
    if (find_invite(co, r->invite) != NULL) {
        return tb_fail(err, TB_E_EXISTS, "this invite was made before");
    }
    tb_invite_row *invites = grow(co->invites, co->n_invites, &co->cap_invites,
                                  sizeof *invites, err);
    if (invites == NULL) {
        return TB_E_NOMEM;
    }
    co->invites = invites;
    invites[co->n_invites++] = (tb_invite_row){.invite = *r};
    return TB_OK;
}

static tb_row *new_row(tb_coordinator *co, const tb_name *name, tb_err *err)
{
    tb_row **rows =
        grow(co->rows, co->n_rows, &co->cap_rows, sizeof *rows, err);
    if (rows == NULL) {
        return NULL;
    }
    co->rows = rows;
    tb_row *row = tb_mem_array(1, sizeof *row);
    if (row == NULL) {
        (void)tb_fail(err, TB_E_NOMEM, "coordinator: a member");
        return NULL;
    }
    row->name = *name;
    size_t i = place(co, name);
    memmove(rows + i + 1, rows + i, (co->n_rows - i) * sizeof *rows);
    rows[i] = row;
    co->n_rows++;
    return row;
}

/* The invite that a record names, when it fits and is not used yet. */
static tb_rc invite_of(const tb_coordinator *co, const tb_rec_enrolled *r,
                       tb_invite_row **out, tb_err *err)
{
    *out = find_invite(co, r->invite);
    if (*out == NULL || !tb_name_equal(&(*out)->invite.client, &r->client)) {
        return tb_fail(err, TB_E_MISMATCH, "no invite of client %s has this id",
                       r->client.text);
    }
    return !(*out)->used
               ? TB_OK
               : tb_fail(err, TB_E_EXISTS, "the invite of client %s was used",
                         r->client.text);
}

static tb_rc enrolled(tb_coordinator *co, const tb_rec_enrolled *r, tb_err *err)
{
    static const uint8_t none[sizeof r->invite] = {0};
    tb_invite_row *invite = NULL;
    tb_rc rc = memcmp(r->invite, none, sizeof none) == 0
                   ? TB_OK /* taken over */
                   : invite_of(co, r, &invite, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_row *row = tb_co_find(co, &r->client);
    if (row != NULL && !row->revoked) {
        return tb_fail(err, TB_E_EXISTS, "client %s is a member already",
                       r->client.text);
    }
    if (row == NULL) {
        row = new_row(co, &r->client, err);
    }
    if (row == NULL) {
        return TB_E_NOMEM;
    }
    row->revoked = false;
    memcpy(row->invite, r->invite, sizeof row->invite);
    memcpy(row->sign_key, r->sign_key, sizeof row->sign_key);
    memcpy(row->curve_key, r->curve_key, sizeof row->curve_key);
    row->since_s = r->at_s;
    row->n_old = 0;
    row->old_curve_in = false;
    row->labels = (tb_labels){""};
    if (invite != NULL) {
        invite->used = true;
        row->labels = invite->invite.labels;
    }
    return TB_OK;
}

static bool same_keys(const tb_row *row, const tb_rec_rotated *r)
{
    return memcmp(row->sign_key, r->sign_key, sizeof row->sign_key) == 0 &&
           memcmp(row->curve_key, r->curve_key, sizeof row->curve_key) == 0;
}

static tb_rc rotated(tb_coordinator *co, const tb_rec_rotated *r, tb_err *err)
{
    tb_row *row = tb_co_find(co, &r->client);
    if (row == NULL || row->revoked) {
        return tb_fail(err, TB_E_NOT_FOUND, "there is no member %s",
                       r->client.text);
    }
    bool known = same_keys(row, r);
    if (known != (r->step == TB_ROTATION_IN_USE) ||
        (known && !row->old_curve_in)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the keys of client %s cannot be changed so",
                       r->client.text);
    }
    row->old_curve_in = !known;
    if (known) {
        return TB_OK;
    }
    memmove(row->old + 1, row->old, (TB_OLD_KEYS_MAX - 1) * sizeof *row->old);
    row->n_old += row->n_old < TB_OLD_KEYS_MAX;
    row->old[0] =
        (tb_old_keys){.since_s = row->since_s, .until_s = r->old_until_s};
    memcpy(row->old[0].sign_key, row->sign_key, sizeof row->sign_key);
    memcpy(row->old[0].curve_key, row->curve_key, sizeof row->curve_key);
    memcpy(row->sign_key, r->sign_key, sizeof row->sign_key);
    memcpy(row->curve_key, r->curve_key, sizeof row->curve_key);
    row->since_s = r->at_s;
    return TB_OK;
}

static tb_rc key_changed(tb_coordinator *co, const tb_rec_coordinator_key *r,
                         tb_err *err)
{
    const tb_rec_coordinator_key *last = &co->key;
    bool open = last->step == TB_ROTATION_PROVEN;
    uint64_t serial = r->move.certificate.serial;
    bool fits = r->step == TB_ROTATION_PROVEN
                    ? !open && (last->step == 0 ||
                                serial > last->move.certificate.serial)
                    : open && serial == last->move.certificate.serial;
    if (!fits) {
        return tb_fail(err, TB_E_MISMATCH,
                       open ? "the last change of keys is not finished yet"
                            : "no change of keys is open, or its serial is not "
                              "above the last one");
    }
    co->key = *r;
    return TB_OK;
}

bool tb_coordinator_key(const tb_coordinator *co, tb_rec_coordinator_key *out)
{
    *out = co->key;
    return co->key.step != 0;
}

static tb_rc labelled(tb_coordinator *co, const tb_rec_labelled *r, tb_err *err)
{
    tb_row *row = tb_co_find(co, &r->client);
    if (row == NULL || row->revoked) {
        return tb_fail(err, TB_E_NOT_FOUND, "there is no member %s",
                       r->client.text);
    }
    row->labels = r->labels;
    co->census++;
    return TB_OK;
}

static tb_rc revoked(tb_coordinator *co, const tb_rec_revoked *r, tb_err *err)
{
    tb_row *row = tb_co_find(co, &r->client);
    if (row == NULL || row->revoked) {
        return tb_fail(err, TB_E_NOT_FOUND, "there is no member %s",
                       r->client.text);
    }
    row->revoked = true;
    co->census++;
    return TB_OK;
}

static tb_rc version(tb_coordinator *co, const tb_rec_version *r, tb_err *err)
{
    uint64_t known = tb_coordinator_version(co, &r->model);
    if (r->sequence <= known) {
        return tb_fail(err, TB_E_EXISTS,
                       "model %s is at version %llu, which cannot fall to %llu",
                       r->model.text, (unsigned long long)known,
                       (unsigned long long)r->sequence);
    }
    for (size_t i = 0; i < co->n_versions; i++) {
        if (tb_name_equal(&co->versions[i].model, &r->model)) {
            co->versions[i].sequence = r->sequence;
            return TB_OK;
        }
    }
    tb_version_row *versions = grow(co->versions, co->n_versions,
                                    &co->cap_versions, sizeof *versions, err);
    if (versions == NULL) {
        return TB_E_NOMEM;
    }
    co->versions = versions;
    versions[co->n_versions++] =
        (tb_version_row){.model = r->model, .sequence = r->sequence};
    return TB_OK;
}

tb_rc tb_co_apply_member(tb_coordinator *co, const tb_record *record,
                         tb_err *err)
{
    if (record->kind == TB_REC_INVITED) {
        return invited(co, &record->u.invited, err);
    }
    if (record->kind == TB_REC_ENROLLED) {
        return enrolled(co, &record->u.enrolled, err);
    }
    if (record->kind == TB_REC_COORDINATOR_KEY) {
        return key_changed(co, &record->u.coordinator_key, err);
    }
    if (record->kind == TB_REC_ROTATED) {
        return rotated(co, &record->u.rotated, err);
    }
    if (record->kind == TB_REC_REVOKED) {
        return revoked(co, &record->u.revoked, err);
    }
    if (record->kind == TB_REC_LABELLED) {
        return labelled(co, &record->u.labelled, err);
    }
    return version(co, &record->u.version, err);
}

void tb_co_free_roster(tb_coordinator *co)
{
    for (size_t i = 0; i < co->n_rows; i++) {
        tb_mem_free(co->rows[i]->data_sets);
        tb_mem_free(co->rows[i]->strikes);
        tb_mem_free(co->rows[i]);
    }
    tb_mem_free(co->rows);
    tb_mem_free(co->invites);
    tb_mem_free(co->versions);
}

static tb_strikes *strikes_of(const tb_row *row, const tb_run *run)
{
    for (uint32_t i = 0; i < row->n_strikes; i++) {
        if (row->strikes[i].run == run) {
            return &row->strikes[i];
        }
    }
    return NULL;
}

tb_rc tb_co_strike(tb_row *row, const tb_run *run, tb_err *err)
{
    tb_strikes *strikes = strikes_of(row, run);
    if (strikes == NULL) {
        tb_strikes *all = tb_mem_resize(row->strikes, row->n_strikes + 1,
                                        sizeof *row->strikes);
        if (all == NULL) {
            return tb_fail(err, TB_E_NOMEM, "coordinator: strikes");
        }
        row->strikes = all;
        strikes = &all[row->n_strikes++];
        *strikes = (tb_strikes){.run = run};
    }
    strikes->n++;
    return TB_OK;
}

void tb_co_forgive(tb_coordinator *co, const tb_run *run)
{
    for (size_t i = 0; i < co->n_rows; i++) {
        tb_row *row = co->rows[i];
        tb_strikes *strikes = strikes_of(row, run);
        if (strikes != NULL) {
            *strikes = row->strikes[--row->n_strikes];
        }
    }
}

bool tb_co_eligible(const tb_run *run, const tb_row *row)
{
    const tb_strikes *strikes = strikes_of(row, run);
    if (row->revoked || !row->connected ||
        (strikes != NULL && strikes->n >= TB_STRIKES_MAX)) {
        return false;
    }
    const tb_run_params *p = run->params;
    for (uint32_t i = 0; i < row->n_data_sets; i++) {
        if (tb_name_equal(&row->data_sets[i], &p->data_set)) {
            return tb_eligible_fits(&p->eligible, &row->labels, &row->reported);
        }
    }
    return false;
}

static void describe(const tb_row *row, tb_member *out)
{
    *out = (tb_member){.client = row->name,
                       .since_s = row->since_s,
                       .n_old = row->n_old,
                       .old_curve_in = row->old_curve_in,
                       .labels = row->labels,
                       .reported = row->reported,
                       .revoked = row->revoked,
                       .connected = row->connected,
                       .ready = row->ready,
                       .n_accepted = row->n_accepted,
                       .n_expelled = row->n_expelled};
    memcpy(out->sign_key, row->sign_key, sizeof out->sign_key);
    memcpy(out->curve_key, row->curve_key, sizeof out->curve_key);
    memcpy(out->old, row->old, sizeof out->old);
}

bool tb_coordinator_member(const tb_coordinator *co, size_t i, tb_member *out)
{
    if (i >= co->n_rows) {
        return false;
    }
    describe(co->rows[i], out);
    return true;
}

bool tb_coordinator_find(const tb_coordinator *co, const tb_name *client,
                         tb_member *out)
{
    const tb_row *row = tb_co_find(co, client);
    if (row == NULL) {
        return false;
    }
    describe(row, out);
    return true;
}

bool tb_coordinator_invite(const tb_coordinator *co, const uint8_t id[16],
                           tb_rec_invited *out, bool *used)
{
    const tb_invite_row *row = find_invite(co, id);
    if (row == NULL) {
        return false;
    }
    *out = row->invite;
    *used = row->used;
    return true;
}

uint64_t tb_coordinator_version(const tb_coordinator *co, const tb_name *model)
{
    for (size_t i = 0; i < co->n_versions; i++) {
        if (tb_name_equal(&co->versions[i].model, model)) {
            return co->versions[i].sequence;
        }
    }
    return 0;
}
