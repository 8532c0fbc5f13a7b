#include "host/peers.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define FIRST_SLOTS 64

static size_t start_of(const tb_peers *peers, const void *bytes, size_t len)
{
    tb_hash hash = tb_hash_of(bytes, len);
    uint64_t low;
    memcpy(&low, hash.bytes, sizeof low);
    return (size_t)low & (peers->n_slots - 1);
}

tb_peer *tb_peers_by_name(const tb_peers *peers, const tb_name *name)
{
    if (peers->n == 0) {
        return NULL;
    }
    size_t at = start_of(peers, name->text, strlen(name->text));
    for (; peers->by_name[at] != 0; at = (at + 1) & (peers->n_slots - 1)) {
        tb_peer *p = peers->peers[peers->by_name[at] - 1];
        if (tb_name_equal(&p->name, name)) {
            return p;
        }
    }
    return NULL;
}

bool tb_peers_has_key(const tb_peer *p, const uint8_t *key)
{
    return memcmp(p->key, key, TB_CURVE_PUBLIC_BYTES) == 0 ||
           (p->has_old && memcmp(p->old_key, key, TB_CURVE_PUBLIC_BYTES) == 0);
}

tb_peer *tb_peers_by_key(const tb_peers *peers, const uint8_t *key)
{
    if (peers->n == 0) {
        return NULL;
    }
    size_t at = start_of(peers, key, TB_CURVE_PUBLIC_BYTES);
    for (; peers->by_key[at] != 0; at = (at + 1) & (peers->n_slots - 1)) {
        tb_peer *p = peers->peers[peers->by_key[at] - 1];
        if (p->allowed && tb_peers_has_key(p, key)) {
            return p;
        }
    }
    return NULL;
}

static void insert(const tb_peers *peers, uint32_t *slots, const void *bytes,
                   size_t len, size_t index)
{
    size_t at = start_of(peers, bytes, len);
    while (slots[at] != 0) {
        at = (at + 1) & (peers->n_slots - 1);
    }
    slots[at] = (uint32_t)index + 1;
}

/* Fills both tables anew: their slots never hold an old key. */
static void index_all(tb_peers *peers)
{
    memset(peers->by_name, 0, peers->n_slots * sizeof *peers->by_name);
    memset(peers->by_key, 0, peers->n_slots * sizeof *peers->by_key);
    for (size_t i = 0; i < peers->n; i++) {
        const tb_peer *p = peers->peers[i];
        insert(peers, peers->by_name, p->name.text, strlen(p->name.text), i);
        insert(peers, peers->by_key, p->key, sizeof p->key, i);
        if (p->has_old) {
            insert(peers, peers->by_key, p->old_key, sizeof p->old_key, i);
        }
    }
}

/* Makes room for one more peer, or old key, in all three arrays. */
static tb_rc reserve(tb_peers *peers, tb_err *err)
{
    if (2 * (peers->n + peers->n_old + 1) <= peers->n_slots) {
        return TB_OK;
    }
    size_t n_slots = peers->n_slots > 0 ? peers->n_slots * 2 : FIRST_SLOTS;
    uint32_t *by_name = tb_mem_array(n_slots, sizeof *by_name);
    uint32_t *by_key = tb_mem_array(n_slots, sizeof *by_key);
    tb_peer **more = tb_mem_resize(peers->peers, n_slots / 2, sizeof *more);
    if (more != NULL) {
        peers->peers = more;
    }
    if (by_name == NULL || by_key == NULL || more == NULL) {
        tb_mem_free(by_name);
        tb_mem_free(by_key);
        return tb_fail(err, TB_E_NOMEM, "%zu clients", n_slots / 2);
    }
    tb_mem_free(peers->by_name);
    tb_mem_free(peers->by_key);
    peers->by_name = by_name;
    peers->by_key = by_key;
    peers->n_slots = n_slots;
    index_all(peers);
    return TB_OK;
}

static tb_rc add(tb_peers *peers, const tb_name *name, const uint8_t *key,
                 tb_err *err)
{
    tb_rc rc = reserve(peers, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_peer *p = tb_mem_array(1, sizeof *p);
    if (p == NULL) {
        return tb_fail(err, TB_E_NOMEM, "client %s", name->text);
    }
    p->name = *name;
    p->allowed = true;
    memcpy(p->key, key, sizeof p->key);
    size_t index = peers->n++;
    peers->peers[index] = p;
    insert(peers, peers->by_name, name->text, strlen(name->text), index);
    insert(peers, peers->by_key, key, sizeof p->key, index);
    return TB_OK;
}

tb_rc tb_peers_allow(tb_peers *peers, const tb_name *name, const uint8_t *key,
                     tb_err *err)
{
    tb_peer *p = tb_peers_by_name(peers, name);
    const tb_peer *holder = tb_peers_by_key(peers, key);
    if (holder != NULL && holder != p) {
        return tb_fail(err, TB_E_EXISTS, "client %s: its key is that of %s",
                       name->text, holder->name.text);
    }
    if (p == NULL) {
        return add(peers, name, key, err);
    }
    p->allowed = true;
    if (memcmp(p->key, key, sizeof p->key) != 0 || p->has_old) {
        peers->n_old -= p->has_old;
        p->has_old = false;
        memcpy(p->key, key, sizeof p->key);
        index_all(peers);
    }
    return TB_OK;
}

tb_rc tb_peers_rotate(tb_peers *peers, const tb_name *name, const uint8_t *key,
                      tb_err *err)
{
    tb_peer *p = tb_peers_by_name(peers, name);
    const tb_peer *holder = tb_peers_by_key(peers, key);
    if (p == NULL || (holder != NULL && holder != p)) {
        return tb_fail(err, p == NULL ? TB_E_NOT_FOUND : TB_E_EXISTS,
                       "client %s cannot have this key", name->text);
    }
    if (memcmp(p->key, key, sizeof p->key) == 0) {
        return TB_OK;
    }
    tb_rc rc = reserve(peers, err);
    if (rc == TB_OK) {
        peers->n_old += !p->has_old;
        p->has_old = true;
        memcpy(p->old_key, p->key, sizeof p->old_key);
        memcpy(p->key, key, sizeof p->key);
        index_all(peers);
    }
    return rc;
}

void tb_peers_forget_old(tb_peers *peers, tb_peer *peer)
{
    if (peer->has_old) {
        peer->has_old = false;
        peers->n_old--;
        index_all(peers);
    }
}

void tb_peers_wait(tb_peers *peers, tb_peer *peer)
{
    if (!peer->waiting) {
        peer->waiting = true;
        peer->next_waiting = peers->waiting;
        peers->waiting = peer;
    }
}

tb_link *tb_peers_add_silent(tb_peer *peer, tb_link *link)
{
    tb_link *oldest =
        peer->silent[TB_PEER_SILENT - 1] != NULL ? peer->silent[0] : NULL;
    size_t at = 0;
    if (oldest != NULL) {
        tb_peers_remove_silent(peer, oldest);
    }
    while (peer->silent[at] != NULL) {
        at++;
    }
    peer->silent[at] = link;
    return oldest;
}

void tb_peers_remove_silent(tb_peer *peer, const tb_link *link)
{
    size_t n = 0;
    for (size_t i = 0; i < TB_PEER_SILENT; i++) {
        if (peer->silent[i] != link) {
            peer->silent[n++] = peer->silent[i];
        }
    }
    while (n < TB_PEER_SILENT) {
        peer->silent[n++] = NULL;
    }
}

void tb_peers_release(tb_peers *peers)
{
    for (size_t i = 0; i < peers->n; i++) {
        tb_outbox_clear(&peers->peers[i]->out);
        tb_mem_free(peers->peers[i]);
    }
    tb_mem_free(peers->peers);
    tb_mem_free(peers->by_name);
    tb_mem_free(peers->by_key);
    *peers = (tb_peers){0};
}
