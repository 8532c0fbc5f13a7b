/* core/fed/codec_priv.h - the members of the codec table, one file each in
 * codecs/, and what they share. For codec.c and those files only. */
#ifndef TB_FED_CODEC_PRIV_H
#define TB_FED_CODEC_PRIV_H

#include "fed/codec.h"

extern const tb_codec tb_codec_f32;
extern const tb_codec tb_codec_q8;

/* A float32 as its little-endian bits. */
void tb_codec_put_f32(uint8_t *at, float x) TB_NONNULL(1);
float tb_codec_get_f32(const uint8_t *at) TB_NONNULL(1);

#endif
