"""Whole inversions of small runs on the digits: what they write, how they resume, what they refuse."""

import pytest
import torch

from helpers.searches import closed_case, networks
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.config.options import parse
from isda_bench.data.digits import Digits
from isda_bench.errors import ConfigError, UserError
from isda_bench.gan import run as gan_run
from isda_bench.gan.generator_file import save_generator
from isda_bench.inversion import descent as descent_module
from isda_bench.inversion import report
from isda_bench.inversion import run as inversion_run
from isda_bench.inversion.augmented_features import estimated, nearest
from isda_bench.inversion.descent import STEPS, FixedClasses, Point, descend, iteration_of, start_at
from isda_bench.inversion.run import invert
from isda_bench.inversion.setup import InversionOptions, prepare, weights_sha256
from isda_bench.storage import checkpoint
from isda_bench.storage.checksummed_json import read_checksummed
from isda_bench.storage.run_lock import RunLock, RunLocked
from isda_bench.training.run import run


@pytest.mark.slow
def test_an_image_of_a_trained_generator_is_found_again(tmp_path):
    """The closed case of supplement C: within 2,000 iterations, with its rates as they are."""
    config = compose_run(["dataset=digits", "model=resnet8", "schedule.epochs=10", f"runs_dir={tmp_path}"])
    run(config)
    made = compose_run(["dataset=digits", "generator=wgan", f"runs_dir={tmp_path}"], GeneratorConfig)
    gan_run.run(made)
    generator = tmp_path / "generators" / made.run_id
    setup = prepare(InversionOptions(run=str(tmp_path / config.run_id), generator=str(generator)))
    images = FixedClasses(setup.generator, torch.arange(10), torch.empty(10, 0))
    searched = closed_case(setup.classifier, images, eta=1.0)
    descent = STEPS[0]._replace(iterations=2000)
    *_, point = descend(iteration_of(searched, descent), descent, start_at(torch.randn(10, 100)))
    medians = point.trace[:, 0].quantile(0.5, dim=1)
    assert medians[-1] < medians[0] / 100


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Classifiers with ISDA and without, hardly trained, and a generator that was not at all."""
    folder = tmp_path_factory.mktemp("runs")
    found = {"generator": str(folder)}
    for name in ("isda", "cross_entropy"):
        config = compose_run([*TINY, f"loss={name}", "schedule.epochs=1", f"runs_dir={folder}"])
        run(config)
        found[name] = str(folder / config.run_id)
    _, generator = networks(per_class=True)
    save_generator(folder, generator, Digits().load().checksum, {"run_id": "made"})
    return found


@pytest.fixture
def options(runs, tmp_path):
    def make(**given):
        chosen = {"iterations": 120, "images": 3, "augmentations": 2, "out": str(tmp_path / "out")}
        return InversionOptions(
            **{"run": runs["isda"], "generator": runs["generator"], "device": "cpu"} | chosen | given
        )

    return make


def test_a_whole_inversion(options, runs):
    directory = invert(options(nearest=2))
    assert {path.name for path in directory.glob("*.*")} >= {
        "figure.png", "figure.svg", "figure.pdf", "curves.png", "curves.svg", "curves.pdf", "inversion.json",
    }  # fmt: skip
    record = read_checksummed(directory / "inversion.json")
    assert record["identity"]["strength"] == 0.5 and record["identity"]["seed"] == 0
    assert record["unchanged"] == {"classifier": True, "generator": True}
    for step in record["steps"]:
        assert step["features"]["median_end"] < step["features"]["median_start"]
        assert step["worst_mean_error"] < 1e-5 and step["worst_std_error"] < 1e-5
    assert len(record["nearest"]["indices"]) == 6
    state = checkpoint.load_newest(directory)
    setup = prepare(options())
    del state["identity"]
    first, second = state["points"] = [Point(*point) for point in state["points"]]
    searched = inversion_run.search_of(setup, inversion_run.State(**state), 1)
    start = first[0].repeat_interleave(2, 0)
    assert torch.equal(searched(start)[1], second[2][0]), "Step II starts at Step I's z"


def test_stopped_and_gone_on_it_is_the_same_to_the_bit(options, tmp_path, monkeypatch, capsys, unreported):
    whole = invert(options(out=str(tmp_path / "whole")))
    looks = iter(range(100))

    def impatient(self, step, point):
        if next(looks) in (1, 4):
            raise KeyboardInterrupt

    monkeypatch.setattr(inversion_run.InversionDisplay, "show", impatient)
    for place in ("100 iterations of Step I;", "100 iterations of Step II;"):
        with pytest.raises(KeyboardInterrupt):
            invert(options())
        assert place in capsys.readouterr().err
    parts = invert(options())
    states = [checkpoint.load_newest(directory) for directory in (whole, parts)]
    for one, other in zip(*(state["points"] for state in states), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def unreported(monkeypatch):
    """Leaves the figures out."""
    monkeypatch.setattr(report, "write_report", lambda *_: None)


def test_two_at_once_and_another_in_its_place_are_refused(options, unreported):
    directory = invert(options(iterations=4))
    with RunLock(directory), pytest.raises(RunLocked):
        invert(options(iterations=4))
    with pytest.raises(UserError, match=r"another inversion \(iterations: 4 there, 5 now\)"):
        invert(options(iterations=5))


@pytest.mark.slow
def test_a_finished_one_is_only_drawn_again(options, monkeypatch):
    directory = invert(options(iterations=4))
    monkeypatch.setattr(descent_module, "eager_gradient", None)
    invert(options(iterations=4, nearest=1))
    assert len(read_checksummed(directory / "inversion.json")["nearest"]["distances"]) == 6


def test_without_isda_the_covariances_are_those_of_the_training_set(options, runs, unreported):
    setup = prepare(options(run=runs["cross_entropy"]))
    assert setup.statistics is None and setup.strength == 0.5
    batches = setup.training_images()
    statistics = estimated(setup.classifier, 10, batches)
    features = torch.cat([setup.classifier.features(images) for images, _ in batches]).double()
    targets = setup.data.train.targets
    for c in (0, 9):
        wanted = features[targets == c].T.cov(correction=0)
        assert torch.allclose(statistics.covariance[c], wanted, rtol=1e-6, atol=1e-12)
    assert weights_sha256(setup.classifier) == setup.identity["classifier_sha256"]
    invert(options(run=runs["cross_entropy"], iterations=2))


def test_the_nearest_images_are_those_of_a_plain_search(options):
    setup = prepare(options())
    batches = setup.training_images()
    features = torch.cat([setup.classifier.features(images) for images, _ in batches])
    wanted = features[[5, 17]] + 0.01
    own = torch.tensor([5, 17])
    indices, distances = nearest(setup.classifier, batches, wanted, own, 3)
    for a, index, found, there in zip(wanted, own, indices, distances, strict=True):
        plain = (features - a).double().norm(dim=1)
        plain[index] = torch.inf
        assert found.tolist() == plain.argsort()[:3].tolist()
        assert torch.allclose(there, plain.sort().values[:3], rtol=1e-4)


def test_wrong_options_are_reported_and_nothing_is_written(options, runs, tmp_path):
    out = tmp_path / "out"
    wrong = {
        "images=200: should be less than the 200": {"images": 200},
        "nearest=500": {"nearest": 500},
        "device": {"device": "tpu"},
        "no generator.safetensors": {"generator": runs["isda"]},
        "no run's directory": {"run": str(tmp_path)},
        "root": {"root": "data"},
    }
    for message, given in wrong.items():
        with pytest.raises(UserError, match=message):
            invert(options(**given))
    assert not out.exists()


def test_a_mistaken_command_line_is_reported():
    with pytest.raises(ConfigError, match=r"iterations: 0(.|\n)*did you mean augmentations|did you mean"):
        parse(InversionOptions, ["run=x", "generator=y", "iterations=0", "augmentation=3"])
