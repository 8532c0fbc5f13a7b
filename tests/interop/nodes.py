#!/usr/bin/python3
"""The onnx package's node tests: ours, ONNX Runtime's, and those of the newest
package.

    nodes.py BIN FOLDER

BIN holds conformance. All tests of the committed pack run through both engines,
and ours must pass more. Whatever we write of those models, the checker and ONNX
Runtime must take, and give the same outputs, wherever ONNX Runtime can run the
original. Then the tests of the installed onnx package, opset 23 at most, run
through both.
"""
import os
import re
import shutil
import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnxruntime as ort

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "../golden/onnx")
sys.path.insert(0, GOLDEN)
import nodes

OPSET_MAX = 23
BFLOAT16 = 16


def plain(case):
    """Whether all tensors are of types that numpy and ONNX Runtime share."""
    return all(t.type not in (0, nodes.STRING, BFLOAT16)
               for t in case.inputs + case.outputs)


def array(t):
    return np.frombuffer(t.data, nodes.TYPES[t.type]).reshape(t.shape)


def run(model, feeds):
    """ONNX Runtime's outputs; inputs by name, those left that are asked for."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model, options,
                                   providers=["CPUExecutionProvider"])
    asked = {i.name for i in session.get_inputs()}
    return session.run(None, {k: v for k, v in feeds.items() if k in asked})


def agrees(outputs, case):
    if len(outputs) != len(case.outputs):
        return False
    for got, t in zip(outputs, case.outputs):
        want, got = array(t), np.asarray(got)
        if got.shape != want.shape or got.dtype != want.dtype:
            return False
        if want.dtype.kind == "f":
            if not np.allclose(got.astype("f8"), want.astype("f8"), case.rtol,
                               case.atol, equal_nan=True):
                return False
        elif not np.array_equal(got, want):
            return False
    return True


def theirs(cases):
    """Names that ONNX Runtime passes. What numpy cannot hand over counts."""
    passed = set()
    for case in cases:
        if not plain(case):
            passed.add(case.name)
            continue
        names = [i.name for i in
                 onnx.load_from_string(case.model).graph.input]
        try:
            if agrees(run(case.model, dict(zip(names, map(array, case.inputs)))),
                      case):
                passed.add(case.name)
        except Exception:  # a refusal is a failure like any other
            pass
    return passed


def ours(tool, pack, folder, *more):
    """(names not passed, exit code is 0) of our own runner, whose words are
    shown."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    done = subprocess.run([tool, pack, "--write", folder, *more],
                          capture_output=True, text=True)
    missed = set()
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED", "excused")):
            missed.add(re.match(r"\w+ (\w+)", line).group(1))
        if line.startswith("FAILED"):
            print("  " + line)
    passed, n = re.search(r"(\d+)/(\d+) node tests", done.stdout).groups()
    assert int(n) - int(passed) == len(missed)
    return missed, done.returncode == 0


def uses(case, operators):
    graph = onnx.load_from_string(case.model).graph
    return all(node.op_type in operators for node in graph.node)


def judge_written(cases, able, folder):
    """Objections to the files that we wrote; able: what ONNX Runtime runs."""
    bad = n = 0
    for case in cases:
        path = os.path.join(folder, case.name + ".onnx")
        if not os.path.exists(path) or not plain(case):
            continue
        try:
            onnx.checker.check_model(onnx.load(path), full_check=True)
        except Exception as e:
            print("  %s: the checker says %s" % (case.name, str(e)[:200]))
            bad += 1
            continue
        if case.name not in able or "training" in case.name:
            continue
        names = [i.name for i in
                 onnx.load_from_string(case.model).graph.input]
        try:
            good = agrees(run(path, dict(zip(names, map(array, case.inputs)))),
                          case)
            why = "other outputs"
        except Exception as e:
            good, why = False, str(e)[:200]
        n += 1
        if not good:
            print("  %s as we wrote it: %s" % (case.name, why))
            bad += 1
    print("%d models as we wrote them run by ONNX Runtime, %d objections" %
          (n, bad))
    return bad


def judge(tool, pack, folder, what, *more):
    cases = nodes.read(pack)
    missed, good = ours(tool, pack, folder, *more)
    able = theirs(cases)
    bad = not good
    promised = [c for c in cases if uses(c, nodes.operators(True))]
    for some, where in ((cases, ""), (promised, ", promised operators only")):
        mine = sum(c.name not in missed for c in some)
        other = sum(c.name in able for c in some)
        print("%s%s: ours %d/%d, ONNX Runtime %s %d/%d" %
              (what, where, mine, len(some), ort.__version__, other, len(some)))
        bad += mine <= other
    return bad + judge_written(cases, able, folder)


def main():
    bin_folder, folder = sys.argv[1:3]
    warnings.filterwarnings("ignore")
    tool = os.path.join(bin_folder, "conformance")
    bad = judge(tool, os.path.join(GOLDEN, "nodes.gz"),
                os.path.join(folder, "committed"), "committed node tests")
    new = os.path.join(folder, "new.gz")
    nodes.write(new, nodes.collect(OPSET_MAX))
    bad += judge(tool, new, os.path.join(folder, "new"),
                 "node tests of onnx %s" % onnx.__version__, "--newer")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
