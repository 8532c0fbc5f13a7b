#!/usr/bin/env python3
"""Makes the seeds of fuzz_spool, fuzz_control and fuzz_blob (needs the zstd
program). Formats: docs/formats.md."""
import hashlib
import os
import struct
import subprocess

here = os.path.dirname(os.path.abspath(__file__))


def put(name, data):
    with open(os.path.join(here, name), "wb") as f:
        f.write(data)


def record(kind, index, body):
    head = b"TBSR" + struct.pack("<I", kind) + bytes(range(16))
    head += struct.pack("<II", index, len(body))
    inner = hashlib.blake2b(body, digest_size=32).digest()
    check = hashlib.blake2b(head + inner, digest_size=32).digest()
    return head + check + body


announce = b"creek".ljust(64, b"\0") + bytes(32) + struct.pack("<I", 4)
announce += b"TBU1" + bytes(60)
put("spool/announce", record(1, 0, announce))
put("spool/block", record(2, 3, b"sealed bytes"))
put("spool/empty_block", record(2, 0, b""))
put("spool/no_name", record(1, 0, b"/".ljust(64, b"\0") + announce[64:]))
put("spool/torn", record(2, 3, b"sealed bytes")[:70])

put("control/status", b'{"verb":"status","args":{}}')
put("control/start", b'{"verb":"start","args":{"rounds":"30","x.y":"\\u00fc"}}')
put("control/number", b'{"verb":"start","args":{"rounds":30}}')
put("control/head", b"TBQ1" + struct.pack("<II4Q", 27, 2, 100, 200, 0, 0))
put("control/reply", b"TBR1" + struct.pack("<III", 0, 1, 2) + b"{}")


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c", "--content-size",
                           f"--stream-size={len(data)}"],
                          input=data, stdout=subprocess.PIPE,
                          check=True).stdout


put("blob/text", zstd(b"a model, or so it says " * 20))
put("blob/empty", zstd(b""))
put("blob/bomb", zstd(bytes(1 << 20)))
put("blob/cut", zstd(bytes(range(256)) * 4)[:40])
