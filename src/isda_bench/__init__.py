"""Implicit semantic data augmentation: experiments by configuration.

`load_run(path)` gives back a finished run. Importing the package imports no torch.
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isda_bench.loading import LoadedRun, load_run

__all__ = ["LoadedRun", "load_run"]
__version__ = "0.1.0"

# OpenMP's threads spin for milliseconds while they wait for each other: with another process on the same
# cores a training step then takes several times as long. Tens of microseconds do; torch reads it when loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def __getattr__(name: str) -> Any:
    if name in __all__:
        from isda_bench import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
