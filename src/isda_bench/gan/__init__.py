"""Generative adversarial networks: WGAN, CGAN, ACGAN, infoGAN, with a training loop of their own.

`load_generator(path)` gives back a trained generator. Importing the package imports no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isda_bench.gan.generator_file import load_generator

__all__ = ["load_generator"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from isda_bench.gan import generator_file

        return getattr(generator_file, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
