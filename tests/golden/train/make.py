#!/usr/bin/python3
"""Makes the .f32 files beside it with PyTorch (Debian's python3-torch 1.13.1):
training curves from a given start, for tests/unit/train/test_golden.c.

Each file is little-endian float32: the start parameters in the order of
parameters(), x, y (labels as floats), then the curve. Run: ./make.py
"""
import os
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, *parts):
    flat = [np.asarray(p, dtype="<f4").ravel() for p in parts]
    np.concatenate(flat).tofile(os.path.join(HERE, name + ".f32"))


def start(model):
    return [p.detach().numpy().copy() for p in model.parameters()]


def linear_curve():
    """Linear(10,20) -> Linear(20,10), MSE, SGD 0.01, 1,000 full batches."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(10, 20),
                                torch.nn.Linear(20, 10))
    x, y = torch.randn(100, 10), torch.randn(100, 10)
    opt = torch.optim.SGD(model.parameters(), lr=0.01)
    first, curve = start(model), []
    for _ in range(1000):
        opt.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        curve.append(loss.item())
    save("linear", *first, x, y, curve)


def mlp():
    torch.manual_seed(2)
    model = torch.nn.Sequential(
        torch.nn.Linear(12, 16), torch.nn.ReLU(),
        torch.nn.Linear(16, 9), torch.nn.Tanh(), torch.nn.Linear(9, 4))
    x = torch.randn(40, 12)
    y = torch.randint(0, 4, (40,))
    return model, x, y


def sgd_curve(name, **options):
    """30 epochs of batches of 16 (the last has 8), one loss a batch; then the
    parameters at the end."""
    model, x, y = mlp()
    opt = torch.optim.SGD(model.parameters(), **options)
    first, curve = start(model), []
    for _ in range(30):
        for at in range(0, 40, 16):
            opt.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[at:at + 16]),
                                                     y[at:at + 16])
            loss.backward()
            opt.step()
            curve.append(loss.item())
    save(name, *first, x, y, curve, *start(model))


def gradient():
    """The gradient of the mean loss over all rows at the start."""
    model, x, y = mlp()
    loss = torch.nn.functional.cross_entropy(model(x), y)
    loss.backward()
    save("gradient", *start(model), x, y, [loss.item()],
         *[p.grad.numpy() for p in model.parameters()])


torch.set_num_threads(1)
linear_curve()
sgd_curve("sgd", lr=0.1)
sgd_curve("decay", lr=0.1, weight_decay=0.05)
sgd_curve("momentum", lr=0.05, momentum=0.9)
sgd_curve("nesterov", lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)
gradient()
