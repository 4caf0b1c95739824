"""Generated images in a classifier's batches."""

import json
import shutil

import pytest
import torch

from helpers.interruption import Killed, dying_at_call
from helpers.run_files import metrics_of
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.data.base import ImageSet
from isda_bench.data.digits import Digits
from isda_bench.data.generated import GeneratedShare
from isda_bench.data.loader import Loader, Normalise
from isda_bench.errors import ConfigError, UserError
from isda_bench.gan.generated_images import Generated
from isda_bench.gan.run import run as train_generator
from isda_bench.training.run import run

CPU = torch.device("cpu")
SMALL = [
    "dataset=digits",
    "schedule.epochs=1",
    "schedule.steps=2",
    "schedule.batch_size=8",
    "generator.width=4",
]


class Labelled:
    """A generator whose image says its class."""

    def generate(self, noise, labels):
        assert noise.shape == (len(labels), 100)
        assert not torch.is_grad_enabled()
        return (20.0 * labels)[:, None, None, None].expand(-1, 1, 2, 2).clone()


def loader(images, batch_size=128, fraction=0.1667):
    torch.manual_seed(0)
    data = ImageSet(torch.full((images, 1, 2, 2), 7, dtype=torch.uint8), torch.full((images,), 3))
    normalise = Normalise((10.0,), (2.0,), CPU)
    count = GeneratedShare("cgan", fraction).images(batch_size)
    mix = Generated(Labelled(), 10, batch_size, count, normalise)
    return Loader(data, batch_size, CPU, [normalise], shuffle=True, mix=mix)


def test_a_batch_of_128_holds_21_generated_and_107_real_images():
    batches = loader(2 * 107)
    labels = []
    for images, targets in batches:
        assert images.shape == (128, 1, 2, 2)
        assert (targets[:107] == 3).all()
        assert (images[:107] == (7 - 10) / 2).all()
        torch.testing.assert_close(images[107:, 0, 0, 0], (20.0 * targets[107:] - 10) / 2)
        labels.append(targets[107:])
    assert len(labels) == len(batches) == 2
    assert batches.samples == 256


def test_an_epoch_is_one_pass_over_the_real_images_and_its_short_batch_keeps_the_share():
    batches = loader(107 + 51)
    sizes = [len(targets) for _, targets in batches]
    assert sizes == [128, 51 + 10]
    assert sum(sizes) == batches.samples
    assert len(batches) == 2


def test_the_classes_are_uniform():
    batches = loader(107 * 60)
    labels = torch.cat([targets[107:] for _, targets in batches])
    assert (torch.bincount(labels, minlength=10) / len(labels) - 0.1).abs().max() < 0.03


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one trained CGAN."""
    folder = tmp_path_factory.mktemp("runs")
    config = compose_run([*SMALL, "generator=cgan", f"runs_dir={folder}"], GeneratorConfig)
    train_generator(config)
    return folder


def classifier(runs, *overrides):
    return compose_run([*TINY, "schedule.epochs=1", "generator=cgan", f"runs_dir={runs}", *overrides])


def second(runs, seed=1):
    config = compose_run([*SMALL, "generator=cgan", f"runs_dir={runs}", f"seed={seed}"], GeneratorConfig)
    return train_generator(config)


def test_a_run_records_its_generator_and_evaluates_on_real_images(runs, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        Generated, "draw", lambda self, n, d, draw=Generated.draw: seen.append(n) or draw(self, n, d)
    )
    record = run(classifier(runs))
    (generator,) = (runs / "generators").iterdir()
    assert record["generator"]["run"] == generator.name
    assert (
        record["generator"]["sha256"]
        == json.loads((generator / "record.json").read_text())["generator_sha256"]
    )
    reported = capsys.readouterr().err
    assert f"generated images come from {generator} (the only one; it was trained on images" in reported
    assert seen == [11, 11, 11, 9]  # 53 of 64 are real: three full batches and 41 images; none to evaluate


def test_a_run_resumes_with_its_generator_to_the_bit(tmp_path, runs, monkeypatch):
    for name in ("whole", "broken"):
        shutil.copytree(runs / "generators", tmp_path / name / "generators")
    whole, broken = (classifier(tmp_path / name, "schedule.epochs=2") for name in ("whole", "broken"))
    run(whole)
    with monkeypatch.context() as patch:
        patch.setattr(Generated, "__call__", dying_at_call(Generated.__call__, 6))
        with pytest.raises(Killed):
            run(broken)
    newer = second(tmp_path / "broken")  # is not what the run began with
    torch.manual_seed(99)
    record = run(broken)
    assert record["generator"]["run"] != newer["run_id"]
    assert metrics_of(whole.directory) == metrics_of(broken.directory)


def test_a_run_does_not_resume_with_another_generator(tmp_path, runs, monkeypatch):
    shutil.copytree(runs / "generators", tmp_path / "generators")
    config = classifier(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Generated, "draw", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(config)
    (generator,) = (tmp_path / "generators").iterdir()
    file = generator / "generator.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(UserError, match="is not the generator that this run started with"):
        run(config)
    shutil.rmtree(generator)
    with pytest.raises(UserError, match="of this run's start is no longer in"):
        run(config)


@pytest.mark.slow
def test_the_newest_is_taken_unless_one_is_asked_for(tmp_path, runs, capsys):
    shutil.copytree(runs / "generators", tmp_path / "generators")
    (first,) = (path.name for path in (tmp_path / "generators").iterdir())
    newer = second(tmp_path)["run_id"]
    assert run(classifier(tmp_path))["generator"]["run"] == newer
    reported = capsys.readouterr()
    assert "(the newest of 2" in reported.err
    assert reported.out.rstrip().endswith(f"%); images of {newer}")
    asked = classifier(tmp_path, f"generator.run={first}")
    by_path = classifier(tmp_path, f"generator.run={tmp_path / 'generators' / first}")
    assert asked.run_id == by_path.run_id != classifier(tmp_path).run_id
    assert run(by_path)["generator"]["run"] == first


@pytest.mark.parametrize(
    ("override", "reported"),
    [
        (
            "generator=acgan",
            "generator=acgan: no generator in .* is trained on these images; make one: "
            "isda-bench generator generator=acgan dataset=digits dataset.train_size=200 runs_dir=",
        ),
        ("generator.run=digits-cgn", r"generator.run=digits-cgn: no generator's run.* digits-cgan-s0-"),
        ("generator.fraction=0", "generator.fraction=0: should be greater than 0"),
        ("generator.fraction=0.001", "generator.fraction=0.001: 0 generated images in a batch of 64"),
        ("generator.fraction=0.999", "generator.fraction=0.999: 64 generated images in a batch of 64"),
    ],
)
def test_a_missing_generator_is_reported_before_anything_is_written(runs, override, reported):
    before = sorted(runs.iterdir())
    kind = [] if override.startswith("generator=") else ["generator=cgan"]
    with pytest.raises(ConfigError, match=reported):
        run(compose_run([*TINY, *kind, override, f"runs_dir={runs}"]))
    assert sorted(runs.iterdir()) == before


def test_images_that_stay_in_their_files_have_no_generator(tmp_path):
    config = compose_run(["dataset=imagenet", "model=resnet50", "generator=wgan", f"runs_dir={tmp_path}"])
    with pytest.raises(ConfigError) as raised:
        run(config)
    assert raised.value.problems == [
        "generator: needs a dataset of images kept in memory (digits, cifar10, cifar100)"
    ]
    assert not list(tmp_path.iterdir())


def test_a_generator_that_saw_the_held_out_images_is_refused(runs):
    (generator,) = (runs / "generators").iterdir()
    with pytest.raises(ConfigError, match="was trained on images that this run holds out"):
        run(classifier(runs, f"generator.run={generator}", "dataset.val_size=100"))
    with pytest.raises(
        ConfigError, match=r"generator=cgan dataset=digits dataset\.train_size=200 dataset\.val_size=100"
    ):
        run(classifier(runs, "dataset.val_size=100"))


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"num_classes": 100}, "has 10 classes, the data set 100"),
        ({"image_size": 32}, "makes images of 1x8x8"),
    ],
)
def test_one_that_does_not_fit_is_refused(runs, monkeypatch, change, reported):
    (generator,) = (runs / "generators").iterdir()
    for name, value in change.items():
        monkeypatch.setattr(Digits, name, value)
    with pytest.raises(ConfigError, match=reported):
        run(classifier(runs, f"generator.run={generator}"))


def test_a_generator_of_another_data_set_is_refused(runs):
    (generator,) = (runs / "generators").iterdir()
    config = compose_run(
        ["dataset=cifar10", "generator=cgan", f"generator.run={generator}", f"runs_dir={runs}"]
    )
    with pytest.raises(ConfigError, match="was trained on another data set, digits"):
        run(config)


def test_without_a_generator_ids_and_batches_are_as_they_were():
    config = compose_run([*TINY])
    assert config.as_dict()["identity"]["generator"] == {}


def test_a_generator_of_another_draw_of_the_images_is_refused(tmp_path):
    given = [*SMALL, "generator=cgan", f"runs_dir={tmp_path}", "dataset.resample=true"]
    train_generator(compose_run([*given, "seed=3"], GeneratorConfig))
    (generator,) = (tmp_path / "generators").iterdir()
    wanted = [f"generator.run={generator}", "dataset.train_size=null"]
    assert run(classifier(tmp_path, *wanted, "dataset.resample=true", "seed=3"))["generator"]
    for other in (["dataset.resample=true", "seed=4"], ["seed=3"], ["dataset.imbalance=5"]):
        with pytest.raises(ConfigError, match="another draw of the training images"):
            run(classifier(tmp_path, *wanted, *other))
