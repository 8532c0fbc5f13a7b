#!/usr/bin/python3
"""Writes sealed_update.txt: one sealed update and one invite, made by PyNaCl
and hashlib after the layouts in core/crypto/seal.h, sign.h and invite.h, not
by our code. Needs python3-nacl. Run: ./make_vectors.py > sealed_update.txt"""
import base64
import hashlib
import struct

from nacl import bindings as na


def b2(*parts):
    return hashlib.blake2b(b"".join(parts), digest_size=32).digest()


def sign(seed, context, data):
    public, secret = na.crypto_sign_seed_keypair(seed)
    message = b"tributary " + context + b"\0" + b2(data)
    return public, na.crypto_sign(message, secret)[:64]


def show(name, value):
    print(name, value.hex() if isinstance(value, bytes) else value)


run_secret, eph_secret = bytes(range(32)), bytes(range(100, 132))
run_public = na.crypto_scalarmult_base(run_secret)
eph_public = na.crypto_scalarmult_base(eph_secret)
config, client = b2(b"a round configuration"), b"edge-07"
upload = bytes(range(200, 216))
plain = [b"head of sixteen!", bytes(i * 7 & 255 for i in range(100)), b""]

n = struct.pack("<I", len(plain))
header = b"TBU1" + eph_public + upload + n + bytes(8)
binding = config + client + b"\0"
shared = na.crypto_scalarmult(eph_secret, run_public)
key = b2(b"tributary update key\0", shared, eph_public, run_public, binding)
sealed = [
    na.crypto_aead_xchacha20poly1305_ietf_encrypt(
        p, binding + upload + struct.pack("<I", i) + n,
        struct.pack("<Q", i) + bytes(16), key)
    for i, p in enumerate(plain)
]
update = b2(header, *(b2(s) for s in sealed))
client_seed = bytes([9] * 32)
client_public, signature = sign(client_seed, b"update", config + update)

show("run_secret", run_secret)
show("config", config)
show("header", header)
for p, s in zip(plain, sealed):
    show("plain", p)
    show("sealed", s)
show("update", update)
show("client_seed", client_seed)
show("client_public", client_public)
show("signature", signature)

invite_seed, root = bytes([5] * 32), bytes([6] * 32)
root_public, _ = na.crypto_sign_seed_keypair(root)
invite_id, curve = bytes([1] * 16), bytes([3] * 32)
name, endpoint = b"edge-07", b"tcp://127.0.0.1:4713"
body = (invite_id + invite_seed + root_public + curve +
        struct.pack("<Q", 2000000000) + bytes([len(name)]) + name +
        bytes([len(endpoint)]) + endpoint)
body = struct.pack("<H", 2 + len(body) + 8) + body
body += b2(body)[:8]
text = base64.urlsafe_b64encode(body).rstrip(b"=").decode()
show("invite", "tributary-invite-1." + text)
message = b2(root_public) + invite_id + client_public + curve
show("proof", sign(invite_seed, b"invite", message)[1])
show("enrol", sign(client_seed, b"enrol", message)[1])
