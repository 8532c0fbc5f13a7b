/* tests/support/operators_doc.c - prints docs/operators.md from the table of
 * operators, and the node tests that need not pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance/exceptions.h"
#include "model/onnx.h"
#include "model/op.h"

#define MAX_OPS 1024

/* What the table cannot tell. "*": of all opsets. */
static const struct {
    const char *op;
    const char *note;
} notes[] = {
    {"Constant", "becomes an initialiser when a model is read"},
    {"Dropout", "drops when we train, whatever the file says; the mask is "
                "drawn again in the backward pass, not stored"},
    {"BatchNormalization", "batch statistics when we train, whatever the file "
                           "says; running ones are carried on, with the "
                           "variance of the population, where PyTorch keeps "
                           "n / (n - 1) of it"},
    {"Cast", "to any of them too; a float to an integer toward zero"},
    {"CastLike", "to any of them too; a float to an integer toward zero"},
    {"Div", "integers divide toward zero, and by zero to 0"},
    {"LayerNormalization", "scale and bias: a number for each of a row"},
    {"Max", "of equal operands each gets its share of the gradient"},
    {"Min", "of equal operands each gets its share of the gradient"},
    {"Pow", "the exponent is of any number type"},
    {"Gather", "the gradient of an embedding adds to the rows that were read"},
    {"Gradient", "written out by the reverse pass before a model is bound; "
                 "float32"},
    {"QuantizeLinear", "straight-through gradient"},
    {"DequantizeLinear", "straight-through gradient"},
};

static const char *const kinds[TB_ATTR_KIND_COUNT] = {
    [TB_ATTR_FLOAT] = "float",     [TB_ATTR_INT] = "int",
    [TB_ATTR_STRING] = "string",   [TB_ATTR_TENSOR] = "tensor",
    [TB_ATTR_FLOATS] = "floats",   [TB_ATTR_INTS] = "ints",
    [TB_ATTR_STRINGS] = "strings",
};

/* The reader makes initialisers of these, so that no table has them. */
static const tb_attr_decl constant_attrs[] = {
    {"value", TB_ATTR_TENSOR, false},
    {"value_float", TB_ATTR_FLOAT, false},
    {"value_floats", TB_ATTR_FLOATS, false},
    {"value_int", TB_ATTR_INT, false},
    {"value_ints", TB_ATTR_INTS, false}};
static const tb_op constant = {.domain = TB_DOMAIN_ONNX,
                               .name = "Constant",
                               .since = 1,
                               .until = TB_OPSET_ANY,
                               .types = TB_TYPES_ANY,
                               .attrs = constant_attrs,
                               .n_attrs = 5};

/* ONNX's own first, then by domain, name and opset. */
static int compare(const void *a, const void *b)
{
    const tb_op *x = *(const tb_op *const *)a;
    const tb_op *y = *(const tb_op *const *)b;
    int by = strcmp(x->domain, y->domain);
    by = by != 0 ? by : strcmp(x->name, y->name);
    return by != 0 ? by : x->since - y->since;
}

static void print_attrs(const tb_op *op)
{
    for (size_t i = 0; i < op->n_attrs; i++) {
        (void)printf("%s`%s` %s%s", i > 0 ? ", " : "", op->attrs[i].name,
                     kinds[op->attrs[i].kind],
                     op->attrs[i].required ? "!" : "");
    }
    if (op->n_attrs == 0) {
        (void)printf("–");
    }
}

static void print_note(const tb_op *op)
{
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (strcmp(notes[i].op, op->name) == 0) {
            (void)printf("%s", notes[i].note);
        }
    }
}

static void print_op(const tb_op *op)
{
    char types[128];
    (void)printf("| %s | %d", op->name, op->since);
    if (op->until >= TB_ONNX_OPSET_MAX) {
        (void)printf("+");
    } else if (op->until > op->since) {
        (void)printf("–%d", op->until);
    }
    (void)printf(" | %s | ",
                 op->types != 0 ? tb_dtype_names(op->types, types) : "–");
    print_attrs(op);
    (void)printf(" | %s | ", op->backward != NULL ? "yes" : "no");
    print_note(op);
    (void)printf(" |\n");
}

static void print_table(const tb_op *const *ops, size_t n, const char *domain)
{
    (void)printf("| operator | opsets | element types | attributes | gradient "
                 "| notes |\n| --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < n; i++) {
        if (strcmp(ops[i]->domain, domain) == 0) {
            print_op(ops[i]);
        }
    }
}

static void print_exceptions(void)
{
    (void)printf("| node test | why it need not pass |\n| --- | --- |\n");
    for (size_t i = 0; i < sizeof node_exceptions / sizeof node_exceptions[0];
         i++) {
        (void)printf("| `%s` | %s |\n", node_exceptions[i].name,
                     node_exceptions[i].reason);
    }
}

int main(void)
{
    const tb_op *ops[MAX_OPS];
    size_t n = 0;
    for (; tb_op_list[n] != NULL && n + 1 < MAX_OPS; n++) {
        ops[n] = tb_op_list[n];
    }
    ops[n++] = &constant;
    qsort(ops, n, sizeof ops[0], compare);
    (void)printf(
        "# Operators\n\nMade from the operator table by `operators_doc` (a "
        "lint compares them): change\n`core/model/ops`, build, and write "
        "`operators_doc > docs/operators.md`.\n\nA model of opset %d to %d "
        "and IR %d to %d is read when its operators stand here at its\n"
        "opset; another one is refused with the operator, the node and the "
        "opset. An `!`\nmarks an attribute that must be there. Element types "
        "are those of the tensors\ncomputed on; – where an operator has its "
        "own rules. Inputs that decide a shape\n(of Reshape, Expand, Slice, "
        "Pad, ...) must be known when the batch size is: constant,\nor "
        "computed from shapes.\n\n## ONNX\n\n",
        TB_ONNX_OPSET_MIN, TB_ONNX_OPSET_MAX, TB_ONNX_IR_MIN, TB_ONNX_IR_MAX);
    print_table(ops, n, TB_DOMAIN_ONNX);
    (void)printf("\n## %s\n\nVersion 1.\n\n", TB_DOMAIN_TRAINING);
    print_table(ops, n, TB_DOMAIN_TRAINING);
    (void)printf("\n## Node tests\n\n`model.conformance` runs every node test "
                 "of the onnx package that uses these\noperators only "
                 "(`tests/golden/onnx/operators.txt`); each passes, but "
                 "for:\n\n");
    print_exceptions();
    return 0;
}
