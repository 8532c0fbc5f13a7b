#!/usr/bin/python3
"""Times PyTorch's training step on the workloads of ours.c, one thread."""
import time
import torch

torch.set_num_threads(1)
BATCHES = 64


def mlp(widths):
    layers = []
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        layers.append(torch.nn.Linear(a, b))
        if i + 2 < len(widths):
            layers.append(torch.nn.ReLU())
    return torch.nn.Sequential(*layers)


def run(name, model, loss, x, y, batch, steps, **sgd):
    opt = torch.optim.SGD(model.parameters(), **sgd)
    n = len(x) // batch
    for i in range(steps + BATCHES):
        if i == BATCHES:
            start = time.perf_counter()
        at = i % n * batch
        opt.zero_grad()
        loss(model(x[at:at + batch]), y[at:at + batch]).backward()
        opt.step()
    rate = steps * batch / (time.perf_counter() - start)
    print(f"{name} {rate:.1f} samples/s", flush=True)


torch.manual_seed(1)
cross = torch.nn.functional.cross_entropy
x = torch.rand(BATCHES * 32, 784)
y = torch.arange(BATCHES * 32) % 10
run("784-200-10", mlp([784, 200, 10]), cross, x, y, 32, 1000, lr=0.1)
run("784-200-10-momentum", mlp([784, 200, 10]), cross, x, y, 32, 1000,
    lr=0.1, momentum=0.9)
run("784-200-200-10", mlp([784, 200, 200, 10]), cross, x, y, 32, 1000, lr=0.1)
linear = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.Linear(20, 10))
run("10-20-10-mse", linear, torch.nn.functional.mse_loss, torch.rand(100, 10),
    torch.rand(100, 10), 100, 1000, lr=0.01)
