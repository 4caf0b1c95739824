"""Quality and variety of generated images, in the features of a trained classifier."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isda_bench.config.building import check_allowed
from isda_bench.data.base import DataSet, ImageData, ImageSet
from isda_bench.data.loader import Normalise
from isda_bench.errors import UserError
from isda_bench.gan.networks import Generator, fixed_inputs
from isda_bench.loading import load_run
from isda_bench.models.base import Classifier
from isda_bench.runtime.devices import set_precision
from isda_bench.runtime.library_faults import on_device
from isda_bench.storage.data_check import check_data
from isda_bench.storage.record_files import DATA, readable_records

IMAGES = 5000  # of each kind at most: distances between all of them are taken
PER_CLASS = 50  # at least, to judge a class by
PAIRED = 200  # images of a class whose mutual distances are taken
BATCH = 500
NEAREST = 3


class Quality(NamedTuple):
    """The quality measures of a generator; those that need classes are None where it has none."""

    classifier: str
    """The run in whose features."""
    images: int
    """Generated ones."""
    frechet_distance: float
    precision: float
    """Share of the generated images that lie among real ones."""
    recall: float
    """Share of the real images that lie among generated ones."""
    recognition: float | None
    """Share of the generated images that the classifier takes for the wanted class."""
    worst_recognition: float | None
    """The same, of the class where it is least."""
    variety: float | None
    """Mean distance of two generated images of a class over that of two real ones, in pixels."""
    worst_variety: float | None
    """The same, of the class where it is least."""
    classifier_error: float | None = None
    """The run's error after its last epoch, in percent."""

    def line(self) -> str:
        """The measures in a line."""
        parts = [
            f"Frechet distance {self.frechet_distance:.2f}",
            f"precision {self.precision:.2f}",
            f"recall {self.recall:.2f}",
        ]
        if self.recognition is not None and self.worst_recognition is not None:
            recognised = f"{100 * self.recognition:.1f}% (worst class {100 * self.worst_recognition:.1f}%)"
            parts += [
                f"recognised {recognised}",
                f"variety {self.variety:.2f} (worst class {self.worst_variety:.2f})",
            ]
        return f"{', '.join(parts)}; in the features of {self.measured_in}"

    @property
    def measured_in(self) -> str:
        """The classifier and its error."""
        error = "" if self.classifier_error is None else f" (error {self.classifier_error:.2f}%)"
        return self.classifier + error


def measure_quality(
    generator: Generator,
    classifier: Path,
    dataset: DataSet,
    data: ImageData,
    device: torch.device,
    allow: tuple[str, ...] = (),
) -> Quality:
    """Compares generated images with the training images; it draws nothing from torch's default generators.

    The process then computes in single precision (`set_precision`).

    Args:
        generator: trained.
        classifier: directory of a finished run on the same data set.
        dataset: the data set.
        data: its images.
        device: where to compute.
        allow: modules beside isda_bench in which the classifier may be defined.

    Raises:
        UserError: the run cannot be loaded, or was trained on other data.
    """
    _, classify, record = load_run(classifier, allow)
    check_data(classifier, record.get(DATA), data.checksum, "classifier=... names another run")
    set_precision("fp32")
    model = on_device(classify, device)
    normalise = Normalise(dataset.mean, dataset.std, device)
    real = data.train
    assert isinstance(real, ImageSet)
    chosen = _spread_out(len(real.targets), IMAGES)
    per_class = max(len(chosen) // dataset.num_classes, PER_CLASS)
    made, labels = _generated(generator, dataset.num_classes, per_class, device)
    real_features, _ = _judged(model, normalise, real.images[chosen].to(device))
    made_features, taken_for = _judged(model, normalise, made)
    precision, recall = precision_and_recall(real_features, made_features)
    by_class: list[float | None] = [None] * 4
    if generator.labelled:
        right = (taken_for.cpu() == labels).double()
        recognition = torch.stack([right[labels == c].mean() for c in range(dataset.num_classes)])
        variety = _variety(made.cpu(), labels, real.images, real.targets)
        by_class = [f(x).item() for x in (recognition, variety) for f in (torch.mean, torch.min)]
    frechet = frechet_distance(real_features, made_features)
    quality = Quality(classifier.name, len(made), frechet, precision, recall, *by_class)
    return quality._replace(classifier_error=record["error"]["final"])


def find_classifier(
    asked_for: str | None,
    runs_dir: Path,
    dataset: DataSet,
    section: dict[str, Any],
    data_sha256: str | None = None,
    allow: tuple[str, ...] = (),
) -> Path:
    """The requested run, else the one of lowest error that was trained on the data set's real images alone.

    Runs that cannot be read, or that name a module that is not allowed, are skipped with a line on stderr.

    Args:
        asked_for: its directory.
        runs_dir: where to look.
        dataset: the data set.
        section: its configuration.
        data_sha256: its checksum; runs on other data do not count. None: all runs on the data set count.
        allow: modules beside isda_bench in which a classifier may be defined.

    Raises:
        UserError: there is no such classifier, or it was trained on another data set.
    """
    if asked_for is not None:
        path = Path(asked_for).expanduser()
        if load_run(path, allow).config["dataset"]["_target_"] != section["_target_"]:
            raise UserError(f"classifier={asked_for}: was trained on another data set")
        return path
    fitting = [
        (record["error"]["final"], path.parent)
        for path, record in readable_records(runs_dir.expanduser())
        if record["config"]["dataset"]["_target_"] == section["_target_"]
        and not record["config"].get("generator")
        and any(path.parent.glob("*.pt"))
        and data_sha256 in (None, record.get(DATA, data_sha256))
        and _may_be_built(path, record, allow)
    ]
    if not fitting:
        raise UserError(f"no classifier trained on the data set, without generated images, in {runs_dir}")
    return min(fitting)[1]


def _may_be_built(path: Path, record: dict[str, Any], allow: tuple[str, ...]) -> bool:
    try:
        for section in ("dataset", "model", "loss"):
            check_allowed(path, section, record["config"][section], allow)
    except UserError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return False
    return True


def frechet_distance(real: Tensor, made: Tensor) -> float:
    """Frechet distance of the normal densities fitted to two sets of features (N, A), (M, A).

        ||m_r - m_g||^2 + trace(S_r + S_g - 2 (S_r S_g)^(1/2))

    The root's trace is the sum of the roots of the product's eigenvalues. Source: Heusel et al. 2017, "GANs
    Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", Eq. 6.
    """
    real, made = real.double(), made.double()
    means = (real.mean(0) - made.mean(0)).square().sum()
    of_real, of_made = torch.cov(real.T), torch.cov(made.T)
    root = torch.linalg.eigvals((of_real @ of_made).cpu()).real.clamp_min(0).sqrt().sum()
    return (means + of_real.trace() + of_made.trace() - 2 * root).item()


def precision_and_recall(real: Tensor, made: Tensor, nearest: int = NEAREST) -> tuple[float, float]:
    """Share of `made` (M, A) within the manifold of `real` (N, A), and the reverse.

    A manifold is a union of balls around its points, each as wide as the distance to the k-th nearest other.
    Source: Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models",
    Eq. 1-2, with its k = 3.
    """
    return _part_within(real, made, nearest), _part_within(made, real, nearest)


def _part_within(centres: Tensor, points: Tensor, nearest: int) -> float:
    radii = torch.cdist(centres, centres).kthvalue(nearest + 1, dim=1).values  # each is its own nearest
    return (torch.cdist(points, centres) <= radii).any(1).double().mean().item()


def _spread_out(count: int, most: int) -> Tensor:
    """Indices of at most `most` of `count` images, evenly."""
    return torch.linspace(0, count - 1, min(count, most)).long()


@torch.no_grad()
def _generated(
    generator: Generator, num_classes: int, per_class: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """As many images of each class, and their classes, always of the same noise."""
    labels = torch.arange(num_classes).repeat_interleave(per_class)
    inputs = fixed_inputs(len(labels), generator.codes, seed=1)
    noise, codes = (part.to(device) for part in inputs)
    training = generator.training
    generator.eval()
    parts = zip(noise.split(BATCH), labels.split(BATCH), codes.split(BATCH), strict=True)
    made = [generator.generate(n, y if generator.labelled else None, c) for n, y, c in parts]
    generator.train(training)
    return torch.cat(made), labels


@torch.no_grad()
def _judged(model: Classifier, normalise: Normalise, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, A) of images, 0 to 255, and the classes (N,) that they are taken for."""
    features = torch.cat([model.features(normalise(batch)) for batch in images.split(BATCH)])
    return features, model.classify(features).argmax(1)


def _variety(made: Tensor, labels: Tensor, real: Tensor, targets: Tensor) -> Tensor:
    """Mean distance of two generated images of a class over that of two real ones, (C,)."""
    ratios = []
    for c in labels.unique().tolist():
        own = real[targets == c].float().flatten(1)
        distances = [torch.pdist(part[:PAIRED]).mean() for part in (made[labels == c].flatten(1), own)]
        ratios.append(distances[0] / distances[1])
    return torch.stack(ratios).double()
