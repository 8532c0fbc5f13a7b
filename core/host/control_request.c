#include "host/control_request.h"

#include <string.h>

#include <jansson.h>

#include "base/mem.h"

/* --- requests --- */

tb_rc tb_control_request_init(tb_control_request *request, const char *verb,
                              tb_err *err)
{
    *request = (tb_control_request){0};
    for (size_t i = 0; i < TB_CONTROL_ATTACH_MAX; i++) {
        tb_buf_init(&request->attachments[i], TB_CONTROL_ATTACH_BYTES);
    }
    return tb_name_set(&request->verb, verb)
               ? TB_OK
               : tb_fail(err, TB_E_USAGE, "'%s' is not a verb", verb);
}

void tb_control_request_release(tb_control_request *request)
{
    for (size_t i = 0; i < request->n_args; i++) {
        tb_mem_free(request->args[i].value);
    }
    for (size_t i = 0; i < TB_CONTROL_ATTACH_MAX; i++) {
        tb_buf_release(&request->attachments[i]);
    }
    *request = (tb_control_request){0};
}

const char *tb_control_arg_get(const tb_control_request *request,
                               const char *key)
{
    for (size_t i = 0; i < request->n_args; i++) {
        if (strcmp(request->args[i].key.text, key) == 0) {
            return request->args[i].value;
        }
    }
    return NULL;
}

tb_rc tb_control_arg_add(tb_control_request *request, const char *key,
                         const char *value, tb_err *err)
{
    if (request->n_args == TB_CONTROL_ARGS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "over %u arguments",
                       TB_CONTROL_ARGS_MAX);
    }
    tb_control_arg arg;
    if (!tb_name_set(&arg.key, key) ||
        tb_control_arg_get(request, key) != NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "'%s' is not the name of an argument, or stands there "
                       "twice",
                       key);
    }
    arg.value = tb_mem_text(value);
    if (arg.value == NULL) {
        return tb_fail(err, TB_E_NOMEM, "argument %s", key);
    }
    request->args[request->n_args++] = arg;
    return TB_OK;
}

/* --- encoding --- */

/* The JSON as jansson's text, to be freed with its own free; NULL: no memory,
 * or a value that is not UTF-8. */
static char *make_json(const tb_control_request *request)
{
    json_t *args = json_object();
    bool bad = args == NULL;
    for (size_t i = 0; i < request->n_args && !bad; i++) {
        bad = json_object_set_new(args, request->args[i].key.text,
                                  json_string(request->args[i].value)) != 0;
    }
    json_t *root =
        bad ? NULL
            : json_pack("{s:s,s:O}", "verb", request->verb.text, "args", args);
    char *text = root != NULL ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    json_decref(args);
    return text;
}

static void free_json(char *text)
{
    json_malloc_t make;
    json_free_t give_back;
    json_get_alloc_funcs(&make, &give_back);
    give_back(text);
}

static void encode_head(const tb_control_request *request, size_t json_bytes,
                        uint8_t out[static TB_CONTROL_HEAD_BYTES])
{
    memset(out, 0, TB_CONTROL_HEAD_BYTES);
    memcpy(out, "TBQ1", 4);
    tb_le32_put(out + 4, (uint32_t)json_bytes);
    tb_le32_put(out + 8, (uint32_t)request->n_attachments);
    for (size_t i = 0; i < request->n_attachments; i++) {
        tb_le64_put(out + 12 + 8 * i, request->attachments[i].len);
    }
}

tb_rc tb_control_request_encode(const tb_control_request *request, tb_buf *out,
                                tb_err *err)
{
    uint8_t head[TB_CONTROL_HEAD_BYTES];
    size_t before = out->len;
    char *json = make_json(request);
    if (json == NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "%s: an argument is not UTF-8 text, or memory is short",
                       request->verb.text);
    }
    size_t len = strlen(json);
    tb_rc rc =
        len <= TB_CONTROL_JSON_BYTES_MAX
            ? TB_OK
            : tb_fail(err, TB_E_LIMIT, "arguments of %zu bytes, at most %u",
                      len, TB_CONTROL_JSON_BYTES_MAX);
    if (rc == TB_OK) {
        encode_head(request, len, head);
        rc = tb_buf_put(out, head, sizeof head, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(out, json, len, err);
    }
    if (rc != TB_OK) {
        out->len = before;
    }
    free_json(json);
    return rc;
}

void tb_control_reply_encode(const tb_control_reply_head *head,
                             uint8_t out[static TB_CONTROL_REPLY_BYTES])
{
    memcpy(out, "TBR1", 4);
    tb_le32_put(out + 4, (uint32_t)head->rc);
    tb_le32_put(out + 8, head->more ? 1 : 0);
    tb_le32_put(out + 12, head->json_bytes);
}

/* --- decoding --- */

tb_rc tb_control_head_decode(tb_control_head *out,
                             const uint8_t in[static TB_CONTROL_HEAD_BYTES],
                             tb_err *err)
{
    tb_control_head h = {.json_bytes = tb_le32_get(in + 4),
                         .n_attachments = tb_le32_get(in + 8)};
    uint64_t total = 0;
    if (memcmp(in, "TBQ1", 4) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "control: not a request");
    }
    if (h.json_bytes > TB_CONTROL_JSON_BYTES_MAX ||
        h.n_attachments > TB_CONTROL_ATTACH_MAX) {
        return tb_fail(err, TB_E_LIMIT,
                       "control: a request of %u bytes and %u attachments",
                       h.json_bytes, h.n_attachments);
    }
    for (size_t i = 0; i < TB_CONTROL_ATTACH_MAX; i++) {
        h.attachment_bytes[i] = tb_le64_get(in + 12 + 8 * i);
        if (i >= h.n_attachments && h.attachment_bytes[i] != 0) {
            return tb_fail(err, TB_E_MALFORMED, "control: a stray attachment");
        }
        if (h.attachment_bytes[i] > TB_CONTROL_ATTACH_BYTES - total) {
            return tb_fail(err, TB_E_LIMIT,
                           "control: attachments over %zu bytes",
                           TB_CONTROL_ATTACH_BYTES);
        }
        total += h.attachment_bytes[i];
    }
    *out = h;
    return TB_OK;
}

tb_rc tb_control_reply_decode(tb_control_reply_head *out,
                              const uint8_t in[static TB_CONTROL_REPLY_BYTES],
                              tb_err *err)
{
    uint32_t rc = tb_le32_get(in + 4);
    uint32_t more = tb_le32_get(in + 8);
    uint32_t json_bytes = tb_le32_get(in + 12);
    if (memcmp(in, "TBR1", 4) != 0 || rc >= TB_RC_COUNT || more > 1) {
        return tb_fail(err, TB_E_MALFORMED, "control: not a reply");
    }
    if (json_bytes > TB_CONTROL_REPLY_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "control: a reply of %u bytes",
                       json_bytes);
    }
    *out = (tb_control_reply_head){
        .rc = (tb_rc)rc, .more = more == 1, .json_bytes = json_bytes};
    return TB_OK;
}

static tb_rc read_args(tb_control_request *out, json_t *args, tb_err *err)
{
    const char *key;
    json_t *value;
    tb_rc rc = TB_OK;
    json_object_foreach(args, key, value)
    {
        const char *text = json_string_value(value);
        rc = text != NULL ? tb_control_arg_add(out, key, text, err)
                          : tb_fail(err, TB_E_MALFORMED,
                                    "control: argument '%s' is not text", key);
        if (rc != TB_OK) {
            break;
        }
    }
    return rc == TB_E_USAGE ? TB_E_MALFORMED : rc;
}

tb_rc tb_control_json_decode(tb_control_request *out, const uint8_t *json,
                             size_t len, tb_err *err)
{
    json_error_t where;
    *out = (tb_control_request){0};
    json_t *root =
        json_loadb((const char *)json, len, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        return tb_fail(err, TB_E_MALFORMED, "control: byte %d: %s",
                       where.position, where.text);
    }
    const char *verb = json_string_value(json_object_get(root, "verb"));
    json_t *args = json_object_get(root, "args");
    tb_rc rc = TB_OK;
    if (verb == NULL || !json_is_object(args) || json_object_size(root) != 2) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "control: a request has a verb and args");
    } else if (tb_control_request_init(out, verb, err) != TB_OK) {
        rc = TB_E_MALFORMED;
    } else {
        rc = read_args(out, args, err);
    }
    if (rc != TB_OK) {
        tb_control_request_release(out);
    }
    json_decref(root);
    return rc;
}
