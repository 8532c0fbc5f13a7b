/* bench/infer/peak_int8.h - the byte arithmetic this core could do at most. */
#ifndef TB_BENCH_INFER_PEAK_INT8_H
#define TB_BENCH_INFER_PEAK_INT8_H

/* Products of bytes added to int32 on registers alone, in 10^9 operations (one
 * multiplication and one addition each) a second on one thread, by AVX-512
 * VNNI; 0 where there is none. */
double tb_bench_peak_int8_gops(void);

#endif
