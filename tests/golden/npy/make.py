#!/usr/bin/python3
"""Writes the NPY and NPZ files beside this script, by NumPy itself.

Run it again after a change: /usr/bin/python3 tests/golden/npy/make.py
x is 0, 1.5, 3, ... in [3, 2]; y is 2, 0, 1.
"""
import os
import zipfile

import numpy as np

os.chdir(os.path.dirname(os.path.abspath(__file__)))
x = np.arange(6).reshape(3, 2)
y = np.array([2, 0, 1])
for name in ["u1", "i1", "i2", "i4", "i8", "f4", "f8"]:
    scale = 1.5 if name[0] == "f" else 1
    np.save("x_%s.npy" % name, (x * scale).astype("<" + name))
np.save("x_b1.npy", x % 2 == 0)
np.save("x_big.npy", (x * 1.5).astype(">f4"))
np.save("x_fortran.npy", np.asfortranarray((x * 1.5).astype("<f4")))
np.save("x_complex.npy", x.astype("c8"))
np.save("x_record.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<i4")]))
np.save("x_huge.npy", np.array([[1e300, 0], [0, 0], [0, 0]]))
np.save("x_nan.npy", np.array([[0, 0], [0, np.nan], [0, 0]], dtype="<f4"))
np.save("y_i8.npy", y)
np.save("y_u1.npy", y.astype("u1"))
np.save("y_f4.npy", y.astype("<f4") / 4)
np.save("y_f8_2d.npy", np.stack([y / 4, y / 8], axis=1))
np.save("y_minus.npy", np.array([2, -1, 1]))
np.save("y_wide.npy", np.array([2, 2**40, 1]))
np.save("y_four.npy", np.array([2, 0, 1, 0]))
with open("x_v2.npy", "wb") as f:
    np.lib.format.write_array(f, (x * 1.5).astype("<f4"), version=(2, 0))
np.savez("stored.npz", x=(x * 1.5).astype("<f4"), y=y)
np.savez_compressed("packed.npz", x=(x * 1.5).astype("<f4"), y=y)
np.savez("other.npz", x_train=x, y_train=y)
with zipfile.ZipFile("comment.npz", "w", zipfile.ZIP_DEFLATED) as z:
    z.comment = b"PK\x05\x06 is what the end record begins with"
    for name, a in [("y.npy", y), ("x.npy", (x * 1.5).astype("<f4"))]:
        with z.open(name, "w") as f:
            np.lib.format.write_array(f, a)
