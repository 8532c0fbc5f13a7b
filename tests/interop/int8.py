#!/usr/bin/python3
"""ONNX Runtime and the ONNX checker judge what compression writes.

    int8.py BIN FOLDER

BIN holds compress_tool and onnx_tool; models and outputs go to FOLDER. The CNN is
exported by Debian's PyTorch. All 10,000 Fashion-MNIST test images run through
both runtimes, through ours in fused form. Float models (also
pruned and power-of-two ones) must agree to 1e-5 of the largest output. An int8
model must stay within one output step, 1/255 of the range of its outputs. Both
must agree on the top class of every image; of an int8 model with convolutions,
where float32 may round a byte to either side, of all but 10.
"""
import gzip
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

IMAGES = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"
LABELS = "/usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz"
MODELS = ["mlp:784-200-200-10", "mlp:784-64-10", "cnn", "cnn-bn"]
EXPORT = """
import sys, torch
from torch import nn
torch.manual_seed(1)
bn = [nn.BatchNorm2d(12)] if sys.argv[1] == "cnn-bn" else []
net = nn.Sequential(nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Conv2d(8, 12, 3), *bn, nn.ReLU(), nn.MaxPool2d(2),
                    nn.Flatten(), nn.Linear(432, 32), nn.ReLU(),
                    nn.Linear(32, 10))
torch.onnx.export(net, torch.rand(2, 1, 28, 28), sys.argv[2], opset_version=13,
                  training=torch.onnx.TrainingMode.TRAINING,
                  do_constant_folding=False, input_names=["x"],
                  output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
"""


def images():
    with gzip.open(IMAGES) as f:
        return np.frombuffer(f.read()[16:], np.uint8).reshape(-1, 28, 28)


def labels():
    with gzip.open(LABELS) as f:
        return np.frombuffer(f.read()[8:], np.uint8)


def ours(tool, path, x, folder):
    raw_in = os.path.join(folder, "x.raw")
    raw_out = os.path.join(folder, "y.raw")
    x.tofile(raw_in)
    subprocess.run([tool, "predict", path, "100", raw_in, raw_out], check=True)
    return np.fromfile(raw_out, np.float32).reshape(len(x), -1)


def theirs(path, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options,
                                   providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def judge(tool, path, x, y, folder):
    """Prints one line; returns whether the two runtimes agree."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    x = x.reshape([-1] + [d.dim_value for d in
                          model.graph.input[0].type.tensor_type.shape.dim[1:]])
    a = ours(tool, path, x, folder)
    b = theirs(path, x)
    quantised = any(n.op_type == "QuantizeLinear" for n in model.graph.node)
    step = (b.max() - b.min()) / 255 if quantised else 1e-5 * np.abs(b).max()
    worst = np.abs(a - b).max()
    other = int((a.argmax(1) != b.argmax(1)).sum())
    most = 10 if quantised and any(
        n.op_type == "Conv" for n in model.graph.node) else 0
    good = worst <= step and other <= most
    print("%-20s worst %.2e allowed %.2e, other top class %d, "
          "accuracy %.4f %.4f: %s" %
          (os.path.basename(path), worst, step, other,
           (a.argmax(1) == y).mean(), (b.argmax(1) == y).mean(),
           "ok" if good else "NOT OK"))
    return good


def main():
    bin_folder, folder = sys.argv[1:3]
    x, y = images(), labels()
    good = True
    for text in MODELS:
        print(text)
        out = os.path.join(folder, text.replace("mlp:", ""))
        os.makedirs(out, exist_ok=True)
        model = text
        if not text.startswith("mlp:"):
            model = os.path.join(out, "exported")
            subprocess.run(["/usr/bin/python3", "-c", EXPORT, text, model],
                           check=True, stdout=subprocess.DEVNULL)
        subprocess.run([os.path.join(bin_folder, "compress_tool"), model, "2",
                        out], check=True)
        for name in sorted(os.listdir(out)):
            if name.endswith(".onnx"):
                good &= judge(os.path.join(bin_folder, "onnx_tool"),
                              os.path.join(out, name), x, y, out)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
