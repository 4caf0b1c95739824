"""What the server of forked.py imports before it forks; it runs nothing that starts a thread."""

import gc

import isda_bench.runtime.torchvision_import  # before torchvision

# isort: split
import torchvision.datasets  # noqa: F401
from hydra.core.plugins import Plugins

import isda_bench.cli.command_line
import isda_bench.config.options
import isda_bench.data.augment
import isda_bench.data.cifar
import isda_bench.data.digits
import isda_bench.losses.isda
import isda_bench.models.resnet
import isda_bench.reporting.figures.error_curves
import isda_bench.storage.records
import isda_bench.training.run  # noqa: F401

Plugins.instance()
gc.freeze()  # a child's collections need not walk through all of torch
