#!/usr/bin/python3
"""PyTorch judges gradients and steps of whole networks; ONNX Runtime runs them
as we write them.

    gradients.py BIN FOLDER

BIN holds train_tool and onnx_tool. tests/golden/models/make.py, run by Debian's
Python, exports each network with seeds 1 to 10 (SEEDS=N: to N), and tells what
PyTorch finds in float64. On the first step our loss must agree to 1e-5 relative,
and each tensor's gradient g with that g' as |g - g'| <= 1e-5 max(|g'|, 1e-3 |all
g'|). After 20 steps of SGD each tensor w, running statistics too, must satisfy
|w - w'| <= 1e-3 |w'|, and each of the 21 losses agree to 1e-3. PyTorch's own
float32 is measured by the same rule, and each seed at which either misses is
printed. We object to a miss of ours where PyTorch in float32 does not miss and
the truth stands still when its parameters move by 2e-7 of themselves; elsewhere
rounding decides. At the ordinary rates it mostly does in normalised networks,
since each step multiplies it. So 20 steps are made at a twentieth of the rate
too, by the same measure, and there a miss where PyTorch in float32 does not miss
is ours, without further question. By how much the loss falls is printed: steps
that change nothing would prove nothing. Then the model as we write it must pass
the checker, and in inference ONNX Runtime's outputs must be ours to 1e-5 of the
largest.
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
NAMES = ("logreg mlp lenet5 mcmahan resnet_gn resnet_bn mobilenet char_lstm gru "
         "transformer").split()


def norm(x):
    return float(np.linalg.norm(np.asarray(x, "f8").ravel()))


def train(tool, path, ref, pace):
    """Our losses, gradients by name and final tensors by name."""
    raw = path + ".raw"
    done = subprocess.run(
        [tool, path + ".onnx", path + ".feed", str(int(ref["batch"])),
         repr(float(ref[pace + "rate"])), raw],
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


def steps(mine, ref, pace):
    """Our shares of the two differences that 20 steps are allowed, and where."""
    losses, _, end = mine
    right, last = ref[pace + "losses"], part(ref, pace + "end/")
    w, w_at = share(end, last, lambda k: 1e-3 * norm(last[k]))
    off = np.abs(losses - right) / np.abs(right)
    return [w, off.max() / 1e-3], [w_at, ""]


def shares(tool, path, ref):
    """Our shares, in the order of WHAT, and the names of the worst."""
    mine = train(tool, path, ref, "")
    grads = part(ref, "grad/")
    total = norm(np.concatenate([g.ravel() for g in grads.values()]))
    off = abs(mine[0][0] / ref["losses"][0] - 1)
    g, g_at = share(mine[1], grads, lambda k: 1e-5 * max(norm(grads[k]),
                                                         1e-3 * total))
    w, w_at = steps(mine, ref, "")
    calm, calm_at = steps(train(tool, path, ref, "calm/"), ref, "calm/")
    return [off / 1e-5, g] + w + calm, ["", g_at] + w_at + calm_at


WHAT = ("loss", "gradient", "20 steps", "losses", "20 calm steps",
        "calm losses")
CALM = 4  # the first of WHAT where no rounding is an excuse
COLUMNS = slice(0, 2), slice(2, 4), slice(4, 6)


def row(what, cells):
    return "  %-26s" % what + "".join("%-22s" % c for c in cells).rstrip()


class Tally:
    """What came of the seeds of one network."""

    def __init__(self):
        self.ours, self.theirs, self.said, self.bad = [], [], [], 0
        self.rates, self.falls = (), []

    def judge(self, seed, ours, where, theirs, moved):
        """moved: asks how the truth moves in some of the first four."""
        self.ours.append(ours)
        self.theirs.append(theirs)
        missed = [i for i in range(len(WHAT)) if not ours[i] <= 1]
        alone = [i for i in missed if theirs[i] <= 1]
        asked = [i for i in alone if i < CALM]
        still = moved(asked) if asked else [0] * CALM
        for i in range(len(WHAT)):
            if i not in missed and theirs[i] <= 1:
                continue
            verdict = "PyTorch %.3g" % theirs[i]
            if i in asked:
                verdict += "; the truth moves by %.3g" % still[i]
            if i in alone:
                excused = i in asked and still[i] > 1
                self.bad += not excused
                verdict += ": rounding decides" if excused else ": OURS"
            self.said.append("  seed %d, %s: ours %.3g %s, %s" % (
                seed, WHAT[i], ours[i], where[i], verdict))

    def print(self, name, n):
        print("%-12s %9d parameters, %d seeds" % (name, n, len(self.ours)))
        print(row("share of what is allowed", ["first step"] +
                  ["20 steps at %g" % r for r in self.rates]))
        for who, all_shares in (("ours", self.ours),
                                ("PyTorch in float32", self.theirs)):
            worst = [[max(s[c]) for s in all_shares] for c in COLUMNS]
            print(row(who + " passed", [
                "%d, median %.2g" % (sum(v <= 1 for v in w), np.median(w))
                for w in worst]))
        print(row("loss falls by", [""] + [
            "%.0f %%" % (100 * v) for v in np.median(self.falls, 0)]))
        print(*self.said, sep="\n", end="\n" * bool(self.said), flush=True)


def judge_seed(tally, seed, tool, path, maker):
    ref = np.load(path + ".npz")
    asked = []

    def moved(which):
        asked.append(True)
        maker.stdin.write("moved %s\n" % " ".join(map(str, which)))
        maker.stdin.flush()
        return [float(v) for v in maker.stdout.readline().split()]

    ours, where = shares(tool, path, ref)
    theirs = list(ref["shares"]) + list(ref["calm/shares"][2:])
    tally.rates = float(ref["rate"]), float(ref["calm/rate"])
    tally.falls.append([1 - ref[pace + "losses"][-1] / ref["losses"][0]
                        for pace in ("", "calm/")])
    tally.judge(seed, ours, where, theirs, moved)
    if not asked:
        maker.stdin.write("next\n")
        maker.stdin.flush()
    return sum(ref[k].size for k in ref.files if k.startswith("grad/"))


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


def judge_network(name, bin_folder, folder, n_seeds):
    """The number of objections to one network at all its seeds."""
    path = os.path.join(folder, name)
    tally, n, written = Tally(), 0, 0
    with subprocess.Popen(
            ["/usr/bin/python3", MAKE, folder, str(n_seeds), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        for line in iter(maker.stdout.readline, ""):
            seed = int(line.split()[1])
            if seed == 1:
                written = judge_written(os.path.join(bin_folder, "onnx_tool"),
                                        path)
            n = judge_seed(tally, seed, os.path.join(bin_folder, "train_tool"),
                           path, maker)
    tally.print(name, n)
    return tally.bad + written + (maker.returncode != 0) + \
        (len(tally.ours) != n_seeds)


def main():
    bin_folder, folder = sys.argv[1:3]
    names = os.environ.get("NETS", "").split() or NAMES
    n_seeds = int(os.environ.get("SEEDS", 10))
    bad = 0
    for name in names:
        try:
            bad += judge_network(name, bin_folder, folder, n_seeds)
        except Exception as e:  # a refusal is an objection like any other
            print("%s: %s" % (name, e))
            bad += 1
    print("%d networks, %d objections" % (len(names), bad))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
