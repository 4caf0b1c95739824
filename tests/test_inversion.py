"""Reversing the network: the objective, the descent, augmented features, and whole inversions on digits."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from isda_bench import checkpoint
from isda_bench.compose import compose_run
from isda_bench.data.digits import Digits
from isda_bench.data.loader import Normalise
from isda_bench.errors import ConfigError, UserError
from isda_bench.gan import run as gan_run
from isda_bench.gan.config import GeneratorConfig
from isda_bench.gan.loading import save_generator
from isda_bench.gan.networks import Generator
from isda_bench.inversion import descent as descent_module
from isda_bench.inversion import folding, report
from isda_bench.inversion import run as inversion_run
from isda_bench.inversion.descent import (
    STEPS,
    FixedClasses,
    Search,
    descend,
    iteration_of,
    standardised,
    start_at,
)
from isda_bench.inversion.features import augmented, covariance_of, estimated, nearest
from isda_bench.inversion.folding import fused
from isda_bench.inversion.run import invert
from isda_bench.inversion.setup import InversionOptions, prepare, weights_sha256
from isda_bench.losses import ISDA
from isda_bench.models.resnet import ResNet
from isda_bench.options import parse
from isda_bench.run import run
from isda_bench.run_lock import AtWork, RunLock
from isda_bench.sealed import read_sealed
from tiny import TINY

STEP_ONE, STEP_TWO = STEPS
KINDS = {
    "one a class": {"per_class": True},
    "conditional": {"conditional": True},
    "without classes": {},
    "with codes": {"conditional": True, "codes": 2},
}


def networks(**kind):
    """Networks that nobody trained, whose BatchNorms have something to do."""
    torch.manual_seed(0)
    classifier, generator = ResNet(10, 8, in_channels=1), Generator(10, 1, 8, width=4, **kind)
    for module in [*classifier.modules(), *generator.modules()]:
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.normal_(module.weight, 1, 0.1)
        elif isinstance(module, torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(module.weight, 0, 0.2)
    return tuple(network.eval().requires_grad_(False) for network in (classifier, generator))


def search(labels, eta=1.0, **kind):
    """The closed case of these networks."""
    classifier, generator = networks(**kind)
    images = FixedClasses(generator, labels, torch.rand(len(labels), generator.codes))
    return closed_case(classifier, images, eta)


def closed_case(classifier, images, eta):
    """A search for images that the generator itself has made."""
    torch.manual_seed(0)
    blank = Search(classifier, images, Digits(), torch.zeros(()), torch.zeros(()), eta)
    wanted = blank.image(standardised(torch.randn(len(images.labels), 100)))
    return Search(classifier, images, Digits(), classifier.features(wanted), wanted, eta)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_fixed_classes_are_what_generate_makes(kind):
    _, generator = networks(**kind)
    labels, noise = torch.tensor([3, 3, 0, 9, 3]), torch.randn(5, 100)
    codes = torch.rand(5, generator.codes)
    images = FixedClasses(generator, labels, codes)(noise)
    wanted = generator.generate(noise, labels, codes)
    assert torch.allclose((images + 1) * 127.5, wanted, atol=1e-3)


def test_the_objective_is_that_of_equation_7():
    labels = torch.tensor([1, 4, 4])
    searched = search(labels, eta=0.3, per_class=True)
    z = 5 + 3 * torch.randn(3, 100)
    zhat = torch.stack([(v - v.mean()) / v.std(correction=0) for v in z])
    pixels = searched.images.generator.generate(zhat, labels)
    image = Normalise(Digits.mean, Digits.std, z.device)(pixels)
    features = (searched.classifier.features(image) - searched.wanted_features).square().sum(1)
    distances = (image - searched.wanted_images).square().sum((1, 2, 3))
    objective, traced = searched(z)
    assert objective.item() == pytest.approx((features + 0.3 * distances).sum().item(), rel=1e-4)
    assert torch.allclose(traced[:2], torch.stack([features, distances]), rtol=1e-4)


def test_a_fused_classifier_is_the_same_function(monkeypatch):
    classifier, _ = networks(per_class=True)
    images = torch.randn(4, 1, 8, 8)
    whole = fused(classifier, images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in whole.modules())
    torch.testing.assert_close(whole.features(images), classifier.features(images), rtol=1e-4, atol=1e-4)
    mixed = [("stem", "stages.0.0.norm2"), ("stages.0.0.conv1", "stages.0.0.norm1")]  # the first is none
    monkeypatch.setattr(folding, "_pairs", lambda *_: mixed)
    part = fused(classifier, images)
    assert len([m for m in part.modules() if isinstance(m, torch.nn.BatchNorm2d)]) == 9 - 1
    torch.testing.assert_close(part.features(images), classifier.features(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_gradients_are_those_of_finite_differences(eta):
    searched = search(torch.tensor([2, 7]), eta, per_class=True).double()
    z = torch.randn(2, 100, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(searched(z)[0], z)
    direction = torch.randn(4, 2, 100, dtype=torch.float64)
    h = 1e-6
    for d in direction:
        with torch.no_grad():
            difference = (searched(z + h * d)[0] - searched(z - h * d)[0]) / (2 * h)
        assert difference.item() == pytest.approx((slope * d).sum().item(), rel=1e-5)


def test_the_descent_is_torchs_sgd_with_its_milestones():
    searched = search(torch.arange(3)).double()
    descent = STEP_ONE._replace(iterations=12)
    z = torch.nn.Parameter(torch.randn(3, 100, dtype=torch.float64))
    *_, point = descend(iteration_of(searched, descent), descent, start_at(z.detach().clone()))
    sgd = torch.optim.SGD([z], lr=10.0, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, [3, 6, 9], 0.1)
    for _ in range(12):
        sgd.zero_grad()
        searched(z)[0].backward()
        sgd.step()
        schedule.step()
    assert torch.allclose(point.z, z, rtol=1e-9)
    assert not torch.allclose(point.z, start_at(z).velocity)


def test_the_supplements_numbers_are_the_defaults():
    assert [(d.learning_rate, d.iterations, d.momentum, d.weight_decay) for d in STEPS] == [
        (10, 10_000, 0.9, 1e-4),
        (1, 10_000, 0.9, 1e-4),
    ]
    stages = [STEP_ONE.stage(i) for i in (0, 2499, 2500, 4999, 5000, 7499, 7500, 9999)]
    assert stages == [0, 0, 1, 1, 2, 2, 3, 3]
    assert STEP_ONE.rates() == pytest.approx([10, 1, 0.1, 0.01])
    options = InversionOptions(run="r", generator="g")
    assert (options.iterations, options.eta) == (10_000, 1)


def test_zhat_is_standardised_even_far_from_the_origin():
    for z in (torch.randn(4, 100), 1e-6 * torch.randn(4, 100), 50 + 1e3 * torch.randn(4, 100)):
        zhat = standardised(z).double()
        assert zhat.mean(1).abs().max() < 1e-5
        assert (zhat.std(1, correction=0) - 1).abs().max() < 1e-5


def test_the_supplements_rates_bring_an_image_of_the_generator_nearer():
    searched = search(torch.arange(4), per_class=True)
    descent = STEP_ONE._replace(iterations=300)
    *_, point = descend(iteration_of(searched, descent), descent, start_at(torch.randn(4, 100)))
    medians = point.trace[:, :2].quantile(0.5, dim=2)
    assert medians[-1].sum() < medians[0].sum() / 2
    assert point.trace[:, 2:].max() < 1e-5


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
    descent = STEP_ONE._replace(iterations=2000)
    *_, point = descend(iteration_of(searched, descent), descent, start_at(torch.randn(10, 100)))
    medians = point.trace[:, 0].quantile(0.5, dim=1)
    assert medians[-1] < medians[0] / 100


def test_compiled_it_is_captured_once_with_the_same_numbers(monkeypatch):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **settings: compiler(function, backend=counter, **settings)
    )
    searched = search(torch.arange(3), per_class=True).double()
    descent = STEP_ONE._replace(iterations=8)
    z = torch.randn(3, 100, dtype=torch.float64)
    *_, plain = descend(iteration_of(searched, descent), descent, start_at(z))
    iteration = iteration_of(searched, descent, compiled=True)
    iteration(z, torch.zeros_like(z), torch.tensor(1.0, dtype=torch.float64))
    captured = counter.frame_count
    *_, compiled = descend(iteration, descent, start_at(z))
    assert counter.frame_count == captured, "captured anew"
    assert torch.allclose(plain.z, compiled.z, rtol=1e-9)
    assert torch.allclose(plain.trace[:, :2], compiled.trace[:, :2], rtol=1e-9)


DIM, CLASSES = 6, 3


def statistics_of(covariance):
    """Statistics of features of rank 2, of each class its own."""
    own = torch.Generator().manual_seed(1)
    axes = torch.randn(CLASSES, 2, DIM, generator=own)
    loss = ISDA(CLASSES, DIM, covariance=covariance, **({"rank": 2} if covariance == "lowrank" else {}))
    for _ in range(3):
        targets = torch.randint(CLASSES, (8,), generator=own)
        features = (torch.randn(8, 1, 2, generator=own) @ axes[targets])[:, 0]
        loss.statistics.update(features, targets)
    return loss.statistics


@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared", "identity", "lowrank"])
def test_augmented_features_have_the_wanted_mean_and_covariance(covariance):
    """z-scores of mean and covariance over many draws; their fourth moments are the normal's (Isserlis)."""
    statistics = statistics_of(covariance)
    wanted = covariance_of(statistics, 1, DIM).double()
    if covariance == "full":
        assert torch.linalg.matrix_rank(wanted, rtol=1e-5) < DIM, "should be rank-deficient"
    features, draws, strength = torch.randn(2, DIM, dtype=torch.float64), 40_000, 0.7
    own = torch.Generator().manual_seed(2)
    sigmas = [wanted, covariance_of(statistics, 2, DIM).double()]
    drawn = augmented(features, sigmas, strength, draws, own).unflatten(0, (2, draws))
    for a, sigma, sample in zip(features, sigmas, drawn, strict=True):
        target = strength * sigma
        variances = target.diagonal()
        tiny = 1e-12 + 1e-6 * variances.max()
        assert ((sample.mean(0) - a).abs() <= 5 * (variances / draws).sqrt() + tiny).all()
        deviation = (target.square() + variances.outer(variances)).sqrt() / draws**0.5
        assert ((sample.T.cov() - target).abs() <= 5 * deviation + tiny).all()


def test_a_covariance_of_zero_moves_nothing():
    features = torch.randn(2, DIM)
    drawn = augmented(features, [torch.zeros(DIM, DIM)] * 2, 0.5, 3, torch.Generator())
    assert torch.equal(drawn, features.repeat_interleave(3, 0))


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
        "figure.png", "figure.svg", "curves.png", "curves.svg", "inversion.json",
    }  # fmt: skip
    record = read_sealed(directory / "inversion.json")
    assert record["identity"]["strength"] == 0.5 and record["identity"]["seed"] == 0
    assert record["unchanged"] == {"classifier": True, "generator": True}
    for step in record["steps"]:
        assert step["features"]["median_end"] < step["features"]["median_start"]
        assert step["worst_mean_error"] < 1e-5 and step["worst_std_error"] < 1e-5
    assert len(record["nearest"]["indices"]) == 6
    state = checkpoint.load_newest(directory)
    setup = prepare(options())
    first, second = state["points"]
    searched = inversion_run.search_of(setup, inversion_run._kept(directory, setup), 1)
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
    with RunLock(directory), pytest.raises(AtWork):
        invert(options(iterations=4))
    with pytest.raises(UserError, match=r"another inversion \(iterations: 4 there, 5 now\)"):
        invert(options(iterations=5))


def test_a_finished_one_is_only_drawn_again(options, monkeypatch):
    directory = invert(options(iterations=4))
    monkeypatch.setattr(descent_module, "_gradient", None)
    invert(options(iterations=4, nearest=1))
    assert len(read_sealed(directory / "inversion.json")["nearest"]["distances"]) == 6


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


def test_what_is_wrong_is_told_and_nothing_written(options, runs, tmp_path):
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


def test_a_mistaken_command_line_is_told():
    with pytest.raises(ConfigError, match=r"iterations: 0(.|\n)*did you mean augmentations|did you mean"):
        parse(InversionOptions, ["run=x", "generator=y", "iterations=0", "augmentation=3"])
