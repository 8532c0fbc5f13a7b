#!/usr/bin/env python3
"""Writes the golden models: NAME.onnx and NAME.bin, which holds the inputs, then
the outputs, as raw little-endian bytes; open batch dimensions are 3.

torch_*: small networks exported by PyTorch, with PyTorch's outputs. Debian:
python3-torch, python3-onnx. The node tests of the onnx package: nodes.py.
"""
import io
import os

import numpy as np

for alias, real in (("float", float), ("int", int), ("bool", bool),
                    ("object", object)):  # names that numpy took back
    if alias not in np.__dict__:
        setattr(np, alias, real)

import onnx
import torch
from torch import nn

from torch_shapes import Lambda, shape_cases

HERE = os.path.dirname(os.path.abspath(__file__))
BATCH = 3


def save(name, model, inputs, outputs):
    if isinstance(model, bytes):
        model = onnx.load_from_string(model)
    onnx.checker.check_model(model)
    with open(os.path.join(HERE, name + ".onnx"), "wb") as f:
        f.write(model.SerializeToString())
    with open(os.path.join(HERE, name + ".bin"), "wb") as f:
        for array in list(inputs) + list(outputs):
            f.write(np.ascontiguousarray(array).tobytes())


def scale(x):
    return (x.float() / 255.0 - 0.2860) / 0.3530


def torch_cases():
    def mlp(activation):
        return nn.Sequential(nn.Linear(6, 5), activation, nn.Linear(5, 4))

    row = (6,)
    yield "relu", 17, mlp(nn.ReLU()), row, {}
    yield "leaky_relu", 13, mlp(nn.LeakyReLU(0.2)), row, {}
    yield "sigmoid", 11, mlp(nn.Sigmoid()), row, {}
    yield "tanh", 9, mlp(nn.Tanh()), row, {}
    yield "softmax", 13, nn.Sequential(mlp(nn.ReLU()), nn.Softmax(1)), row, {}
    yield "softmax_11", 11, nn.Sequential(mlp(nn.ReLU()), nn.Softmax(1)), row, {}
    yield "log_softmax", 14, nn.Sequential(mlp(nn.ReLU()), nn.LogSoftmax(1)), row, {}
    yield "flatten", 17, nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), (1, 3, 4), {}
    yield "reshape", 13, nn.Sequential(
        Lambda(lambda x: x.reshape(-1, 12)), nn.Linear(12, 3)), (3, 4), {}
    for opset in (11, 13, 17):  # Shape, Gather, Unsqueeze, Concat, Reshape
        yield "view_%d" % opset, opset, nn.Sequential(
            Lambda(lambda x: x.view(x.size(0), -1)), nn.Linear(12, 3)), (3, 4), {}
    yield "transpose", 13, nn.Sequential(
        Lambda(lambda x: x.transpose(1, 2)), nn.Flatten(), nn.Linear(12, 3)), (3, 4), {}
    yield "sequence", 13, nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), (3, 4), {}
    yield "dropout", 13, nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5),
                                       nn.ReLU(), nn.Linear(5, 4)), row, {"train": True}
    yield "scaling", 17, nn.Sequential(Lambda(scale), nn.Flatten(),
                                       nn.Linear(12, 3)), (3, 4), {"uint8": True}
    yield "fixed_batch", 17, mlp(nn.ReLU()), row, {"fixed": True}
    yield "old_inputs", 8, mlp(nn.ReLU()), row, {"old": True}
    for name, opset, module, shape, how in shape_cases():
        yield name, opset, module, shape, dict(how, export=2)  # another batch


def make_torch():
    for k, (name, opset, module, shape, how) in enumerate(torch_cases()):
        torch.manual_seed(k + 1)
        for p in module.parameters():
            nn.init.uniform_(p, -0.7, 0.7)
        if how.get("uint8"):
            x = torch.randint(0, 256, (BATCH,) + shape, dtype=torch.uint8)
        elif "ids" in how:
            x = torch.randint(0, how["ids"], (BATCH,) + shape)
        else:
            x = torch.randn((BATCH,) + shape)
        module.eval()
        y = module(x).detach()
        train = how.get("train", False)
        bytes_ = io.BytesIO()
        torch.onnx.export(
            module, x[:how.get("export", BATCH)], bytes_,
            opset_version=opset, input_names=["x"], output_names=["y"],
            keep_initializers_as_inputs=how.get("old"),
            training=(torch.onnx.TrainingMode.TRAINING if train
                      else torch.onnx.TrainingMode.EVAL),
            do_constant_folding=not train,
            dynamic_axes=None if how.get("fixed") else {"x": {0: "n"}, "y": {0: "n"}})
        model = onnx.load_from_string(bytes_.getvalue())
        for node in model.graph.node:
            node.doc_string = ""
        save("torch_" + name, model, [x.numpy()], [y.numpy()])


if __name__ == "__main__":
    make_torch()
