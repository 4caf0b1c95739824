"""Losses: one module each, one contract (`base.Loss`)."""

from isda_bench.losses.base import Loss, Outputs
from isda_bench.losses.cross_entropy import CrossEntropy
from isda_bench.losses.isda import ISDA

__all__ = ["ISDA", "CrossEntropy", "Loss", "Outputs"]
