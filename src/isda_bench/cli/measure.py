"""Measures a trained generator in the features of a trained classifier.

isda-bench measure run=runs/generators/<run id> [classifier=runs/<run id>] [root=data]
    [allow=<module>] whose classes a stored run may name

It writes quality.json into the generator's run. Where no classifier is named, it takes the one of lowest
error on the data set. Of infoGAN it also draws the changes by each code (traversal.png) and prints which
attribute each code changes most steadily.
"""

import json
from pathlib import Path

from isda_bench.config.options import Options, main
from isda_bench.gan.generator_file import FILE, generator_file, load_generator, read_metadata
from isda_bench.gan.networks import Generator
from isda_bench.gan.quality import find_classifier, measure_quality
from isda_bench.gan.traversal import steadiness, traversal, write_traversal
from isda_bench.loading import stored_dataset
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.devices import requested_device
from isda_bench.storage.data_check import check_data


class MeasureOptions(Options):
    """Options of the command, given as key=value."""

    run: str
    classifier: str | None = None
    root: str | None = None
    device: str = "auto"


def measure(options: MeasureOptions) -> None:
    """Prints the measures and writes them."""
    device = requested_device(options.device)
    directory = generator_file(options.run).parent
    described = read_metadata(generator_file(options.run))
    dataset = stored_dataset(directory / FILE, described.config, options.root, options.allow)
    data = dataset.load()
    check_data(
        directory, described.data_sha256, data.checksum, "root=... says where the generator's data are"
    )
    section, folder = described.config["dataset"], directory.parent.parent
    classifier = find_classifier(options.classifier, folder, dataset, section, data.checksum, options.allow)
    generator = load_generator(directory)
    quality = measure_quality(generator.to(device), classifier, dataset, data, device, options.allow)
    print(f"{directory.name}: {quality.line()}")
    measured = quality._asdict()
    if generator.codes:
        measured["codes"] = codes_of(generator.cpu(), directory)
    write_atomically(directory / "quality.json", (json.dumps(measured, indent=2) + "\n").encode())


def codes_of(generator: Generator, directory: Path) -> list[dict[str, float]]:
    """Draws the codes' traversals; prints and returns the rank correlation of each with each attribute."""
    write_traversal(directory / "traversal.png", generator)
    measured = [steadiness(traversal(generator, code, draws=20)) for code in range(generator.codes)]
    for code, values in enumerate(measured):
        name = max(values, key=lambda attribute: abs(values[attribute]))
        print(f"code {code + 1} changes the {name} most steadily: rank correlation {values[name]:.2f}")
    print("drawn:", directory / "traversal.png")
    return measured


def command() -> None:
    """Runs it with the options of the command line."""
    main(MeasureOptions, measure, __doc__)
