#!/usr/bin/python3
"""PyTorch's word on whole networks: exports them, and tells losses, gradients
and 20 steps of SGD on one batch with cross-entropy. The truth is its float64;
its float32 is a peer. Debian: python3-torch 1.13, python3-onnx.

    make.py                      narrow networks: NAME.onnx and NAME.ref here
    make.py FOLDER SEEDS [NAME]  full ones, for tests/interop/gradients.py

NAME.ref, for tests/unit/train/test_models.c, little-endian: losses f64 [21],
the last one after 20 steps | number of tensors u32, then for each: length u32,
name | elements u32 | norms f64: of the gradient at the start, of the tensor in
the end | samples u32 | for each: index u32, gradient f32, in the end f32; then
x as raw bytes and y as int32. Running statistics count as tensors without a
gradient.

Full networks come with seeds 1 to SEEDS, none left out. For each, NAME.onnx,
NAME.feed (x and y) and NAME.npz (the truth by name, and shares: what float32
says of it, as shares() counts; under calm/ the same of 20 steps at a twentieth
of the rate) are written, and a line "NAME SEED". Then a line is read: "next", or
"moved", which is answered by what share of the allowed differences the truth
itself goes through when its parameters move by 2e-7 of
themselves, an engine's rounding: over 1, a sum lies at the kink of a ReLU or
at another maximum of a pool, or 20 steps multiply the difference, and no
float32 can tell what is right.
"""
import io
import os
import struct
import sys
import warnings

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 20
SAMPLES = 16
CALM = 0.05  # of the rate: there rounding does not grow from step to step
MOVED = 8  # times at most that the truth is moved


class Residual(nn.Module):
    """The basic block of He et al. 2016, with any normalisation."""

    def __init__(self, n_in, n_out, stride, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.norm1 = norm(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.norm2 = norm(n_out)
        self.skip = nn.Sequential()
        if n_in != n_out:
            self.skip = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), norm(n_out))

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.skip(x))


def resnet(norm, width, depth):
    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False), norm(width), nn.ReLU()]
    n_in = width
    for stage in range(3):
        n_out = width << stage
        for block in range(depth):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Residual(n_in, n_out, stride, norm))
            n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(n_in, 10))


class Inverted(nn.Module):
    """The block of MobileNetV2 (Sandler et al. 2018)."""

    def __init__(self, n_in, n_out, stride, expand):
        super().__init__()
        n = n_in * expand
        self.adds = stride == 1 and n_in == n_out
        self.body = nn.Sequential(
            nn.Conv2d(n_in, n, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU6(),
            nn.Conv2d(n, n, 3, stride, 1, groups=n, bias=False),
            nn.BatchNorm2d(n), nn.ReLU6(),
            nn.Conv2d(n, n_out, 1, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet(width, blocks):
    layers = [nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width),
              nn.ReLU6()]
    n_in = width
    for n_out, stride in blocks:
        layers.append(Inverted(n_in, n_out, stride, 4))
        n_in = n_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(n_in, 10))


class Recurrent(nn.Module):
    """Embedding, recurrent layers, and a layer on the last step."""

    def __init__(self, kind, vocab, embed, hidden, layers, classes):
        super().__init__()
        self.embed = nn.Embedding(vocab, embed)
        self.body = kind(embed, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.body(self.embed(x))[0][:, -1])


class Encoder(nn.Module):
    def __init__(self, vocab, width, heads, inner, classes):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        layer = nn.TransformerEncoderLayer(width, heads, inner, dropout=0.0,
                                           batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        return self.head(self.body(self.embed(x)).mean(1))


def mlp(*sizes):
    layers = [nn.Flatten()]
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet(c1, c2, f1, f2, side):
    inner = ((side // 2) - 4) // 2
    return nn.Sequential(
        nn.Conv2d(1, c1, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(c1, c2, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(c2 * inner * inner, f1), nn.Tanh(), nn.Linear(f1, f2),
        nn.Tanh(), nn.Linear(f2, 10))


def mcmahan(c1, c2, f, side):
    return nn.Sequential(
        nn.Conv2d(1, c1, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(c1, c2, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(c2 * (side // 4) ** 2, f), nn.ReLU(),
        nn.Linear(f, 10))


def groups(n):
    return nn.GroupNorm(max(n // 8, 2), n)


# name: (network, shape of a row, token count or 0, classes, batch, rate);
# full first, then narrow.
NETS = {
    "logreg": [
        (lambda: mlp(784, 10), (1, 28, 28), 0, 10, 32, 0.1),
        (lambda: mlp(16, 4), (1, 4, 4), 0, 4, 5, 0.1)],
    "mlp": [
        (lambda: mlp(784, 200, 200, 10), (1, 28, 28), 0, 10, 32, 0.1),
        (lambda: mlp(16, 12, 8, 4), (1, 4, 4), 0, 4, 5, 0.1)],
    "lenet5": [
        (lambda: lenet(6, 16, 120, 84, 28), (1, 28, 28), 0, 10, 32, 0.1),
        (lambda: lenet(2, 3, 8, 6, 12), (1, 12, 12), 0, 10, 5, 0.1)],
    "mcmahan": [
        (lambda: mcmahan(32, 64, 512, 28), (1, 28, 28), 0, 10, 16, 0.05),
        (lambda: mcmahan(3, 4, 8, 8), (1, 8, 8), 0, 10, 5, 0.05)],
    "resnet_gn": [
        (lambda: resnet(groups, 16, 3), (3, 32, 32), 0, 10, 8, 0.01),
        (lambda: resnet(groups, 4, 1), (3, 8, 8), 0, 10, 4, 0.01)],
    "resnet_bn": [
        (lambda: resnet(nn.BatchNorm2d, 16, 3), (3, 32, 32), 0, 10, 8, 0.01),
        (lambda: resnet(nn.BatchNorm2d, 4, 1), (3, 8, 8), 0, 10, 4, 0.01)],
    "mobilenet": [
        (lambda: mobilenet(16, [(16, 1), (24, 2), (24, 1), (32, 2), (32, 1)]),
         (3, 32, 32), 0, 10, 8, 0.01),
        (lambda: mobilenet(4, [(4, 1), (6, 2)]), (3, 8, 8), 0, 10, 4, 0.01)],
    "char_lstm": [
        (lambda: Recurrent(nn.LSTM, 80, 8, 256, 2, 80), (80,), 80, 80, 10, 0.5),
        (lambda: Recurrent(nn.LSTM, 12, 4, 6, 2, 12), (7,), 12, 12, 4, 0.5)],
    "gru": [
        (lambda: Recurrent(nn.GRU, 64, 16, 64, 1, 4), (24,), 64, 4, 16, 0.2),
        (lambda: Recurrent(nn.GRU, 12, 4, 6, 1, 4), (7,), 12, 4, 4, 0.2)],
    "transformer": [
        (lambda: Encoder(64, 64, 4, 128, 10), (16,), 64, 10, 16, 0.05),
        (lambda: Encoder(12, 8, 2, 12, 4), (5,), 12, 4, 4, 0.05)],
}

def start(name, narrow, seed):
    """Network, x, y and rate; scales and shifts are drawn too, since ones and
    zeros would hide a mistake."""
    make, shape, tokens, classes, batch, rate = NETS[name][narrow]
    torch.manual_seed(seed)
    net = make().train()
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    if tokens:
        x = torch.randint(0, tokens, (batch,) + shape)
    else:
        x = torch.randn((batch,) + shape)
    return net, x, torch.randint(0, classes, (batch,)), rate


def export(net, x):
    state = {k: v.clone() for k, v in net.state_dict().items()}
    out = io.BytesIO()
    torch.onnx.export(net, x, out, opset_version=17, input_names=["x"],
                      output_names=["y"], do_constant_folding=False,
                      training=torch.onnx.TrainingMode.TRAINING,
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
    net.load_state_dict(state)  # tracing moved the running statistics
    net.train()
    model = onnx.load_from_string(out.getvalue())
    for node in model.graph.node:
        node.doc_string = ""
    for data in model.graph.initializer:
        if data.name in state:
            data.CopyFrom(numpy_helper.from_array(state[data.name].numpy(),
                                                  data.name))
    return model.SerializeToString()


def population(net, end, sizes):
    """Running variances as ONNX defines them: of the population, where PyTorch
    keeps n / (n - 1) of each batch. They start at 1."""
    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            n, kept = sizes[name], (1 - module.momentum) ** STEPS
            end[name + ".running_var"] = (
                kept + (end[name + ".running_var"] - kept) * (n - 1) / n
            ).astype("f4")


def judge(net, x, y, rate, steps=STEPS):
    """Losses before each step and in the end; gradients at the start; all
    tensors in the end."""
    sizes = {}

    def note(name):
        def hook(module, inputs, output):
            sizes[name] = inputs[0].numel() // inputs[0].shape[1]
        return hook

    for name, module in net.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(note(name))
    optimiser = torch.optim.SGD(net.parameters(), lr=rate)
    losses, first, end = [], {}, {}
    for step in range(steps + 1):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        losses.append(loss.item())
        if step == steps:
            break
        loss.backward()
        if step == 0:
            first = {k: p.grad.numpy().copy()
                     for k, p in net.named_parameters()}
        optimiser.step()
        if step == steps - 1:  # before the last look moves the statistics
            end = {k: v.numpy().copy() for k, v in net.state_dict().items()
                   if "num_batches" not in k}
            population(net, end, sizes)
    return losses, first, end


def norm(x):
    return np.linalg.norm(np.asarray(x, "f8").ravel())


def shares(said, truth):
    """How far what judge says lies from the truth, each as a share of what is
    allowed: the first loss (1e-5), the worst gradient (1e-5 of its norm, or of
    1e-3 of all), the worst tensor after the steps (1e-3), the worst loss
    (1e-3)."""
    off = np.abs(np.subtract(said[0], truth[0])) / np.abs(truth[0])
    total = norm([norm(g) for g in truth[1].values()])
    first = [norm(said[1][k] - g) / (1e-5 * max(norm(g), 1e-3 * total))
             for k, g in truth[1].items()]
    last = [norm(said[2][k] - w) / (1e-3 * norm(w))
            for k, w in truth[2].items()]
    return off[0] / 1e-5, max(first), max(last, default=0), off.max() / 1e-3


def truth(name, narrow, seed, moved=0, steps=STEPS, calm=1):
    """judge in float64, of parameters moved by some 2e-7 of themselves, at calm
    times the rate."""
    net, x, y, rate = start(name, narrow, seed)
    net = net.double()
    torch.manual_seed(moved)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1 + (2e-7 if moved else 0) * torch.randn_like(p))
    return judge(net, x.double() if x.is_floating_point() else x, y,
                 rate * calm, steps)


def move(name, seed, said, over):
    """The largest shares of the moved truth; over(shares): enough is known."""
    worst = [0] * 4
    for k in range(MOVED):
        worst = np.maximum(worst, shares(truth(name, 0, seed, k + 1), said))
        if over(worst):
            break
    return worst


def feed(x, y):
    return x.numpy().tobytes() + y.numpy().astype("<i4").tobytes()


def reference(losses, first, end, x, y):
    out = struct.pack("<%dd" % len(losses), *losses)
    out += struct.pack("<I", len(end))
    for name, w in end.items():
        g = first.get(name, np.zeros_like(w)).ravel().astype("<f4")
        w = w.ravel().astype("<f4")
        text = name.encode()
        at = np.unique(np.linspace(0, w.size - 1, SAMPLES).astype(int))
        out += struct.pack("<I", len(text)) + text
        out += struct.pack("<Idd", w.size, np.linalg.norm(g.astype("f8")),
                           np.linalg.norm(w.astype("f8")))
        out += struct.pack("<I", len(at))
        for i in at:
            out += struct.pack("<Iff", i, g[i], w[i])
    return out + feed(x, y)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def make_narrow(name):
    net, x, y, _ = start(name, 1, 1)
    path = os.path.join(HERE, name)
    write(path + ".onnx", export(net, x))
    write(path + ".ref", reference(*truth(name, 1, 1), x, y))


def told(name, seed, calm):
    """What the archive keeps of one rate: the truth, and float32's shares."""
    right = truth(name, 0, seed, calm=calm)
    net, x, y, rate = start(name, 0, seed)
    said = judge(net, x, y, rate * calm)
    return right, {
        "rate": rate * calm, "losses": right[0], "shares": shares(said, right),
        **{"grad/" + k: v for k, v in right[1].items()},
        **{"end/" + k: v for k, v in right[2].items()}}


def make_full(folder, name, seed):
    net, x, y, _ = start(name, 0, seed)
    path = os.path.join(folder, name)
    write(path + ".onnx", export(net, x))
    write(path + ".feed", feed(x, y))
    right, ordinary = told(name, seed, 1)
    _, calm = told(name, seed, CALM)
    np.savez(path + ".npz", batch=len(y), **ordinary,
             **{"calm/" + k: v for k, v in calm.items()})
    print(name, seed, flush=True)
    asked = sys.stdin.readline().split()
    if asked[0] == "moved":  # and which of the shares ask for it
        which = [int(i) for i in asked[1:]]
        worst = move(name, seed, right, lambda w: all(w[which] > 1))
        print(*worst, flush=True)


def main():
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if len(sys.argv) == 1:
        for name in NETS:
            make_narrow(name)
        return
    for name in sys.argv[3:] or NETS:
        for seed in range(1, int(sys.argv[2]) + 1):
            make_full(sys.argv[1], name, seed)


if __name__ == "__main__":
    main()
