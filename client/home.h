/* client/home.h - the folder of a client: who it is, which federation it
 * joined, and its keys. The federation file is YAML:
 *   client: NAME            as the invite named it
 *   root: HEX               public key that everything is checked against
 *   endpoint: tcp://...     of the coordinator
 *   certificate: HEX        the newest one seen of the working keys
 *   endpoint_before, certificate_before    while a move is not finished */
#ifndef TB_CLIENT_HOME_H
#define TB_CLIENT_HOME_H

#include "crypto/cert.h"
#include "host/folder.h"
#include "host/settings.h"
#include "wire/name.h"

#define HOME_BYTES 1024

typedef struct federation {
    tb_name client;
    uint8_t root[TB_SIGN_PUBLIC_BYTES];
    char endpoint[TB_ENDPOINT_BYTES];
    tb_certificate certificate; /* verified by root; validity is not */
    bool moved; /* and not yet welcomed there; where it was before: */
    char endpoint_before[TB_ENDPOINT_BYTES];
    tb_certificate certificate_before;
} federation;

typedef struct home {
    tb_folder *folder;
    federation fed;
    tb_sign_key *sign_key;
    tb_box_key *curve_key;
    tb_sign_key *retired; /* the sign key before; NULL: none was rotated */
} home;

/* The row of a settings table for a member `home` of struct `owner`. */
#define HOME_ROW(owner) HOME_ROW_FLAGS(owner, 0)
#define HOME_ROW_FLAGS(owner, row_flags)                                       \
    {                                                                          \
        .key = "home", .help = "folder of this client's keys and models",      \
        .value = "DIR", .preset = "tributary-home", .type = TB_SETTING_PATH,   \
        .flags = (row_flags), TB_FIELD(owner, home)                            \
    }

/* The same for a member `bandwidth`. */
#define BANDWIDTH_ROW(owner)                                                   \
    {                                                                          \
        .key = "bandwidth",                                                    \
        .help = "most bytes a second, each way; 0: no limit", .value = "RATE", \
        .preset = "0", .min = 0, .max = 1e12, .type = TB_SETTING_BYTES,        \
        .flags = TB_SETTING_LIVE | TB_SETTING_A_SECOND,                        \
        TB_FIELD(owner, bandwidth)                                             \
    }

/* Opens the folder of a client that has joined; keys are read when it is
 * locked. Errors: as tb_folder_open, tb_*_key_read; NOT_FOUND (not joined: says
 * how), MALFORMED. */
tb_rc home_open(home *out, const char *dir, tb_folder_use use,
                tb_err *err) TB_MUST_CHECK;

/* Wipes and closes; safe twice and on a zeroed one. */
void home_close(home *h);

/* Writes the federation file of an open folder, atomically. */
tb_rc federation_write(const tb_folder *folder, const federation *fed,
                       tb_err *err) TB_MUST_CHECK;

/* "DIR/NAME" below an item of the folder, for tb_mem_free. Errors: NOMEM. */
tb_rc home_path(char **out, const home *h, tb_folder_item item,
                const char *name, tb_err *err) TB_MUST_CHECK;

#endif
