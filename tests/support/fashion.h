/* tests/support/fashion.h - where Debian's dataset-fashion-mnist lies. */
#ifndef TB_TESTS_SUPPORT_FASHION_H
#define TB_TESTS_SUPPORT_FASHION_H

#define TB_FASHION_DIR          "/usr/share/datasets/fashion-mnist"
#define TB_FASHION_TRAIN_IMAGES TB_FASHION_DIR "/train-images-idx3-ubyte.gz"
#define TB_FASHION_TEST_IMAGES  TB_FASHION_DIR "/t10k-images-idx3-ubyte.gz"
#define TB_FASHION_TEST_LABELS  TB_FASHION_DIR "/t10k-labels-idx1-ubyte.gz"

#endif
