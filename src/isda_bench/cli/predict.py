"""Writes a trained network's predictions for image files: a CSV of class and probability.

isda-bench predict run=runs/<run id> images=photos               every image below a folder, or one file
isda-bench predict run=runs/<run id> images=a.png top=5          the five likeliest classes
isda-bench predict run=runs/<run id> images=photos out=said.csv root=data/mine device=cuda

An image is decoded, resized and normalised as those of the run's data set were for the evaluation (digits:
light ink on black). Classes have their names where the data set has some; root= says where the folders of an
image_folder lie. A file that cannot be read has an empty class, and the exit code is 1.
"""

import csv
import io
import sys
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, PositiveInt

from isda_bench.config.options import Options, main
from isda_bench.config.run_config import settings_of
from isda_bench.data.given_images import image_files
from isda_bench.loading import Prediction, class_names, load_run, predict, stored_dataset
from isda_bench.reporting.escape import csv_cell
from isda_bench.runtime.atomic_files import write_atomically
from isda_bench.runtime.devices import requested_device, set_precision
from isda_bench.runtime.home_folder import expand_home
from isda_bench.runtime.library_faults import on_device
from isda_bench.runtime.terminal import printable
from isda_bench.storage.record_files import RECORD


class PredictOptions(Options):
    """Options of the command, given as key=value."""

    run: str
    images: str
    out: Annotated[str, Field(min_length=1)] = "predictions.csv"
    top: PositiveInt = 1
    root: str | None = None
    device: str = "auto"


def predict_images(options: PredictOptions) -> None:
    """Writes the file; exits with 1 if an image could not be read."""
    device = requested_device(options.device)
    files = image_files(expand_home(options.images))
    run = load_run(options.run, options.allow, options.root)
    dataset = stored_dataset(expand_home(options.run) / RECORD, run.config, options.root, options.allow)
    precision = settings_of(run.config).precision
    set_precision(precision)
    model = on_device(run.model, device)
    found = list(predict(model, dataset, files, options.top, device, bf16=precision == "bf16"))
    top = min(options.top, run.model.head.out_features)
    out = expand_home(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, csv_text(found, class_names(run, dataset), top).encode())
    unread = [prediction for prediction in found if prediction.problem]
    for prediction in unread:
        print(printable(f"{prediction.path}: cannot be read ({prediction.problem})"), file=sys.stderr)
    print(printable(f"written: {out} ({len(found) - len(unread)} images)"))
    if unread:
        sys.exit(1)


def csv_text(predictions: list[Prediction], names: Sequence[str] | None, top: int) -> str:
    """The file: a header, and a line for each image.

    Args:
        predictions: of the images.
        names: of the classes; null: their numbers stand for them.
        top: classes of each image.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header = ["class", "probability"]
    writer.writerow(["file", *header, *(f"{name}_{i}" for i in range(2, top + 1) for name in header)])
    for path, classes, probabilities, _ in predictions:
        cells = [str(path)]
        for number, probability in zip(classes, probabilities, strict=True):
            cells += [names[number] if names else str(number), f"{probability:.6f}"]
        writer.writerow(csv_cell(cell) for cell in cells + [""] * (1 + 2 * top - len(cells)))
    return out.getvalue()


def command() -> None:
    """Runs it with the options of the command line."""
    main(PredictOptions, predict_images, __doc__)
