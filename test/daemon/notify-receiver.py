"""Receives what a daemon tells its service manager: one JSON line a datagram, with the monotonic time it came at."""
import json
import socket
import sys
import time

receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
print(json.dumps({"states": ["listening"], "atUsec": 0}), flush=True)
while True:
    # What comes with it (the descriptor of BARRIER=1) is closed by the kernel, which is the answer the sender waits for.
    text = receiver.recv(65536).decode()
    print(json.dumps({"states": text.split("\n"), "atUsec": time.monotonic_ns() // 1000}), flush=True)
