"""Implicit semantic data augmentation: experiments by configuration.

`load_run(path)` gives back a finished run. Importing the package imports no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isda_bench.loading import LoadedRun, load_run

__all__ = ["LoadedRun", "load_run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:
        from isda_bench import loading

        return getattr(loading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
