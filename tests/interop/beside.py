#!/usr/bin/python3
"""ONNX's checker and ONNX Runtime judge what becomes of a model in two files.

    beside.py BIN FOLDER

The end-to-end test of such models (tests/e2e/test_beside.sh) leaves in FOLDER what
a client pulled, what the coordinator exported, and our answers. Both judges read
each ONNX file with the file that it names beside it: the version as it was
trained, and the fp32 form of one that was pruned and quantised; and the int8 form,
which is one file. Outputs of float models must agree to 1e-5 of the largest one,
of the int8 model to 1/255 of their range; the top class of every image.
"""
import json
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

TEST = os.path.join(os.path.dirname(__file__), "../e2e/test_beside.sh")
# Model, our answers, whether it has a second file, what may differ.
CASES = [
    ("pulled/m.onnx", "answers.two", True, lambda y: 1e-5 * np.abs(y).max()),
    ("exported/f.onnx", "answers.fp32", True, lambda y: 1e-5 * np.abs(y).max()),
    ("exported/m.onnx", "answers.int8", False,
     lambda y: (y.max() - y.min()) / 255),
]


def judge(folder, model, answers, beside, allowed):
    path = os.path.join(folder, model)
    onnx.checker.check_model(path, full_check=True)
    graph = onnx.load(path, load_external_data=False).graph
    names = {e.value for t in graph.initializer for e in t.external_data
             if e.key == "location"}
    with open(os.path.join(folder, answers)) as f:
        rows = json.load(f)
    ours = np.array([r["outputs"] for r in rows], np.float32)
    pixels = np.fromfile(
        os.path.join(folder, "held-out/data-images-idx3-ubyte"), np.uint8)[16:]
    x = pixels.reshape(-1, 784)[: len(ours)]
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = session.run(None, {session.get_inputs()[0].name: x})[0]
    worst = np.abs(ours - theirs).max()
    same = (ours.argmax(1) == theirs.argmax(1)).sum()
    good = (worst <= allowed(theirs) and same == len(ours)
            and bool(names) == beside)
    print(f"{model:16} beside {sorted(names)}: {len(ours)} images, largest "
          f"difference {worst:.2g} of {allowed(theirs):.2g} allowed, {same} top "
          f"classes the same: {'passed' if good else 'OBJECTION'}")
    return good


def main(bin_folder, folder):
    subprocess.run(["rm", "-rf", folder], check=True)
    os.mkdir(folder)
    subprocess.run(["bash", TEST, bin_folder], check=True,
                   env={**os.environ, "JUDGED": folder})
    sys.exit(0 if all([judge(folder, *case) for case in CASES]) else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
