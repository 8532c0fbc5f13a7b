/* Any text as changes of labels, as conditions, and as the canonical text of
 * either: refused, or what is taken reads back as itself. */
#include <stdlib.h>
#include <string.h>

#include "wire/labels.h"

static void check_labels(const char *text)
{
    tb_labels labels = {0};
    if (tb_labels_valid(text) && strlen(text) >= sizeof labels.text) {
        abort();
    }
    if (tb_labels_change(&labels, text, NULL) == TB_OK &&
        !tb_labels_valid(labels.text)) {
        abort();
    }
    if (tb_label_check(text, NULL) == TB_OK && strchr(text, '=') == NULL) {
        abort();
    }
}

static void check_conditions(const char *text)
{
    tb_eligible some = {0};
    tb_eligible again;
    tb_labels labels = {0};
    bool one = tb_condition_check(text, NULL) == TB_OK;
    if (tb_eligible_add(&some, text, NULL) == TB_OK && !one) {
        abort();
    }
    if (tb_eligible_read(&again, some.text, NULL) != TB_OK ||
        again.n != some.n || strcmp(again.text, some.text) != 0) {
        abort();
    }
    if (tb_eligible_read(&some, text, NULL) == TB_OK &&
        strcmp(some.text, text) != 0) {
        abort();
    }
    if (tb_labels_change(&labels, "site=lyon memory=2GB gpu=", NULL) == TB_OK) {
        (void)tb_eligible_fits(&some, &labels, &(tb_labels){0});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[2048];
    if (size >= sizeof text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    check_labels(text);
    check_conditions(text);
    return 0;
}
