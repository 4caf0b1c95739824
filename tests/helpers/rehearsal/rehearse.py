"""Cases on fake CUDA tensors: `python -m helpers.rehearsal.rehearse <shim> <case> ...` prints JSON lines."""

import json
import sys
from importlib import import_module

from helpers.rehearsal.watch import load_shim

if __name__ == "__main__":
    load_shim(sys.argv[1])  # before torch, which the cases import
    cases = import_module("helpers.rehearsal.cases")
    for name in sys.argv[2:]:
        print(json.dumps([name, cases.outcome(cases.CASES[name])]), flush=True)
