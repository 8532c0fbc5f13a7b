#!/usr/bin/python3
"""Times ONNX Runtime as ours.c times us: theirs.py SECONDS MODEL BATCH ...

One thread, all graph optimisations, input and output bound once so that no
array is copied. Prints "file batch microseconds" of the fastest run.
"""
import os
import sys
import time

import numpy as np
import onnxruntime as ort


def measure(path, batch, seconds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(path, options,
                                   providers=["CPUExecutionProvider"])
    x = session.get_inputs()[0]
    shape = [batch] + list(x.shape[1:])
    data = np.random.default_rng(1).random(shape, np.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(x.name, ort.OrtValue.ortvalue_from_numpy(data))
    out = session.get_outputs()[0]
    binding.bind_ortvalue_output(out.name, ort.OrtValue.ortvalue_from_numpy(
        np.zeros([batch] + list(out.shape[1:]), np.float32)))
    run = session.run_with_iobinding
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 10 or time.perf_counter() < end:
        start = time.perf_counter()
        run(binding)
        times.append(time.perf_counter() - start)
    return min(times) * 1e6


seconds = float(sys.argv[1])
for path, batch in zip(sys.argv[2::2], sys.argv[3::2]):
    print(f"{os.path.basename(path)} {batch} "
          f"{measure(path, int(batch), seconds):.3f}", flush=True)
print(f"version runtime {ort.__version__}")
