#include "wire/name.h"

#include <string.h>

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

bool tb_name_valid(const char *text)
{
    if (text[0] == '\0' || text[0] == '.' || text[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < TB_NAME_BYTES; i++) {
        if (text[i] == '\0') {
            return true;
        }
        if (!name_char(text[i])) {
            return false;
        }
    }
    return false;
}

bool tb_name_set(tb_name *out, const char *text)
{
    bool valid = tb_name_valid(text);
    memset(out, 0, sizeof *out); /* no stale bytes behind the name */
    if (valid) {
        memcpy(out->text, text, strlen(text));
    }
    return valid;
}

bool tb_name_equal(const tb_name *a, const tb_name *b)
{
    return strncmp(a->text, b->text, TB_NAME_BYTES) == 0;
}
