#!/usr/bin/python3
"""Makes batchnorm.onnx beside it with PyTorch (Debian's python3-torch 1.13.1):
784-8-10 with BatchNorm1d behind the first layer. Run: ./make_models.py
"""
import os
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(6)
model = torch.nn.Sequential(
    torch.nn.Linear(784, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(),
    torch.nn.Linear(8, 10))
torch.onnx.export(
    model.eval(), torch.zeros(2, 784), os.path.join(HERE, "batchnorm.onnx"),
    opset_version=17, input_names=["x"], output_names=["y"],
    dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
