"""Fake CUDA tensors and a watch over the operations on them: without a GPU, what a GPU would wait for.

`load_shim` comes before the first import of torch.
"""

import ctypes
import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
import traceback
from pathlib import Path

SOURCE = Path(__file__).with_name("pretend_cuda.cpp")
PACKAGE = "/isda_bench/"


def compiler():
    return shutil.which("g++")


def build_shim(folder):
    """Compiles the shim once for each version of source and torch; returns the library."""
    torch_folder = Path(importlib.util.find_spec("torch").origin).parent
    version = (torch_folder / "version.py").read_bytes()
    name = hashlib.sha256(SOURCE.read_bytes() + version).hexdigest()[:16]
    library = Path(folder) / f"pretend_cuda-{name}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / library.name
            lib = torch_folder / "lib"
            command = [compiler(), "-O0", "-std=c++20", "-shared", "-fPIC", f"-I{torch_folder / 'include'}"]
            command += [str(SOURCE), f"-L{lib}", f"-Wl,-rpath,{lib}", "-ltorch_cpu", "-lc10", "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            made.replace(library)  # whole or not at all: other processes look for it
    return library


def load_shim(library):
    """Loads the shim and then torch, whose Python side is persuaded that autocast has a GPU."""
    ctypes.CDLL(str(library))
    import torch

    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.cuda.is_bf16_supported = lambda *_: True
    torch.cuda.graph_pool_handle = object
    torch.cuda.Stream = type(
        "Stream", (), {"__init__": lambda self, device=None: setattr(self, "device", device)}
    )
    return torch


def watch_class():
    """The class `Watch`; in a function, because the shim is loaded before torch."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    aten = torch.ops.aten
    copies = (aten._to_copy.default, aten.copy_.default)
    fused = {
        aten._fused_sgd_: check_fused_sgd,
        aten._fused_adam_: check_fused_adam,
        aten._fused_adamw_: check_fused_adam,
    }

    def tensors(values):
        return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]

    class Watch(TorchDispatchMode):
        """Notes every operation that waits for the device, mixes devices or that a graph would freeze.

        Attributes:
            found: {what, operation and place in the package: how often}.
            copied: copies from the host to the device that do not wait (`non_blocking`).
        """

        def __init__(self):
            super().__init__()
            self.found = {}
            self.copied = 0

        def note(self, what, operation):
            frames = [f for f in traceback.extract_stack() if PACKAGE in f.filename][-1:]
            places = [f"{f.filename.rpartition(PACKAGE)[2]}:{f.lineno}" for f in frames]
            key = " ".join([f"{what}: {operation}", *places])
            self.found[key] = self.found.get(key, 0) + 1

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if operation.namespace == "prim":
                return operation(*args, **kwargs)
            if operation.overloadpacket in fused:  # they have no kernels for fake tensors
                return fused[operation.overloadpacket](*args, **kwargs)
            if operation.overloadpacket is aten._pin_memory:  # fake tensors lie in no memory
                result = args[0].clone()
                result.is_in_pinned_memory = True
                return result
            given = tensors((args, kwargs))
            try:
                result = operation(*args, **kwargs)
            except Exception as error:  # item, bool, nonzero, unique, masks; mixed devices
                self.note(type(error).__name__, operation)
                raise
            waits = not kwargs.get("non_blocking", operation is aten.copy_.default and args[2:3] == (True,))
            self.look_at(operation, given, {t.device.type for t in given + tensors(result)}, waits)
            return result

        def look_at(self, operation, given, kinds, waits):
            if kinds == {"cpu", "cuda"}:
                if operation in copies and not waits:
                    self.copied += 1
                    source = given[-1]  # `copy_` has the target before
                    if source.device.type == "cpu" and not hasattr(source, "is_in_pinned_memory"):
                        self.note("copy from memory that is not pinned", operation)
                elif operation in copies:
                    self.note("copy between devices", operation)
                else:
                    self.note("value frozen in a graph", operation)
            elif kinds == {"cpu"}:
                random = torch.Tag.nondeterministic_seeded in operation.tags
                self.note("random number of the CPU" if random else "on the CPU", operation)

    return Watch


def check_fused_sgd(params, grads, buffers, *, lr, momentum, is_first_step, found_inf=None, **_):
    """The demands of FusedSgdKernel.cu on its arguments."""
    check_fused("SGD", params, (grads, buffers), (lr, found_inf))
    assert bool(buffers) == (momentum > 0), "fused SGD: momentum without buffers"


def check_fused_adam(params, grads, means, squares, largest, steps, *, lr, amsgrad, found_inf=None, **_):
    """The demands of FusedAdamKernel.cu and FusedAdamWKernel.cu on their arguments."""
    check_fused("Adam", params, (grads, means, squares, largest), (lr, found_inf, *steps))
    assert len(steps) == len(params) and bool(largest) == amsgrad, "fused Adam: states are missing"


def check_fused(name, params, tensors, numbers):
    """The demands of all fused kernels: one layout, and numbers as floats or as float32 on the device."""
    import torch

    def same_layout(a, b):
        sizes = zip(a.shape, a.stride(), b.stride(), strict=True)
        return (a.device, a.dtype, a.shape) == (b.device, b.dtype, b.shape) and all(
            n == 1 or x == y for n, x, y in sizes
        )

    for others in filter(None, tensors):
        assert len(others) == len(params), f"fused {name}: tensors are missing"
        assert all(map(same_layout, params, others)), f"fused {name}: layouts differ"
    for number in numbers:
        if isinstance(number, torch.Tensor):
            assert (number.dtype, number.device) == (torch.float32, params[0].device), (
                f"fused {name}: numbers"
            )
