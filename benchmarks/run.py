"""Measures the package beside other code: `python benchmarks/run.py [device=cuda] [only=networks]`.

It writes <out>/<device>_comparisons.json and .md, for one part <device>_<part>.json and .md;
out=results/benchmarks. The parts are plain, augmentations, folder, start, and on demand alone networks,
which needs pytorchcv and measures on the CPU, and layouts, for device=cuda.
"""

from pathlib import Path

from augmentations import augmentation_rows
from image_folder import image_folder_rows
from isda_bench.benchmarks.report import Measurement, measure
from isda_bench.config.options import Options, main
from isda_bench.config.problems import did_you_mean
from isda_bench.errors import ConfigError
from isda_bench.runtime.devices import requested_device
from layouts import layout_rows
from networks import network_rows
from plain_loop import plain_loop_rows
from start_up import start_up_rows

MEASUREMENTS: dict[str, Measurement] = {
    "plain": ("ResNet-32 beside a plain PyTorch loop, end to end", plain_loop_rows),
    "augmentations": ("Augmentations of a batch of 128, beside images one by one", augmentation_rows),
    "folder": ("A folder of JPEGs beside torchvision's loader, from files to batches", image_folder_rows),
    "start": ("Seconds from a command to its help and to the first batch", start_up_rows),
    "networks": ("Networks beside pytorchcv's: forward and backward, batch 32", lambda _: network_rows()),
    "layouts": ("A training step with images in either layout, batch 128, in images/s", layout_rows),
}
ON_DEMAND = ("networks", "layouts")


class ComparisonOptions(Options):
    """Options of the script, given as key=value."""

    device: str = "cpu"
    only: str | None = None
    out: str = "results/benchmarks"


def compare(options: ComparisonOptions) -> None:
    """Takes the measurements and prints the page."""
    names = [name for name in MEASUREMENTS if name not in ON_DEMAND]
    if options.only is not None:
        if options.only not in MEASUREMENTS:
            hint = did_you_mean(options.only, list(MEASUREMENTS))
            raise ConfigError([f"only={options.only}: no such part{hint}"])
        names = [options.only]
    device = requested_device(options.device)
    if "layouts" in names and device.type != "cuda":
        raise ConfigError(["only=layouts: needs device=cuda"])
    chosen = {name: MEASUREMENTS[name] for name in names}
    suffix = f"_{options.only or 'comparisons'}"
    page = measure(chosen, device, Path(options.out), suffix)
    print(page.read_text())
    print("written:", page, page.with_suffix(".json"))


if __name__ == "__main__":
    main(ComparisonOptions, compare, __doc__)
