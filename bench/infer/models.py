#!/usr/bin/python3
"""Writes the models that run times, by PyTorch: models.py FOLDER.

mlp.onnx (784-200-10), cnn.onnx (the CNN of McMahan et al. 2017, 1,663,370
parameters) and resnet20.onnx (for 32 x 32 pixels in three colours, its 21
BatchNormalization kept as nodes), with fresh weights, and the samples in calibrate/ to quantise them with.
"""
import os
import sys

import numpy as np
import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../tests/golden/models"))
import make

folder = sys.argv[1]
torch.manual_seed(1)
MLP = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 10))
CNN = nn.Sequential(
    nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10))
for name, model, shape in (("mlp", MLP, (1, 784)), ("cnn", CNN, (1, 1, 28, 28))):
    torch.onnx.export(model, torch.rand(shape), os.path.join(folder, name + ".onnx"),
                      opset_version=13, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
NET = make.resnet(nn.BatchNorm2d, 16, 3).eval()
for module in NET.modules():  # equal tensors would be written once
    if isinstance(module, nn.BatchNorm2d):
        for tensor in (module.weight, module.running_var):
            nn.init.uniform_(tensor, 0.5, 1.5)
        for tensor in (module.bias, module.running_mean):
            nn.init.uniform_(tensor, -0.5, 0.5)
torch.onnx.export(NET, torch.rand(1, 3, 32, 32),
                  os.path.join(folder, "resnet20.onnx"), opset_version=13,
                  do_constant_folding=False, input_names=["x"],
                  training=torch.onnx.TrainingMode.PRESERVE,
                  output_names=["y"],
                  dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
rows = np.random.default_rng(1).random((256, 784), np.float32)
calibrate = os.path.join(folder, "calibrate")
os.makedirs(calibrate, exist_ok=True)
np.save(os.path.join(calibrate, "x.npy"), rows)
np.save(os.path.join(calibrate, "y.npy"), np.arange(256, dtype=np.int64) % 10)
