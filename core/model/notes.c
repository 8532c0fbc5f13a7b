#include "model/notes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS                                                                  \
    "export with training=torch.onnx.TrainingMode.TRAINING, "                  \
    "do_constant_folding=False to train it"
#define NODES_MAX 4096 /* every name is compared with every other */
#define QUOTED    96   /* of a name, in a text */

/* --- BatchNormalization --------------------------------------------------- */

/* PyTorch gives weights that it computed such names, tf2onnx such endings. */
static bool is_folded(const char *name)
{
    return strncmp(name, "onnx::Conv_", strlen("onnx::Conv_")) == 0 ||
           strstr(name, "fused_bn") != NULL;
}

static const char *folded_weight(const tb_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        const tb_value *weight = node != NULL && node->n_in > 1
                                     ? tb_graph_value(graph, node->in[1])
                                     : NULL;
        if (weight != NULL && strcmp(node->op, "Conv") == 0 &&
            weight->data.data != NULL && is_folded(weight->name)) {
            return weight->name;
        }
    }
    return NULL;
}

/* --- modules without a node ---------------------------------------------- */

/* A place in a node's name where a module of a sequence is numbered:
 * "/features/features.3/Conv" or "/3/Conv". */
typedef struct place {
    const char *name;
    size_t at; /* where the number starts */
    size_t n;  /* its digits */
    unsigned long number;
} place;

/* The next number behind `from` that fills the end of a name's part. */
static bool next_place(place *p, const char *name, size_t from)
{
    for (size_t i = from; name[i] != '\0'; i++) {
        bool starts = i > 0 && (name[i - 1] == '/' || name[i - 1] == '.');
        size_t n = strspn(name + i, "0123456789");
        if (starts && n > 0 && n < 5 && name[i + n] == '/') {
            *p = (place){name, i, n, strtoul(name + i, NULL, 10)};
            return true;
        }
    }
    return false;
}

/* A node of the module `back` places before this one in its sequence. */
static const tb_node *before(const tb_graph *graph, const place *p,
                             unsigned long back)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        place other;
        if (node != NULL && strncmp(node->name, p->name, p->at) == 0 &&
            next_place(&other, node->name, p->at) && other.at == p->at &&
            other.number + back == p->number) {
            return node;
        }
    }
    return NULL;
}

/* A module whose neighbour behind it has nodes, but which has none; a folded
 * BatchNormalization behind a Conv is no news. */
static bool find_gap(const tb_graph *graph, place *p)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const char *name = graph->nodes[i] != NULL ? graph->nodes[i]->name : "";
        for (size_t at = 0; next_place(p, name, at); at = p->at + p->n) {
            const tb_node *conv = p->number > 1 ? before(graph, p, 2) : NULL;
            if (p->number > 0 && before(graph, p, 1) == NULL &&
                (conv == NULL || strcmp(conv->op, "Conv") != 0)) {
                return true;
            }
        }
    }
    return false;
}

size_t tb_model_notes(const tb_graph *graph, tb_note notes[TB_NOTES_MAX])
{
    size_t n = 0;
    place gap;
    const char *weight = folded_weight(graph);
    if (weight != NULL) {
        (void)snprintf(notes[n++].text, TB_NOTE_TEXT_SIZE,
                       "Conv has the computed weight \"%.*s\": a "
                       "BatchNormalization behind it was folded in; " FLAGS,
                       QUOTED, weight);
    }
    if (graph->n_nodes <= NODES_MAX && find_gap(graph, &gap)) {
        (void)snprintf(notes[n++].text, TB_NOTE_TEXT_SIZE,
                       "the module \"%.*s%lu\" left no node: if it is a "
                       "Dropout, " FLAGS,
                       gap.at < QUOTED ? (int)gap.at : QUOTED, gap.name,
                       gap.number - 1);
    }
    return n;
}
