/* core/host/cli_priv.h - the pages that a program's tables make: --help,
 * --version and the man page. */
#ifndef TB_HOST_CLI_PRIV_H
#define TB_HOST_CLI_PRIV_H

#include "host/cli.h"
#include "host/settings_priv.h"

#define TB_CLI_PAGE_BYTES_MAX ((size_t)1 << 20)

/* Appends a page about the program, or about one of its verbs. Errors: LIMIT,
 * NOMEM. */
typedef tb_rc tb_cli_page_fn(const tb_program *program, const tb_verb *verb,
                             tb_buf *out, tb_err *err);

/* The pages: of the program, of one verb, the version, the man page (scdoc). */
tb_cli_page_fn tb_cli_help;
tb_cli_page_fn tb_cli_verb_help;
tb_cli_page_fn tb_cli_version;
tb_cli_page_fn tb_cli_man;

#endif
