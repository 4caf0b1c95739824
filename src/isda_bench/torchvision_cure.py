"""Lets torchvision be imported beside a torch that its compiled operators were not built for.

Where torch is the CPU build and torchvision the registry's CUDA build, the library with torchvision's
operators does not load, and `import torchvision` (and so timm) fails with "operator torchvision::nms does
not exist".
Import this module first: it declares the two schemas that torchvision's import looks for, and only there.
"""

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _operators_load() -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # the import itself will say that torchvision is missing
    libraries = [*Path(spec.origin).parent.glob("_C*.so"), *Path(spec.origin).parent.glob("_C*.pyd")]
    try:
        for library in libraries:
            torch.ops.load_library(library)
    except OSError:
        return False
    return bool(libraries)


_library = torch.library.Library("torchvision", "FRAGMENT")  # its schemas live as long as this object
if not _operators_load():
    for _name, _schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, _name):
            _library.define(_schema)
