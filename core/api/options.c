#include <stdio.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/text.h"

#define WORD_BYTES 64
#define BATCH_MAX  1048576.0
#define SEED_MAX   9007199254740992.0 /* whole numbers that a double holds */

/* One "key=value" of the text. */
typedef struct word {
    char key[WORD_BYTES];
    char value[WORD_BYTES];
} word;

#define AT(member) offsetof(tb_trainer_options, member)

/* Numbers, by their place in the settings. */
static const struct number {
    const char *key;
    size_t at;
} numbers[] = {
    {"lr", AT(config.lr)},
    {"decay", AT(config.weight_decay)},
    {"momentum", AT(config.momentum)},
    {"dampening", AT(config.dampening)},
    {"beta1", AT(config.beta1)},
    {"beta2", AT(config.beta2)},
    {"alpha", AT(config.alpha)},
    {"lr_decay", AT(config.lr_decay)},
    {"eps", AT(config.eps)},
    {"clip_norm", AT(clip.norm)},
    {"clip_value", AT(clip.value)},
    {"delta", AT(loss_options.delta)},
    {"smoothing", AT(loss_options.smoothing)},
};

static const char *const others[] = {"loss",  "optimiser",    "batch",
                                     "piece", "nesterov",     "labels",
                                     "seed",  "ignore_index", NULL};

#define N_NUMBERS (sizeof numbers / sizeof numbers[0])
#define N_OTHERS  (sizeof others / sizeof others[0] - 1)

/* Takes the next word from *text; false at its end. */
static bool next_word(word *out, const char **text, tb_rc *rc, tb_err *err)
{
    const char *at = *text + strspn(*text, " \t\n");
    size_t n = strcspn(at, " \t\n");
    const char *equals = memchr(at, '=', n);
    if (n == 0) {
        return false;
    }
    *text = at + n;
    size_t key = equals != NULL ? (size_t)(equals - at) : n;
    if (equals == NULL || key == 0 || key >= WORD_BYTES ||
        n - key - 1 >= WORD_BYTES || n == key + 1) {
        *rc = tb_fail(err, TB_E_USAGE, "option \"%.*s\": key=value is expected",
                      (int)(n < WORD_BYTES ? n : WORD_BYTES), at);
        return false;
    }
    (void)snprintf(out->key, sizeof out->key, "%.*s", (int)key, at);
    (void)snprintf(out->value, sizeof out->value, "%.*s", (int)(n - key - 1),
                   equals + 1);
    return true;
}

static tb_rc unknown_key(const char *key, tb_err *err)
{
    const char *names[N_NUMBERS + N_OTHERS];
    for (size_t i = 0; i < N_NUMBERS; i++) {
        names[i] = numbers[i].key;
    }
    memcpy(names + N_NUMBERS, others, N_OTHERS * sizeof names[0]);
    const char *near = tb_text_nearest(key, names, N_NUMBERS + N_OTHERS);
    return tb_fail(err, TB_E_USAGE, "no option \"%s\"%s%s%s", key,
                   near != NULL ? "; did you mean \"" : "",
                   near != NULL ? near : "", near != NULL ? "\"?" : "");
}

/* Loss and optimiser come first: the numbers' defaults hang on them. */
static tb_rc read_name(tb_trainer_options *out, const word *w, tb_err *err)
{
    if (strcmp(w->key, "loss") == 0) {
        out->loss = tb_loss_find(w->value);
        if (out->loss == NULL) {
            return tb_fail(err, TB_E_USAGE, "no loss \"%s\": %s", w->value,
                           tb_loss_names());
        }
    } else if (strcmp(w->key, "optimiser") == 0) {
        out->optimiser = tb_optimiser_find(w->value);
        if (out->optimiser == NULL) {
            return tb_fail(err, TB_E_USAGE, "no optimiser \"%s\": %s", w->value,
                           tb_optimiser_names());
        }
    }
    return TB_OK;
}

static tb_rc read_whole(int64_t *out, const word *w, double min, double max,
                        tb_err *err)
{
    double number = 0;
    tb_rc rc = tb_text_f64(w->value, &number, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "option %s", w->key);
    }
    if (!(number >= min && number <= max) ||
        number != (double)(int64_t)number) {
        return tb_fail(err, TB_E_USAGE,
                       "option %s=%s: a whole number from %.0f to %.0f is "
                       "expected",
                       w->key, w->value, min, max);
    }
    *out = (int64_t)number;
    return TB_OK;
}

/* The keys that are whole numbers. */
static tb_rc read_other(tb_trainer_options *out, const word *w, tb_err *err)
{
    int64_t n = 0;
    tb_rc rc = TB_OK;
    if (strcmp(w->key, "batch") == 0) {
        rc = read_whole(&n, w, 0, BATCH_MAX, err);
        out->batch = (size_t)n;
    } else if (strcmp(w->key, "piece") == 0) {
        rc = read_whole(&n, w, 0, BATCH_MAX, err);
        out->micro_batch = (size_t)n;
    } else if (strcmp(w->key, "labels") == 0) {
        rc = read_whole(&n, w, 0, BATCH_MAX, err);
        out->n_labels = (size_t)n;
    } else if (strcmp(w->key, "seed") == 0) {
        rc = read_whole(&n, w, 0, SEED_MAX, err);
        out->chance_seed = (uint64_t)n;
    } else if (strcmp(w->key, "nesterov") == 0) {
        rc = read_whole(&n, w, 0, 1, err);
        out->config.nesterov = n != 0;
    } else if (strcmp(w->key, "ignore_index") == 0) {
        rc = read_whole(&n, w, INT32_MIN, INT32_MAX, err);
        out->loss_options.ignores = true;
        out->loss_options.ignore = (int32_t)n;
    } else if (strcmp(w->key, "loss") != 0 &&
               strcmp(w->key, "optimiser") != 0) {
        rc = unknown_key(w->key, err);
    }
    return rc;
}

static tb_rc read_number(tb_trainer_options *out, const word *w, tb_err *err)
{
    for (size_t i = 0; i < N_NUMBERS; i++) {
        if (strcmp(w->key, numbers[i].key) != 0) {
            continue;
        }
        double number = 0;
        tb_rc rc = tb_text_f64(w->value, &number, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "option %s", w->key);
        }
        memcpy((char *)out + numbers[i].at, &number, sizeof number);
        return TB_OK;
    }
    return read_other(out, w, err);
}

tb_rc tb_api_options(tb_trainer_options *out, const char *text, tb_err *err)
{
    word w;
    tb_rc rc = TB_OK;
    const char *at = text != NULL ? text : "";
    *out = (tb_trainer_options){.loss = tb_loss_find("softmax_cross_entropy"),
                                .optimiser = tb_optimiser_find("sgd"),
                                .batch = 32,
                                .chance_seed = 1};
    while (rc == TB_OK && next_word(&w, &at, &rc, err)) {
        rc = read_name(out, &w, err);
    }
    if (rc == TB_OK) {
        out->config = out->optimiser->defaults;
    }
    at = text != NULL ? text : "";
    while (rc == TB_OK && next_word(&w, &at, &rc, err)) {
        rc = read_number(out, &w, err);
    }
    return rc;
}
