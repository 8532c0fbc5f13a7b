/* client/files.h - models and data sets from the paths that a user gave, and
 * the options that several verbs share. */
#ifndef TB_CLIENT_FILES_H
#define TB_CLIENT_FILES_H

#include "base/hash.h"
#include "data/dataset.h"
#include "host/settings.h"
#include "model/graph.h"

#define PATH_BYTES      1024
#define MODEL_BYTES_MAX ((size_t)1 << 31)
#define WORD_BYTES      32

/* How the user describes a data set. */
typedef struct data_options {
    char path[PATH_BYTES];
    char reader[WORD_BYTES];
    char labels[PATH_BYTES];
    tb_text_list columns;
    char label[128];
    tb_text_list classes;
    bool or_numbers; /* the classes are the model's: numbers name them too */
    bool values;
    bool unlabelled; /* features only */
    bool ignores;    /* labels of `ignore` are no class */
    int32_t ignore;
} data_options;

/* The rows of a settings table for a member `data` of struct `owner`. */
#define DATA_ROWS(owner)                                                       \
    {.key = "data",                                                            \
     .help = "images, table or array to read: a file or a folder",             \
     .value = "PATH",                                                          \
     .flags = TB_SETTING_REQUIRED,                                             \
     .type = TB_SETTING_PATH,                                                  \
     TB_FIELD(owner, data.path)},                                              \
        DATA_FORMAT_ROWS(owner)

/* The same without the path. */
#define DATA_FORMAT_ROWS(owner)                                                \
    {.key = "reader",                                                          \
     .help = "format: idx, csv, npy or npz; else by the path",                 \
     .value = "FORMAT",                                                        \
     .type = TB_SETTING_TEXT,                                                  \
     TB_FIELD(owner, data.reader)},                                            \
        {.key = "labels",                                                      \
         .help = "labels file of an idx images file",                          \
         .value = "PATH",                                                      \
         .type = TB_SETTING_PATH,                                              \
         TB_FIELD(owner, data.labels)},                                        \
        {.key = "columns",                                                     \
         .help = "csv: a column to use as feature; again for more",            \
         .value = "NAME",                                                      \
         .type = TB_SETTING_TEXTS,                                             \
         TB_FIELD(owner, data.columns)},                                       \
        {.key = "label",                                                       \
         .help = "csv: the target column; else the last one",                  \
         .value = "NAME",                                                      \
         .type = TB_SETTING_TEXT,                                              \
         TB_FIELD(owner, data.label)},                                         \
        {.key = "classes",                                                     \
         .help = "a class name, in the order of the outputs; again for more",  \
         .value = "NAME",                                                      \
         .type = TB_SETTING_TEXTS,                                             \
         TB_FIELD(owner, data.classes)},                                       \
    {                                                                          \
        .key = "values", .help = "the target is a number, not a class",        \
        .type = TB_SETTING_BOOL, TB_FIELD(owner, data.values)                  \
    }

/* Where the user names no classes, those that the model has. Errors: NOMEM. */
tb_rc name_classes(data_options *options, const tb_graph *graph,
                   tb_err *err) TB_MUST_CHECK;

/* Reads the data set that the options describe. */
tb_rc read_data(tb_dataset **out, const data_options *options,
                tb_err *err) TB_MUST_CHECK;

/* Reads an ONNX file, with the files beside it that hold its data; bytes may be
 * NULL, else it gets the content of the ONNX file itself. */
tb_rc read_model(tb_graph **out, const char *path, tb_buf *bytes,
                 tb_err *err) TB_MUST_CHECK;

/* Whether a file can be written there later: nobody trains for an hour to
 * learn that its folder is missing. Errors: as of the folder. */
tb_rc check_output(const char *path, tb_err *err) TB_MUST_CHECK;

/* What a model file is. */
typedef struct model_file {
    size_t n_bytes;
    tb_hash hash;
} model_file;

/* Writes a graph as ONNX, atomically; says what was written in *file. Data go
 * into a file of their own, "PATH.data", when one file cannot hold them. */
tb_rc write_model(const tb_graph *graph, const char *path, model_file *file,
                  tb_err *err) TB_MUST_CHECK;

/* The same; external: data go into a file of their own in any case. */
tb_rc write_model_apart(const tb_graph *graph, const char *path, bool external,
                        model_file *file, tb_err *err) TB_MUST_CHECK;

/* The row of a settings table for a member `external` of struct `owner`. */
#define EXTERNAL_ROW(owner)                                                    \
    {                                                                          \
        .key = "external-data",                                                \
        .help = "put weights into a second file, FILE.data",                   \
        .flags = TB_SETTING_LOCAL, .type = TB_SETTING_BOOL,                    \
        TB_FIELD(owner, external)                                              \
    }

/* Prints "wrote PATH (1.2 MB, hash ...)". */
void print_written(const char *path, const model_file *file);

#endif
