"""Measures a trained generator in the features of a trained classifier; writes quality.json into its run.

python scripts/measure_generator.py run=runs/generators/<run id> [classifier=runs/<run id>] [root=data]
    [allow=<module>] whose classes a stored run may name

The classifier is the one of lowest error on the data set, if none is named. Of infoGAN it also draws what the
codes do (traversal.png) and says what they change most steadily.
"""

import json
from pathlib import Path

from isda_bench.config.options import Options, main
from isda_bench.config.problems import problems_of
from isda_bench.errors import ConfigError
from isda_bench.gan.generator_file import FILE, generator_file, load_generator, read_metadata
from isda_bench.gan.networks import Generator
from isda_bench.gan.quality import find_classifier, measure_quality
from isda_bench.gan.traversal import steadiness, traversal, write_traversal
from isda_bench.loading import stored_dataset
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.devices import choose_device
from isda_bench.storage.data_check import check_data


class MeasureOptions(Options):
    """What can be given as key=value."""

    run: str
    classifier: str | None = None
    root: str | None = None
    device: str = "auto"


def measure(options: MeasureOptions) -> None:
    """Prints and writes what is measured."""
    problems = problems_of(lambda: choose_device(options.device), "")
    if problems:
        raise ConfigError(problems)
    directory = generator_file(options.run).parent
    kept = read_metadata(generator_file(options.run))
    dataset = stored_dataset(directory / FILE, kept.config, options.root, options.allow)
    data = dataset.load()
    check_data(
        directory, kept.data_sha256, data.checksum, "root=... says where the data of the generator are"
    )
    section, folder = kept.config["dataset"], directory.parent.parent
    classifier = find_classifier(options.classifier, folder, dataset, section, data.checksum, options.allow)
    device = choose_device(options.device)
    generator = load_generator(directory)
    quality = measure_quality(generator.to(device), classifier, dataset, data, device, options.allow)
    print(f"{directory.name}: {quality.line()}")
    measured = quality._asdict()
    if generator.codes:
        measured["codes"] = codes_of(generator.cpu(), directory)
    write_atomically(directory / "quality.json", (json.dumps(measured, indent=2) + "\n").encode())


def codes_of(generator: Generator, directory: Path) -> list[dict[str, float]]:
    """Draws the codes' traversals; tells and returns how steadily each changes which attribute."""
    write_traversal(directory / "traversal.png", generator)
    measured = [steadiness(traversal(generator, code, draws=20)) for code in range(generator.codes)]
    for code, values in enumerate(measured):
        name = max(values, key=lambda attribute: abs(values[attribute]))
        print(f"code {code + 1} changes the {name} most steadily: rank correlation {values[name]:.2f}")
    print("drawn:", directory / "traversal.png")
    return measured


if __name__ == "__main__":
    main(MeasureOptions, measure, __doc__)
