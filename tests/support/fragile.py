"""A worker that fails if it is the one that its argument names.

python -m tests.support.fragile 1
"""

import json
import os
import sys

if __name__ == "__main__":
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    if sys.argv[1] == str(index):
        print("it fails", file=sys.stderr)
        sys.exit(3)
    if sys.argv[1] != "none":
        while True:  # until it is ended
            signal = os.read(0, 1)
            assert not signal
