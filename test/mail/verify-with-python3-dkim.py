# Reads {"keys": {name: txt}, "messages": [path, ...]} on standard input, verifies every signature of every message with
# python3-dkim, and writes one JSON line a message: a list of booleans, one a signature, topmost first.
import json
import sys

import dkim

job = json.load(sys.stdin)
keys = {name.encode() + b".": txt.encode() for name, txt in job["keys"].items()}


def lookup(name, timeout=5):
    return keys.get(name if isinstance(name, bytes) else name.encode())


for path in job["messages"]:
    with open(path, "rb") as file:
        verifier = dkim.DKIM(file.read())
    verdicts = []
    for index in range(2):
        try:
            verdicts.append(verifier.verify(idx=index, dnsfunc=lookup))
        except dkim.DKIMException as error:
            verdicts.append(str(error))
    print(json.dumps(verdicts))
