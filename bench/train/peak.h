/* bench/train/peak.h - the arithmetic this core could do at most. */
#ifndef TB_BENCH_TRAIN_PEAK_H
#define TB_BENCH_TRAIN_PEAK_H

/* Fused multiply-adds on registers alone, in GFLOP/s of float32 on one thread,
 * with the widest vectors of this CPU; 0 where there are none we know. */
double tb_bench_peak_gflops(void);

#endif
