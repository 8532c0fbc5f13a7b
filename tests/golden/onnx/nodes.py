#!/usr/bin/python3
"""Packs the node tests of the onnx package into one file, and reads it again.

    nodes.py OUT.gz [OPSET_MAX]

A test belongs when it uses operators of operators.txt only, whatever its element
types are. Each is a model with numpy's inputs and outputs. Debian's python3-onnx
makes nodes.gz here; newer packages make files of the same kind elsewhere.

Little-endian, gzipped: "TBNODES1" | n u32, then n blobs: length u32, bytes |
m u32, then m tests: length u32, name | rtol f64 | atol f64 | model u32 (a blob)
| inputs u32 | outputs u32 | for each: blob u32, element type u8 (as in ONNX; 0:
no plain tensor), rank u8, extents u32.
"""
import collections
import gzip
import os
import struct
import sys

import numpy as np

for alias, real in (("float", float), ("int", int), ("bool", bool),
                    ("object", object)):  # names that numpy took back
    if alias not in np.__dict__:
        setattr(np, alias, real)

HERE = os.path.dirname(os.path.abspath(__file__))
MAGIC = b"TBNODES1"
STRING, BFLOAT16 = 8, 16
TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16,
         6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64,
         12: np.uint32, 13: np.uint64, 16: np.uint16}

Case = collections.namedtuple("Case", "name rtol atol model inputs outputs")
Tensor = collections.namedtuple("Tensor", "type shape data")


def operators(promised=False):
    """The words of operators.txt, or of its first part alone."""
    with open(os.path.join(HERE, "operators.txt")) as f:
        text = f.read()
    if promised:
        text = text[:text.index("# Beside")]
    return {word for line in text.splitlines() if not line.startswith("#")
            for word in line.split()}


def tensor(info, value):
    """A Tensor of what the test holds; type 0 where that is none."""
    kind = info.type.tensor_type.elem_type
    if info.type.WhichOneof("value") != "tensor_type" or value is None or \
            kind not in TYPES:
        return Tensor(STRING if kind == STRING else 0, (), b"")
    array = np.asarray(value)
    if kind == BFLOAT16:
        array = array.view(np.uint16)
    assert array.dtype == TYPES[kind], (info.name, array.dtype)
    return Tensor(kind, array.shape, np.ascontiguousarray(array).tobytes())


def collect(opset_max=99):
    """The tests of the installed onnx package that belong."""
    from onnx.backend.test.case import model, node
    known = operators()
    cases = []
    taken = set()
    for case in node.collect_testcases(None) + model.collect_testcases():
        if case.model is None or case.data_sets is None:
            continue  # a model on the net
        graph, sets = case.model.graph, case.model.opset_import
        if any(n.op_type not in known for n in graph.node) or \
                any(s.version > opset_max for s in sets):
            continue
        assert len(case.data_sets) == 1
        inputs, outputs = case.data_sets[0]
        # Some names stand for two tests.
        name = case.name + ("_2" if case.name in taken else "")
        taken.add(name)
        cases.append(Case(
            name, case.rtol, case.atol, case.model.SerializeToString(),
            [tensor(i, v) for i, v in zip(graph.input, inputs)],
            [tensor(o, v) for o, v in zip(graph.output, outputs)]))
    return sorted(cases)


def write(path, cases):
    blobs = {}

    def blob(data):
        return struct.pack("<I", blobs.setdefault(data, len(blobs)))

    body = struct.pack("<I", len(cases))
    for case in cases:
        name = case.name.encode()
        body += struct.pack("<I", len(name)) + name
        body += struct.pack("<dd", case.rtol, case.atol) + blob(case.model)
        body += struct.pack("<II", len(case.inputs), len(case.outputs))
        for t in case.inputs + case.outputs:
            body += blob(t.data) + struct.pack("<BB", t.type, len(t.shape))
            body += struct.pack("<%dI" % len(t.shape), *t.shape)
    head = MAGIC + struct.pack("<I", len(blobs))
    for data in blobs:
        head += struct.pack("<I", len(data)) + data
    with open(path, "wb") as f:
        f.write(gzip.compress(head + body, 9, mtime=0))


def read(path):
    """The cases of a file."""
    data = gzip.open(path).read()
    at = len(MAGIC)
    assert data[:at] == MAGIC

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def take_bytes():
        nonlocal at
        n = take("I")
        at += n
        return data[at - n:at]

    blobs = [take_bytes() for _ in range(take("I"))]
    cases = []
    for _ in range(take("I")):
        name = take_bytes().decode()
        rtol, atol, model, n_in, n_out = take("ddIII")
        ends = []
        for _ in range(n_in + n_out):
            where, kind, rank = take("IBB")
            shape = struct.unpack_from("<%dI" % rank, data, at)
            at += 4 * rank
            ends.append(Tensor(kind, shape, blobs[where]))
        cases.append(Case(name, rtol, atol, blobs[model], ends[:n_in],
                          ends[n_in:]))
    return cases


if __name__ == "__main__":
    found = collect(int(sys.argv[2]) if len(sys.argv) > 2 else 99)
    write(sys.argv[1], found)
    assert read(sys.argv[1]) == found
    print("%d node tests in %s" % (len(found), sys.argv[1]))
