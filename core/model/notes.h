/* core/model/notes.h - what a model's file seems to have lost on its way here:
 * for people who wonder why a layer is missing. Guesses from names that
 * exporters give. */
#ifndef TB_MODEL_NOTES_H
#define TB_MODEL_NOTES_H

#include "model/graph.h"

#define TB_NOTES_MAX      2
#define TB_NOTE_TEXT_SIZE 384

typedef struct tb_note {
    char text[TB_NOTE_TEXT_SIZE]; /* one sentence or two, without a newline */
} tb_note;

/* Fills notes and returns how many there are: a BatchNormalization that was
 * folded into its Conv; a module that left no node (Dropout, exported for
 * inference). Each names the exporter's flag that keeps it. */
size_t tb_model_notes(const tb_graph *graph, tb_note notes[TB_NOTES_MAX])
    TB_NONNULL(1, 2);

#endif
