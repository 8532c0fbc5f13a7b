#!/usr/bin/python3
"""Times PyTorch's training step on the workloads of ours.c, one thread:
theirs.py [NAME...]. theirs.py --export FOLDER writes the ONNX models that
ours.c reads."""
import os
import sys
import time
import torch
from torch import nn

torch.set_num_threads(1)
BATCHES = 64
NAMES = sys.argv[1:]


class Cnn(nn.Module):
    """The network of McMahan et al. 2017: 1,663,370 parameters."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(3136, 512)
        self.fc2 = nn.Linear(512, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class CharLstm(nn.Module):
    """The next character from 80: 819,920 parameters."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(80, 8)
        self.lstm = nn.LSTM(8, 256, 2, batch_first=True)
        self.out = nn.Linear(256, 80)

    def forward(self, x):
        return self.out(self.lstm(self.embed(x))[0][:, -1])


def mlp(widths):
    layers = []
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        layers.append(nn.Linear(a, b))
        if i + 2 < len(widths):
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def export(folder):
    os.makedirs(folder, exist_ok=True)
    for name, model, x in (
            ("cnn", Cnn(), torch.zeros(2, 1, 28, 28)),
            ("char_lstm", CharLstm(), torch.zeros(2, 80, dtype=torch.long))):
        torch.onnx.export(
            model.eval(), x, os.path.join(folder, name + ".onnx"),
            input_names=["x"], output_names=["y"], opset_version=17,
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}})


def run(name, make, loss, x, y, batch, steps, **sgd):
    if NAMES and name not in NAMES:
        return
    model = make()
    opt = torch.optim.SGD(model.parameters(), **sgd)
    n = len(x) // batch
    before = steps // 10 + 1
    for i in range(steps + before):
        if i == before:
            start = time.perf_counter()
        at = i % n * batch
        opt.zero_grad()
        loss(model(x[at:at + batch]), y[at:at + batch]).backward()
        opt.step()
    rate = steps * batch / (time.perf_counter() - start)
    print(f"{name} {rate:.1f} samples/s", flush=True)


def main():
    cross = nn.functional.cross_entropy
    x = torch.rand(BATCHES * 32, 784)
    y = torch.arange(BATCHES * 32) % 10
    small = mlp([784, 200, 10])
    run("784-200-10", lambda: small, cross, x, y, 32, 1000, lr=0.1)
    run("784-200-10-b10", lambda: small, cross, x, y, 10, 2000, lr=0.1)
    run("784-200-10-momentum", lambda: small, cross, x, y, 32, 1000, lr=0.1,
        momentum=0.9)
    run("784-200-200-10", lambda: mlp([784, 200, 200, 10]), cross, x, y, 32,
        1000, lr=0.1)
    images = x.reshape(-1, 1, 28, 28)
    run("cnn", Cnn, cross, images, y, 32, 12, lr=0.01)
    run("cnn-b10", Cnn, cross, images, y, 10, 36, lr=0.01)
    run("char-lstm", CharLstm, cross, torch.randint(0, 80, (640, 80)),
        torch.arange(640) % 80, 10, 8, lr=0.1)
    run("10-20-10-mse",
        lambda: nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 10)),
        nn.functional.mse_loss, torch.rand(100, 10), torch.rand(100, 10), 100,
        1000, lr=0.01)


torch.manual_seed(1)
if NAMES[:1] == ["--export"]:
    export(NAMES[1])
else:
    main()
