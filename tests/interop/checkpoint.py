"""Checkpoints of `tributary model train`, read by NumPy and by the newest onnx;
and data that NumPy has written: archives with int64 labels."""
import os
import subprocess
import sys

import numpy as np
import onnx

BIN, FOLDER = sys.argv[1:3]
os.chdir(FOLDER)


def tributary(*words):
    subprocess.run([os.path.join(BIN, "tributary"), *words], check=True,
                   stdout=subprocess.DEVNULL)


rng = np.random.default_rng(1)
x = rng.normal(size=(200, 4)).astype("f4")
np.savez("data.npz", x=x, y=(x[:, 0] > x[:, 1]).astype("i8"))
tributary("model", "new", "mlp:4-6-2", "-o", "start.onnx")
tributary("model", "train", "start.onnx", "--data", "data.npz", "--epochs", "3",
          "--optimiser", "adamw", "--checkpoint", "c.npz", "-o", "end.onnx")

with np.load("c.npz") as c:  # checks each CRC-32
    assert sorted(c.files) == ["model", "optimiser_0", "optimiser_1",
                               "progress", "score", "settings"], c.files
    model = onnx.load_model_from_string(c["model"].tobytes())
    onnx.checker.check_model(model, full_check=True)
    n = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    assert n == 4 * 6 + 6 + 6 * 2 + 2, n
    for state in ("optimiser_0", "optimiser_1"):
        assert c[state].shape == (n,) and c[state].dtype == np.float32
        assert np.isfinite(c[state]).all() and c[state].any()
    version, steps, seed, rows = c["progress"][:4]
    assert (version, steps, seed, rows) == (1, 3 * 7, 1, 200), c["progress"]
    assert b"optimiser: \"adamw\"" in c["settings"].tobytes()

end = onnx.load("end.onnx")
for a, b in zip(model.graph.initializer, end.graph.initializer):
    assert a.name == b.name
    assert (onnx.numpy_helper.to_array(a) == onnx.numpy_helper.to_array(b)).all()
print("a checkpoint of", n, "parameters is read by NumPy", np.__version__,
      "and onnx", onnx.__version__)
