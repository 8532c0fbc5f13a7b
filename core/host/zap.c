/* A request: version "1.0" | request id | domain | address | routing id |
 * mechanism | credentials (for CURVE: the key, 32 bytes). A reply: version |
 * request id | status | text | user id | metadata. */
#include "host/zap.h"

#include <string.h>

#include <zmq.h>

#include "host/zsock.h"

#define REQUEST_FRAMES 7
#define TEXT_BYTES_MAX 63  /* of a domain, an address */
#define TURN_MS        500 /* a request is answered in far less */
#define ENDPOINT       "inproc://zeromq.zap.01"

enum { VERSION, REQUEST_ID, DOMAIN, ADDRESS, ROUTING, MECHANISM, KEY };

static void *new_socket(void *context)
{
    void *socket = zmq_socket(context, ZMQ_REP);
    if (socket != NULL && tb_zsock_set(socket, ZMQ_LINGER, 0) != 0) {
        (void)zmq_close(socket);
        socket = NULL;
    }
    return socket;
}

static void *bind_new(void *context)
{
    void *socket = new_socket(context);
    if (socket != NULL && zmq_bind(socket, ENDPOINT) != 0) {
        (void)zmq_close(socket);
        socket = NULL;
    }
    return socket;
}

tb_rc tb_zap_open(tb_zap *zap, void *context, int64_t now_ms, tb_err *err)
{
    *zap = (tb_zap){
        .context = context, .socket = bind_new(context), .turned_ms = now_ms};
    return zap->socket != NULL
               ? TB_OK
               : tb_zsock_fail(err, "starting the access check");
}

static void close_socket(void **socket)
{
    if (*socket != NULL) {
        (void)zmq_close(*socket);
        *socket = NULL;
    }
}

void tb_zap_close(tb_zap *zap)
{
    close_socket(&zap->old);
    close_socket(&zap->socket);
}

static bool frame_is(zmq_msg_t *frame, const char *text)
{
    size_t len = strlen(text);
    return zmq_msg_size(frame) == len &&
           memcmp(zmq_msg_data(frame), text, len) == 0;
}

static bool copy_text(char out[static TEXT_BYTES_MAX + 1], zmq_msg_t *frame)
{
    size_t n = zmq_msg_size(frame);
    if (n > TEXT_BYTES_MAX) {
        return false;
    }
    memcpy(out, zmq_msg_data(frame), n);
    out[n] = '\0';
    return true;
}

static tb_zap_verdict judge_request(zmq_msg_t *frames, int n, tb_zap_fn *judge,
                                    void *arg)
{
    char domain[TEXT_BYTES_MAX + 1];
    char address[TEXT_BYTES_MAX + 1];
    if (n != REQUEST_FRAMES || !frame_is(&frames[VERSION], "1.0") ||
        !frame_is(&frames[MECHANISM], "CURVE") ||
        zmq_msg_size(&frames[KEY]) != TB_CURVE_PUBLIC_BYTES ||
        !copy_text(domain, &frames[DOMAIN]) ||
        !copy_text(address, &frames[ADDRESS])) {
        return TB_ZAP_DENY;
    }
    return judge(arg, domain, address, zmq_msg_data(&frames[KEY]));
}

static int send_text(void *socket, const char *text, int more)
{
    return zmq_send(socket, text, strlen(text), more | ZMQ_DONTWAIT);
}

static bool reply(void *socket, zmq_msg_t *frames, int n,
                  tb_zap_verdict verdict)
{
    static const char *const status[] = {
        [TB_ZAP_ALLOW] = "200", [TB_ZAP_LATER] = "300", [TB_ZAP_DENY] = "400"};
    static const char *const texts[] = {[TB_ZAP_ALLOW] = "OK",
                                        [TB_ZAP_LATER] = "try again later",
                                        [TB_ZAP_DENY] = "unknown key"};
    char user[TB_ZAP_KEY_TEXT_BYTES] = "";
    zmq_msg_t none;
    (void)zmq_msg_init(&none);
    zmq_msg_t *id = n > REQUEST_ID ? &frames[REQUEST_ID] : &none;
    if (verdict == TB_ZAP_ALLOW) {
        (void)zmq_z85_encode(user, zmq_msg_data(&frames[KEY]),
                             TB_CURVE_PUBLIC_BYTES);
    }
    return send_text(socket, "1.0", ZMQ_SNDMORE) >= 0 &&
           zmq_msg_send(id, socket, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
           send_text(socket, status[verdict], ZMQ_SNDMORE) >= 0 &&
           send_text(socket, texts[verdict], ZMQ_SNDMORE) >= 0 &&
           send_text(socket, user, ZMQ_SNDMORE) >= 0 &&
           send_text(socket, "", 0) >= 0;
}

static tb_rc answer_all(void *socket, tb_zap_fn *judge, void *arg,
                        uint32_t *n_answers, tb_err *err)
{
    zmq_msg_t frames[REQUEST_FRAMES];
    int n;
    while ((n = tb_zsock_receive(socket, frames, REQUEST_FRAMES)) > 0) {
        tb_zap_verdict verdict = judge_request(frames, n, judge, arg);
        bool sent = reply(socket, frames, n, verdict);
        tb_zsock_close_frames(frames, n, REQUEST_FRAMES);
        if (!sent) {
            return tb_zsock_fail(err, "answering who may connect");
        }
        (*n_answers)++;
    }
    return n == 0 ? TB_OK : tb_zsock_fail(err, "hearing who wants to connect");
}

tb_rc tb_zap_answer(tb_zap *zap, tb_zap_fn *judge, void *arg, tb_err *err)
{
    uint32_t late = 0;
    tb_rc rc = answer_all(zap->socket, judge, arg, &zap->n_answers, err);
    if (rc == TB_OK && zap->old != NULL) {
        rc = answer_all(zap->old, judge, arg, &late, err);
    }
    return rc;
}

tb_rc tb_zap_turn(tb_zap *zap, int64_t now_ms, tb_err *err)
{
    if (now_ms - zap->turned_ms < TURN_MS) {
        return TB_OK;
    }
    close_socket(&zap->old);
    if (zap->n_answers == 0) {
        return TB_OK;
    }
    void *next = new_socket(zap->context);
    zap->turned_ms = now_ms;
    if (next == NULL) { /* no descriptor is left: the old one does it still */
        return TB_OK;
    }
    if (zmq_unbind(zap->socket, ENDPOINT) != 0 ||
        zmq_bind(next, ENDPOINT) != 0) {
        tb_rc rc = tb_zsock_fail(err, "renewing the access check");
        (void)zmq_close(next);
        return rc;
    }
    zap->old = zap->socket;
    zap->socket = next;
    zap->n_answers = 0;
    return TB_OK;
}
