"""Lets torchvision be imported where its operators do not load. Import this before torchvision or timm.

A torchvision built for another torch (a CUDA build beside a CPU torch) stops at its first import with
"operator torchvision::nms does not exist", though all of it that needs no compiled operator would work.
Declaring the schemas that it looks up is enough; calling such an operator still fails, as it should.
"""

import importlib.util
from pathlib import Path

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
declared: list[torch.library.Library] = []  # a library's schemas go with it


def patch_torchvision() -> None:
    """Declares the schemas if torchvision is installed and its operators are neither there nor loadable."""
    if not has_operators() and not load_operators():
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in SCHEMAS:
            library.define(schema)
        declared.append(library)


def has_operators() -> bool:
    """Whether torchvision's operators, or their schemas, are declared."""
    return hasattr(torch.ops.torchvision, "nms")


def load_operators() -> bool:
    """Whether torchvision's own operators load; true without torchvision, which then needs no patch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        return True
    for directory in spec.submodule_search_locations or []:
        for library in Path(directory).glob("_C*.so"):
            try:
                torch.ops.load_library(library)
            except OSError:
                return False
    return has_operators()


patch_torchvision()
