#!/usr/bin/python3
"""PyTorch judges gradients and steps of whole networks; ONNX Runtime runs them
as we write them.

    gradients.py BIN FOLDER

BIN holds train_tool and onnx_tool. tests/golden/models/make.py, run by Debian's
Python, exports each network with PyTorch's own numbers. On the first step the
loss must agree to 1e-5 relative, and each tensor's gradient g with PyTorch's g'
as |g - g'| <= 1e-5 max(|g'|, 1e-3 |all g'|). After 20 steps of SGD each tensor
w, running statistics too, must satisfy |w - w'| <= 1e-3 |w'|, and each of the 21
losses agree to 1e-3. Then the model as we write it must pass the checker, and in
inference ONNX Runtime's outputs must be ours to 1e-5 of the largest.
"""
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

HERE = os.path.dirname(os.path.abspath(__file__))
MAKE = os.path.join(HERE, "../golden/models/make.py")
STEPS = 20


def norm(x):
    return float(np.linalg.norm(np.asarray(x, "f8").ravel()))


def train(tool, path, ref):
    """Our losses, gradients by name and final tensors by name."""
    raw = path + ".raw"
    done = subprocess.run(
        [tool, path + ".onnx", path + ".feed", str(int(ref["batch"])),
         repr(float(ref["rate"])), raw],
        check=True, stdout=subprocess.PIPE, text=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    data = open(raw, "rb").read()
    losses = np.frombuffer(data, "<f8", STEPS + 1)
    rest = np.frombuffer(data, "<f4", offset=8 * (STEPS + 1))
    first, end = {}, {}
    for kinds, tensors in ((("param",), first), (("param", "buffer"), end)):
        for kind, name, n in lines:
            if kind in kinds:
                tensors[name], rest = rest[:int(n)], rest[int(n):]
    assert rest.size == 0
    return losses, first, end


def part(ref, kind):
    return {k[len(kind):]: ref[k] for k in ref.files if k.startswith(kind)}


def share(mine, theirs, allowed):
    """The largest difference as a share of what is allowed, and where."""
    if set(mine) != set(theirs):
        return float("inf"), "names: %s" % sorted(set(mine) ^ set(theirs))
    return max((norm(mine[k] - theirs[k].ravel()) / max(allowed(k), 1e-30), k)
               for k in theirs)


def judge_training(tool, path):
    ref = np.load(path + ".npz")
    losses, first, end = train(tool, path, ref)
    grads, last = part(ref, "grad/"), part(ref, "end/")
    total = norm(np.concatenate([g.ravel() for g in grads.values()]))
    off = np.abs(losses - ref["losses"]) / np.abs(ref["losses"])
    found = [
        ("loss", off[0] / 1e-5, ""),
        ("gradient",) + share(first, grads, lambda k: 1e-5 * max(
            norm(grads[k]), 1e-3 * total)),
        ("20 steps",) + share(end, last, lambda k: 1e-3 * norm(last[k])),
        ("losses", off.max() / 1e-3, ""),
    ]
    print("%-12s %9d parameters" % (os.path.basename(path),
                                    sum(g.size for g in grads.values())),
          *("%s %.3f%s" % (what, ratio, " (%s)" % where if ratio > 1 else "")
            for what, ratio, where in found), sep="  ")
    return sum(not ratio <= 1 for _, ratio, _ in found)


def judge_written(tool, path):
    """What we write, run by ONNX Runtime against us."""
    copy, raw = path + ".copy.onnx", path + ".run.raw"
    batch = str(int(np.load(path + ".npz")["batch"]))
    subprocess.run([tool, "copy", path + ".onnx", copy], check=True)
    model = onnx.load(copy)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(copy, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    kind = {"tensor(float)": np.float32,
            "tensor(int64)": np.int64}[session.get_inputs()[0].type]
    shape = [int(batch)] + shape[1:]
    n = int(np.prod(shape)) * np.dtype(kind).itemsize
    x = open(path + ".feed", "rb").read()[:n]
    open(raw, "wb").write(x)
    subprocess.run([tool, "run", copy, batch, raw, raw], check=True)
    theirs = session.run(None, {"x": np.frombuffer(x, kind).reshape(shape)})[0]
    mine = np.fromfile(raw, np.float32).reshape(theirs.shape)
    off = np.abs(mine - theirs).max() / np.abs(theirs).max()
    print("%-12s as we write it: opset %d, IR %d, ONNX Runtime differs by %.1e"
          % ("", model.opset_import[0].version, model.ir_version, off))
    return not off <= 1e-5


def main():
    bin_folder, folder = sys.argv[1:3]
    subprocess.run(["/usr/bin/python3", MAKE, folder], check=True)
    names = sorted(f[:-4] for f in os.listdir(folder) if f.endswith(".npz"))
    print("shares of what is allowed:")
    bad = 0
    for name in names:
        path = os.path.join(folder, name)
        try:
            bad += judge_training(os.path.join(bin_folder, "train_tool"), path)
            bad += judge_written(os.path.join(bin_folder, "onnx_tool"), path)
        except Exception as e:  # a refusal is an objection like any other
            print("%s: %s" % (name, e))
            bad += 1
    print("%d networks, %d objections" % (len(names), bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
