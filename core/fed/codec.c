#include "fed/codec.h"

#include <string.h>

#include "fed/codec_priv.h"

static const tb_codec *const codecs[] = {&tb_codec_f32, &tb_codec_q8};

const tb_codec *tb_codec_at(size_t i)
{
    return i < sizeof codecs / sizeof codecs[0] ? codecs[i] : NULL;
}

const tb_codec *tb_codec_find(const char *name)
{
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        if (strcmp(codecs[i]->name, name) == 0) {
            return codecs[i];
        }
    }
    return NULL;
}
