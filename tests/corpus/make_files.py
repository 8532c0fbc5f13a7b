#!/usr/bin/env python3
"""Makes the seeds of fuzz_state, fuzz_keyfile, fuzz_head, fuzz_seal,
fuzz_move, fuzz_labels, fuzz_json and fuzz_checkpoint, packed by hand from the
formats at the heads of client_priv.h, keys.h, head.c, rotate.h, labels.h and
checkpoint.h (needs python3-numpy, tests/golden/models and cert/plain)."""
import hashlib
import io
import os
import struct

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))


def put(folder, name, data):
    os.makedirs(os.path.join(HERE, folder), exist_ok=True)
    with open(os.path.join(HERE, folder, name), "wb") as out:
        out.write(data)


def hashed(body):
    return body + hashlib.blake2b(body, digest_size=32).digest()


def state(flags, sequence):
    sealed = bytes(range(32)) + bytes(range(16)) + b"TBU1" + bytes(60)
    sealed += struct.pack("<I", 4) + bytes(32) + bytes(64)
    receipt = bytes(64) + struct.pack("<Q", sequence) + bytes(96)
    return hashed(b"TBCS" + struct.pack("<II", 1, flags) + sealed + receipt
                  + struct.pack("<I", 2) + bytes(range(16)))


put("state", "fresh", state(0, 0))
put("state", "sealed", state(1, 0))
put("state", "receipt", state(3, 7))
put("state", "flags", state(8, 0))
put("state", "altered", state(1, 0)[:-1] + b"!")

for kind, name in ((1, "sign"), (2, "curve"), (3, "master"), (9, "unknown")):
    put("keyfile", name, hashed(b"TBKY" + struct.pack("<III", 1, kind, 0)
                                + bytes(range(32))))
put("keyfile", "cut", b"TBKY" + struct.pack("<I", 1))
put("keyfile", "newer", hashed(b"TBKY" + struct.pack("<III", 2, 1, 0)
                               + bytes(32)))


def slot(seq):
    return hashed(b"TBHD" + struct.pack("<IQ", 1, seq) + bytes(range(32)))


put("head", "two", slot(6) + slot(7))
put("head", "torn", slot(6) + slot(7)[:50])
put("head", "cut", slot(6))
put("head", "last", slot(2 ** 64 - 1) + slot(3))

put("seal", "header", b"TBU1" + bytes(range(48)) + struct.pack("<I", 1)
    + bytes(8) + bytes(40))
put("seal", "block", struct.pack("<H", 600) + b"ten values of an update")
put("seal", "empty", struct.pack("<H", 0))

with open(os.path.join(HERE, "cert/plain"), "rb") as f:
    certificate = f.read()


def move(endpoint, version=1):
    return (b"TBMV" + struct.pack("<I", version) + certificate
            + struct.pack("<I", len(endpoint)) + endpoint + bytes(range(64)))


put("move", "plain", move(b"tcp://fl.example.org:7700"))
put("move", "blank", move(b"tcp://a b"))
put("move", "newer", move(b"tcp://a:1", 2))
put("move", "cut", move(b"tcp://a:1")[:-1])

put("labels", "labels", b"memory=512MB site=lyon tag=a tag=b")
put("labels", "changes", b"site= tag=c  gpu=1")
put("labels", "conditions", b"site=lyon|paris, memory>=512MB")
put("labels", "none_of", b"site!=lyon")
put("labels", "at_most", b"cores<=8")
put("labels", "bad", b"=, >=x|")

put("json", "reply", b'{"ok":true,"runs":[{"run":"a1","round":3,"loss":0.25}]}')
put("json", "text", '{"why":"é \\u00fc \\\\ \\n"}'.encode())
put("json", "numbers", b"[0,-1,9223372036854775807,1e308,1.5e-300,null]")
put("json", "twice", b'{"a":1,"a":2}')
put("json", "deep", b"[" * 3000)


def checkpoint(states, **other):
    with open(os.path.join(HERE, "../golden/models/logreg.onnx"), "rb") as f:
        model = f.read()
    n = 16 * 4 + 4
    parts = {"model": np.frombuffer(model, "u1"),
             "settings": np.frombuffer(b'optimiser: "adamw"\n', "u1"),
             "progress": np.array([1, 21, 1, 200, 8, 8, 5, states], "<i8"),
             "score": np.array([8.0, 4.5], "<f8")}
    for i in range(states):
        parts["optimiser_%d" % i] = np.linspace(-1, 1, n, dtype="<f4")
    parts.update(other)
    out = io.BytesIO()
    np.savez(out, **parts)
    return out.getvalue()


put("checkpoint", "sgd", checkpoint(0))
put("checkpoint", "adam", checkpoint(2))
put("checkpoint", "short", checkpoint(1, optimiser_0=np.zeros(3, "<f4")))
put("checkpoint", "newer", checkpoint(0, progress=np.array([2] * 8, "<i8")))
