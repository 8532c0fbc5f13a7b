#!/usr/bin/python3
"""Writes the seeds of fuzz_idx, fuzz_csv and fuzz_npy.

Run it again after a change: /usr/bin/python3 tests/corpus/make_data.py
"""
import gzip
import os
import shutil

os.chdir(os.path.dirname(os.path.abspath(__file__)))


def write(name, data):
    os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as f:
        f.write(data)


def pair(x, y):
    """The first byte lets fuzz_idx cut between x and y."""
    n = len(x) + len(y)
    for cut in range(256):
        if n * cut // 255 == len(x):
            return bytes([cut]) + x + y
    raise SystemExit("no byte cuts there")


images = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3,
                1, 2, 3, 10, 20, 255])
labels = bytes([0, 0, 8, 1, 0, 0, 0, 2, 4, 1])
floats = bytes([0, 0, 13, 2, 0, 0, 0, 2, 0, 0, 0, 1,
                64, 32, 0, 0, 191, 0, 0, 0])
packed = gzip.compress(images, mtime=0)
write("idx/pair", pair(images, labels))
write("idx/floats", pair(floats, labels))
write("idx/packed", pair(packed, labels))
write("idx/huge", pair(bytes([0, 0, 8, 2] + [255] * 8), labels))

write("csv/classes", b"\x02x,y\n1,a\n2.5,b\n")
write("csv/numbers", b"\x00x,z,y\n1,-2e3,0\n.5,3,7\n")
write("csv/values", b"\x01x,y\r\n1,0.25\r\n2,1e-3\r\n")
write("csv/columns", b"\x03note,a,b\n\"x, \"\"y\"\"\",1,0\n ,2,1\n")
write("csv/bom", b"\x00\xef\xbb\xbfx,y\n1,0\n")

golden = "../golden/npy/"
for name in ["x_f4.npy", "x_f8.npy", "x_i2.npy", "x_big.npy", "x_v2.npy",
             "x_fortran.npy", "x_record.npy", "stored.npz", "packed.npz",
             "comment.npz", "other.npz"]:
    os.makedirs("npy", exist_ok=True)
    shutil.copyfile(golden + name, "npy/" + name)
