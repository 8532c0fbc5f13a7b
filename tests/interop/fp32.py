#!/usr/bin/python3
"""The ONNX checker and ONNX Runtime judge the models we write.

    fp32.py BIN FOLDER

BIN holds onnx_tool. Every golden model and some new ones are read and written
by us; the checker must accept what we wrote, and ONNX Runtime must give our
outputs on random input: floats to 1e-5 of the largest output, the rest exactly.
"""
import glob
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

NEW = ["mlp:784-200-10", "mlp:784-200-200-10", "mlp:10-20-10", "mlp:2-1"]
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      "../golden/onnx/*.onnx")
BATCHES = [1, 2, 32]
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64,
         "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
         "tensor(int32)": np.int32, "tensor(int64)": np.int64,
         "tensor(bool)": np.bool_}


def rows(model):
    """Integers below this are indices of every table that the model gathers
    from; 100 where there is none."""
    shape = {t.name: t.dims for t in model.graph.initializer}
    axis = {n.input[0]: next((a.i for a in n.attribute if a.name == "axis"), 0)
            for n in model.graph.node if n.op_type == "Gather"}
    return min([shape[name][axis[name]] for name in axis if name in shape] +
               [100])


def draw(rng, kind, shape, below):
    if np.issubdtype(kind, np.floating):
        return rng.standard_normal(shape).astype(kind)
    return rng.integers(0, below, shape).astype(kind)


def ours(tool, path, batch, feeds, outputs, folder):
    raw = os.path.join(folder, "run.raw")
    with open(raw, "wb") as f:
        for array in feeds:
            f.write(array.tobytes())
    subprocess.run([tool, "run", path, str(batch), raw, raw], check=True)
    data = open(raw, "rb").read()
    result = []
    for like in outputs:
        n = like.nbytes
        result.append(np.frombuffer(data[:n], like.dtype).reshape(like.shape))
        data = data[n:]
    assert not data, "bytes left over"
    return result


def judge(tool, path, folder):
    """The largest difference, relative to the largest output."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    worst = 0.0
    for batch in BATCHES:
        feeds = [draw(rng, TYPES[i.type],
                      [d if isinstance(d, int) else batch for d in i.shape],
                      rows(model))
                 for i in session.get_inputs()]
        theirs = session.run(None, {i.name: x for i, x in
                                    zip(session.get_inputs(), feeds)})
        mine = ours(tool, path, batch, feeds, theirs, folder)
        for a, b in zip(mine, theirs):
            if b.size == 0:
                continue
            if np.issubdtype(b.dtype, np.floating):
                worst = max(worst, float(np.abs(a - b).max() /
                                         max(np.abs(b).max(), 1e-30)))
            elif not np.array_equal(a, b):
                return float("inf")
    return worst


def main():
    bin_folder, folder = sys.argv[1:3]
    tool = os.path.join(bin_folder, "onnx_tool")
    paths = []
    for text in NEW:
        paths.append(os.path.join(folder, "new_%s.onnx" % text[4:]))
        subprocess.run([tool, "new", text, paths[-1]], check=True)
    for path in sorted(glob.glob(GOLDEN)):
        paths.append(os.path.join(folder, os.path.basename(path)))
        subprocess.run([tool, "copy", path, paths[-1]], check=True)
    bad, worst = [], 0.0
    for path in paths:
        name = os.path.basename(path)
        try:
            found = judge(tool, path, folder)
        except Exception as e:  # a refusal is an objection like any other
            print("%s: %s" % (name, e))
            found = float("inf")
        if found > 1e-5:
            print("%s: differs by %.2e" % (name, found))
            bad.append(name)
        else:
            worst = max(worst, found)
    print("%d models checked and run, worst difference %.2e, %d objections" %
          (len(paths), worst, len(bad)))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
