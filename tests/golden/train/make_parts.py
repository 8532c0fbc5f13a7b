#!/usr/bin/python3
"""Makes losses.f32, optimisers.f32, clip.f32 and schedules.f32 beside it with
PyTorch (Debian's python3-torch 1.13.1), for tests/unit/train/test_parts.c. Each
is little-endian float32; what follows what stands in each function.
Run: ./make_parts.py
"""
import os
import warnings
import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
warnings.simplefilter("ignore")
torch.set_num_threads(1)


def save(name, *parts):
    flat = [np.asarray(p, dtype="<f4").ravel() for p in parts]
    np.concatenate(flat).tofile(os.path.join(HERE, name + ".f32"))


def losses():
    """out [6, 4], labels [6], labels with -100 [6], values [6, 4], zeros and
    ones [6, 4], class weights [4], weights of ones [4]; then of each case the
    loss and its gradient [24], in the order of the test's table."""
    torch.manual_seed(3)
    out = torch.randn(6, 4) * 2
    label = torch.randint(0, 4, (6,))
    some = label.clone()
    some[1] = some[4] = -100
    value = torch.randn(6, 4)
    bit = torch.randint(0, 2, (6, 4)).float()
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0])
    ones = torch.tensor([2.0, 0.5, 1.0, 4.0])
    results = []

    def case(f, shape=(6, 4)):
        x = out.clone().reshape(shape).requires_grad_()
        loss = f(x)
        loss.backward()
        results.extend([[loss.item()], x.grad.numpy()])

    case(lambda x: F.cross_entropy(x, label))
    case(lambda x: F.cross_entropy(x, label, weight=weight))
    case(lambda x: F.cross_entropy(x, label, label_smoothing=0.1))
    case(lambda x: F.cross_entropy(x, some))
    case(lambda x: F.cross_entropy(x, some, weight=weight,
                                   label_smoothing=0.2))
    case(lambda x: F.cross_entropy(x, some.reshape(2, 3), weight=weight,
                                   label_smoothing=0.2), (2, 4, 3))
    case(lambda x: F.cross_entropy(x, label.reshape(2, 3)), (2, 4, 3))
    case(lambda x: F.binary_cross_entropy_with_logits(x, bit))
    case(lambda x: F.binary_cross_entropy_with_logits(x, bit, pos_weight=ones))
    case(lambda x: F.mse_loss(x, value))
    case(lambda x: F.l1_loss(x, value))
    case(lambda x: F.huber_loss(x, value))
    case(lambda x: F.huber_loss(x, value, delta=0.3))
    save("losses", out, label, some, value, bit, weight, ones, *results)


STEPS, N = 20, 7


def optimisers():
    """w [7], gradients [20, 7]; then of each case w after each step [20, 7]."""
    torch.manual_seed(4)
    start = torch.randn(N)
    grads = torch.randn(STEPS, N)
    results = []
    for make in (
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.3),
            lambda p: torch.optim.Adam(p),
            lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-4,
                                       weight_decay=0.1),
            lambda p: torch.optim.AdamW(p),
            lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.5),
            lambda p: torch.optim.RMSprop(p),
            lambda p: torch.optim.RMSprop(p, lr=0.02, alpha=0.9, momentum=0.8,
                                          weight_decay=0.1),
            lambda p: torch.optim.Adagrad(p),
            lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.05,
                                          weight_decay=0.1)):
        w = torch.nn.Parameter(start.clone())
        opt = make([w])
        for g in grads:
            w.grad = g.clone()
            opt.step()
            results.append(w.detach().numpy().copy())
    save("optimisers", start, grads, *results)


def clip():
    """Gradients [9] in two vectors of 4 and 5; then after clipping by norm 1,
    by norm 100, by value 0.5."""
    torch.manual_seed(5)
    start = [torch.randn(4), torch.randn(5)]
    results = []
    for f in (lambda p: torch.nn.utils.clip_grad_norm_(p, 1.0),
              lambda p: torch.nn.utils.clip_grad_norm_(p, 100.0),
              lambda p: torch.nn.utils.clip_grad_value_(p, 0.5)):
        params = [torch.nn.Parameter(torch.zeros(s.shape)) for s in start]
        for p, s in zip(params, start):
            p.grad = s.clone()
        f(params)
        results.extend(p.grad.numpy() for p in params)
    save("clip", *start, *results)


def schedules():
    """The learning rate, of 1, of steps 0 to 19: warm-up of 4; half every 3
    steps behind a warm-up of 4; cosine to 0.1 over 20 steps with a warm-up of
    5; cosine to 0 over 20 steps."""
    results = []
    for warm, then in (
            (4, lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda _: 1.0)),
            (4, lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5)),
            (5, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(
                o, 15, 0.1)),
            (0, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20))):
        opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        if warm:
            rise = torch.optim.lr_scheduler.LinearLR(opt, 1 / warm, 1.0,
                                                     warm - 1)
            s = torch.optim.lr_scheduler.SequentialLR(
                opt, [rise, then(opt)], [warm])
        else:
            s = then(opt)
        for _ in range(STEPS):
            results.append(opt.param_groups[0]["lr"])
            opt.step()
            s.step()
    save("schedules", results)


losses()
optimisers()
clip()
schedules()
