#!/usr/bin/env python3
"""Seeds of fuzz_record, fuzz_sum and fuzz_update, packed by hand from the
formats at the heads of record.h, sum.h, update.h and codec.h in core/fed. Run
it in this folder."""
import hashlib
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def put(folder, name, data):
    os.makedirs(os.path.join(HERE, folder), exist_ok=True)
    with open(os.path.join(HERE, folder, name), "wb") as out:
        out.write(data)


def text(s):
    return struct.pack("<I", len(s)) + s.encode()


def u32(*v):
    return struct.pack("<%dI" % len(v), *v)


def u64(*v):
    return struct.pack("<%dQ" % len(v), *v)


def f64(*v):
    return struct.pack("<%dd" % len(v), *v)


H = bytes(range(32))  # a hash
MODEL = H + u64(800000) + H + u64(700000)
METRICS = f64(0.5, 0.4, 0.87) + u64(10000)
RUN = (bytes(16) + H + H + text("model") + text("images")
       + text("site=lyon|paris, memory>=512MB") + text("f32")
       + text("fedavg") + bytes(32) + MODEL + u64(199210, 6, 4, 42)
       + u32(30, 10, 5) + f64(1.25, 1.0) + struct.pack("<ff", 16, 1024)
       + u32(60000) + u64(60000, 5000, 0) + u32(3) + u32(1, 0, 1) + u32(0)
       + f64(0.0) + u32(0) + u32(1, 1, 8, 10) + text("batch: 32\n"))
RECORDS = {
    1: bytes(16) + bytes(32) + text("client-01") + u64(1800000000)
    + text("site=lyon tag=a tag=b"),
    2: bytes(16) + text("client-01") + bytes(64) + u64(1800000000),
    3: text("client-01") + text("lost phone"),
    4: RUN,
    5: bytes(16) + u32(3, 2, 0) + text("config") + u32(2) + text("anna")
    + text("bert"),
    6: H + u64(1234),
    7: H + text("anna") + bytes(16) + H + u32(5, 46341, 65536, 1),
    8: H + text("anna") + u32(9),
    9: H + u32(9) + text("the deadline is over"),
    10: H + u32(0, 3) + MODEL + METRICS + u32(9) + u64(54000),
    11: H + text("too few"),
    12: text("model") + u64(4) + H + bytes(range(2, 18)),
    13: bytes(16) + u32(1) + MODEL + text("the model is registered"),
    14: bytes(range(2, 18)) + u64(1800000000) + text("new disks"),
    15: bytes(range(2, 18)),
    16: bytes(range(2, 18)) + text("cancelled by the operator"),
    17: bytes(16) + u32(3) + text("cancelled"),
    18: u32(2) + bytes(range(1, 17)) + u64(1800000000),
    24: u32(2, 1) + H + bytes(32) + bytes(16),
    19: text("client-01") + u32(1) + H + bytes(32) + u64(77, 78),
    20: u32(1) + u32(8 + 192 + 4 + 5 + 64) + b"TBMV" + u32(1) + b"TBCT" + u32(1)
    + H + H + H + u64(2, 100, 200) + bytes(64) + u32(5) + b"tcp:x" + bytes(64)
    + u64(1800000000) + text("tcp://0.0.0.0:7702") + text("tcp://0.0.0.0:7703"),
    21: H + text("anna") + bytes(16) + H + u32(5, 46341, 65536, 1),
    22: text("client-01") + text("memory=512MB site=lyon"),
}
for kind, body in RECORDS.items():
    put("record", "kind-%02d" % kind, bytes([kind, 1]) + body)

layout = (b"TBSM" + u32(2, 30) + struct.pack("<f", 8) + u32(1000, 4, 2)
          + u64(8) + b"\1" + u64(1) + b"\0")
body = layout + u64(500, 500) + u32(2) + struct.pack("<9q", *range(-4, 5))
put("sum", "two-updates",
    body + hashlib.blake2b(body, digest_size=32).digest())

put("update", "head",
    bytes([0, 0]) + b"TBUH" + u32(1, 300, 2) + u64(10) + bytes(40))
put("update", "values-f32",
    bytes([0, 1]) + struct.pack("<10f", *(i / 4 - 1 for i in range(10))))
put("update", "values-q8",
    bytes([1, 1]) + struct.pack("<f10b", 0.5 / 127, *range(-5, 5)))
put("update", "not-finite",
    bytes([0, 1]) + struct.pack("<10f", *([float("nan")] * 10)))
put("update", "too-large", bytes([0, 1]) + struct.pack("<10f", *([9.0] * 10)))
