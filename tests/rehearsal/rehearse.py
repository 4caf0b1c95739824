"""Runs cases on fake CUDA tensors: `rehearse.py <shim> <case> ...` prints a line of JSON for each."""

import json
import sys
from importlib import import_module

from watch import load_shim

if __name__ == "__main__":
    load_shim(sys.argv[1])  # before torch, which the cases import
    cases = import_module("cases")
    for name in sys.argv[2:]:
        print(json.dumps([name, cases.outcome(cases.CASES[name])]), flush=True)
