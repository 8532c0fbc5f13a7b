"""Plays the service manager: binds a datagram socket and writes each message
that comes to a file, one line of JSON each. Usage: notified.py SOCKET FILE"""
import json
import socket
import sys

path, out = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(path)
with open(out, "w", encoding="utf-8") as f:
    while True:
        message = s.recv(65536).decode()
        f.write(json.dumps(message.split("\n")) + "\n")
        f.flush()
