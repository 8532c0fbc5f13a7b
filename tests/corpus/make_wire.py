#!/usr/bin/python3
"""Writes the seeds of the protocol's fuzz targets: msg, config, manifest,
invite, cert, zmtp. A protobuf encoder of a few lines of its own, after the encoding
guide and proto/tributary.proto, so that the tests which read these files meet
bytes our code did not make. Run: ./make_wire.py (in this folder)."""
import base64
import hashlib
import os
import struct


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(*fields):
    """fields: (number, value); zero and empty values are left out."""
    out = b""
    for number, value in fields:
        if isinstance(value, float):
            if value != 0:
                out += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, int):
            if value != 0:
                out += varint(number << 3) + varint(int(value))
        else:
            data = value.encode() if isinstance(value, str) else value
            if data:
                out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def inner(number, data):
    """A message inside a message: written even when it is empty."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def packed(number, values):
    return inner(number, b"".join(varint(v) for v in values))


def write(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def h(i):
    return bytes([i]) * 32


def sig(i):
    return bytes([i]) * 64


ID = bytes(range(16))

config = message(
    (1, 1), (2, h(1)), (3, h(2)), (4, ID), (5, 3), (6, 1), (7, 0), (8, h(3)),
    (9, 795000), (10, h(4)), (11, 734000), (12, h(5)), (13, "f32"), (14, 30),
    (15, 8.0), (16, 65536), (17, 42), (18, 60000), (19, "fashion"), (20, 1),
    (21, message((1, "parameters"), (2, 199210), (3, 1))),
    (21, message((1, "loss_sum"), (2, 1))),
    (22, "loss=softmax_cross_entropy\nbatch=32\n"), (24, bytes(16)),
    (26, 4294901760))
small_config = message(
    (1, 1), (2, h(1)), (3, h(2)), (4, ID), (5, 1), (6, 2), (7, 2), (8, h(3)),
    (9, 1), (10, h(4)), (11, 1), (12, h(5)), (13, "q8"), (14, 62),
    (15, 0.5), (16, 1), (18, 1), (19, "d"), (21, message((1, "r"), (2, 2))),
    (23, 2), (24, ID), (25, 41))
write("config", "train", config)
write("config", "calibrate", small_config)


def artefact(role, i, accuracy=0.0, sparsity=0.0):
    return message((1, role), (2, h(i)), (3, 795000), (4, h(i + 1)),
                   (5, 734000), (6, 1), (7, accuracy), (8, sparsity))


manifest = (
    message((1, "fashion"), (2, 3), (3, h(1)), (4, h(2)), (5, ID),
            (6, 1800000000), (7, "tributary 0.1.0"), (8, 0.375), (9, 2000),
            (10, 2)) + packed(11, [28, 28]) +
    message((12, 2), (13, 1), (14, "T-shirt/top"), (14, "\u00e9t\u00e9"),
            (15, 1), (16, 3), (17, artefact(1, 7, 0.875)),
            (17, artefact(3, 9, 0.872, 0.5))))
bare_manifest = (
    message((1, "m"), (2, 1), (3, h(1)), (4, h(2)), (5, ID), (7, "t"),
            (10, 1)) + packed(11, [20]) +
    message((12, 1), (16, 1), (17, artefact(1, 7))))
write("manifest", "fashion", manifest)
write("manifest", "bare", bare_manifest)

cert = (b"TBCT" + struct.pack("<I", 1) + h(1) + h(2) + h(3) +
        struct.pack("<QQQ", 1, 1700000000, 1900000000) + sig(4))
write("cert", "plain", cert)
write("cert", "cut", cert[:100])

KINDS = {
    "hello": (1, 0, message((1, 1), (2, 1), (3, "edge-01"),
                            (4, "tributary 0.1.0"), (5, "fashion"),
                            (5, "digits"), (6, "cpus=4 memory=512MB"))),
    "welcome": (2, 0, message((1, 1), (2, cert), (3, 40000))),
    "check_in": (3, 0, b""),
    "wait": (4, 0, message((1, 5000), (2, "no run now"))),
    "offer": (5, 0, message((1, config), (2, sig(1)))),
    "accept": (6, 0, message((1, h(1)))),
    "decline": (7, 0, message((1, h(1)), (2, "no such data set"))),
    "fetch": (8, 0, message((1, h(2)), (2, 32768), (3, 32768))),
    "chunk": (9, 1000, message((1, h(2)), (2, 32768), (3, 33768))),
    "upload_begin": (10, 0, message((1, h(1)), (2, ID), (3, 5), (4, sig(2)))),
    "credit": (11, 0, message((1, ID), (3, 8))),
    "block": (12, 1000, message((1, ID), (2, 4))),
    "upload_end": (13, 0, message((1, ID), (2, h(3)), (3, sig(3)))),
    "receipt": (14, 0, message((1, h(1)), (2, h(3)), (3, 77), (4, h(4)),
                               (5, sig(4)))),
    "refuse": (15, 0, message((1, 6), (2, 13), (3, h(1)), (4, 1000),
                              (5, "round 3 has closed"))),
    "model_get": (16, 0, message((1, "fashion"), (2, 2))),
    "manifest": (17, 0, message((1, manifest), (2, sig(5)))),
    "predict": (18, 784, message((1, 9), (2, "fashion"), (4, 1))),
    "prediction": (19, 40, message((1, 9), (2, 3), (3, h(5)), (4, 1),
                                   (5, 10))),
    "enrol": (20, 0, message((1, ID), (2, h(6)), (3, h(7)), (4, sig(6)),
                             (5, sig(7)))),
    "enrolled": (21, 0, message((1, "edge-01"), (2, "tcp://10.0.0.1:4712"),
                                (3, cert))),
    "bye": (22, 0, b""),
    "rotate": (23, 0, message((1, h(6)), (2, h(7)), (3, sig(6)),
                              (4, sig(7)))),
    "rotated": (24, 0, message((1, h(6)), (2, h(7)))),
    "move": (25, 0, message((1, b"TBMV" + cert))),
}
for kind, (number, payload, body) in KINDS.items():
    write("msg", kind, struct.pack("<H", payload) + inner(number, body))
newer = message((1, 1), (2, 9), (3, "edge-01"), (4, "t"), (30, 7))
write("msg", "newer_hello", b"\0\0" + inner(1, newer))
write("msg", "newer_kind", b"\0\0" + inner(31, b""))

name, endpoint = b"edge-07", b"tcp://127.0.0.1:4713"
body = (ID + h(5) + h(6) + h(3) + struct.pack("<Q", 2000000000) +
        bytes([len(name)]) + name + bytes([len(endpoint)]) + endpoint)
body = struct.pack("<H", 2 + len(body) + 8) + body
write("invite", "body", body)
body += hashlib.blake2b(body, digest_size=32).digest()[:8]
text = b"tributary-invite-1." + base64.urlsafe_b64encode(body).rstrip(b"=")
write("invite", "text", text)
write("invite", "newline", b"tributary-invite-1." + text[19:] + b"\n")
write("invite", "cut", text[:60])

# How far the connection has come, then what fuzz_zmtp.c makes of the rest.
greeting = (b"\xff" + bytes(7) + b"\x01\x7f\x03\x01" + b"CURVE".ljust(20, b"\0")
            + bytes(32))
hello = b"\x05HELLO\x01\0" + bytes(72) + h(1) + bytes(7) + b"\x01" + bytes(80)
write("zmtp", "greeting", b"\0\xff" + greeting)
write("zmtp", "old", b"\0\x07" + greeting[:10] + b"\x01\x05")
write("zmtp", "hello", b"\0\x1f" + greeting + b"\x04\xc8" + hello)
write("zmtp", "long_hello", b"\0\xff" + greeting + b"\x06" + bytes(7)
      + b"\xc8" + hello)
write("zmtp", "huge", b"\0\xff" + greeting + b"\x06" + b"\xff" * 8)


def prop(name, value):
    return (bytes([len(name)]) + name + struct.pack(">I", len(value)) + value)


dealer = prop(b"Socket-Type", b"DEALER")
write("zmtp", "dealer", b"\x01" + dealer + prop(b"Identity", b""))
write("zmtp", "sub", b"\x01" + prop(b"Socket-Type", b"SUB"))
write("zmtp", "own_words", b"\x01" + prop(b"X-who", b"me") + dealer)
write("zmtp", "cut_metadata", b"\x01" + dealer + b"\x08Identity\0\0\xff")
# A frame: what, flags, size / 79, fill, piece / 32.
write("zmtp", "frames", b"\x02" + bytes([0, 1, 3, 7, 0]) +
      bytes([0, 0, 255, 8, 2]) + bytes([0, 0, 200, 9, 255]))
write("zmtp", "in_place", b"\x02" + bytes([0, 1, 0, 7, 1]) +
      bytes([0, 0, 253, 8, 201]) + bytes([0, 2, 0, 1, 0, 0, 0, 3, 1, 1]))
write("zmtp", "too_many", b"\x02" + bytes([0, 1, 0, 7, 1, 0, 1, 0, 7, 1]))
write("zmtp", "again", b"\x02" + bytes([0, 0, 0, 7, 1, 230]))
write("zmtp", "altered", b"\x02" + bytes([0, 0, 0, 7, 1, 244, 20, 3]))
write("zmtp", "noise", b"\x02" + bytes([0, 0, 0, 7, 1, 250]) + b"\x00\x40" + h(2))
