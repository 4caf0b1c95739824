"""Training generators: the files of a run, its resumption, its errors and warnings."""

from copy import deepcopy

import pytest
import torch
from hydra.utils import instantiate
from matplotlib.image import imread
from safetensors import safe_open
from safetensors.torch import load, save

from helpers.interruption import Killed, dying_at_call
from helpers.run_files import metrics_of, same_state
from isda_bench.config.generator_config import GeneratorConfig
from isda_bench.data.base import ImageSet
from isda_bench.errors import ConfigError, NonFiniteLoss, UserError
from isda_bench.gan import load_generator
from isda_bench.gan.generator_file import FILE, read_metadata, save_generator
from isda_bench.gan.networks import Generator
from isda_bench.gan.objectives import CGAN, WGAN, InfoGAN
from isda_bench.gan.run import run
from isda_bench.gan.samples import Samples
from isda_bench.gan.train import RealBatches
from isda_bench.storage import checkpoint
from isda_bench.storage.records import read_records
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.storage.run_lock import RunLock, RunLocked

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", [pytest.param(WGAN, marks=pytest.mark.slow), InfoGAN])
def test_an_interrupted_training_equals_an_unbroken_one(tmp_path, configuration, monkeypatch, kind):
    overrides = [f"generator={kind.__name__.lower()}", "samples.every=2"]
    whole, broken = (configuration(tmp_path / name, *overrides) for name in ("whole", "broken"))
    run(whole)
    with monkeypatch.context() as patch:  # in epoch 3, of four steps
        patch.setattr(kind, "generator_loss", dying_at_call(kind.generator_loss, 2 * 4 + 2))
        with pytest.raises(Killed):
            run(broken)
    assert not (broken.directory / "record.json").exists()
    torch.manual_seed(99)
    assert run(broken)["epochs"] == 3
    assert metrics_of(broken.directory) == metrics_of(whole.directory)
    assert same_state(*(load_generator(config.directory).state_dict() for config in (broken, whole)))
    pictures = {path.name for path in broken.directory.glob("*.png")}
    assert pictures == {"samples-00002.png", "samples-00003.png"}


def test_the_files_of_a_run(tmp_path, configuration, capsys):
    config = configuration(tmp_path, "generator=cgan", "samples.per_class=3")
    record = run(config)
    assert config.directory.parent == tmp_path / "generators"
    assert record["quality"] is None and "quality is not measured" in capsys.readouterr().err
    generator = load_generator(config.directory)
    kept = checkpoint.load_newest(config.directory)
    noise, labels = torch.randn(4, 100), torch.tensor([3, 1, 9, 0])
    trained = instantiate(config.settings.generator, num_classes=10, in_channels=1, image_size=8)
    trained.load_state_dict(kept["gan"])
    trained.generator.load_state_dict(kept["mean"]["generator"])
    assert torch.equal(generator.generate(noise, labels), trained.eval().generator.generate(noise, labels))
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    picture = imread(config.directory / "samples-00003.png")
    assert picture.shape[:2] == (3 * 10 * 9, 3 * 3 * 9)  # zoomed by 3, a pixel between images
    assert run(config) == record
    assert "finished already" in capsys.readouterr().out
    assert read_records([tmp_path]).empty


def test_kind_and_data_are_in_the_id_and_settings_of_pictures_are_not(tmp_path, configuration):
    config = configuration(tmp_path, "generator=wgan")
    assert config.run_id.startswith("digits-wgan-s0-")
    assert (
        configuration(tmp_path, "generator=wgan", "samples.every=3", "classifier=x").run_id == config.run_id
    )
    assert configuration(tmp_path, "generator=wgan", "generator.clip=0.02").run_id != config.run_id


def test_every_problem_is_reported_at_once_and_nothing_is_written(tmp_path, configuration):
    overrides = ["generator=wgan", "generator.clip=-1", "classifier=nope", "device=tpu"]
    with pytest.raises(ConfigError) as raised:
        run(configuration(tmp_path / "runs", *overrides))
    starts = [line.split(":")[0] for line in raised.value.problems]
    assert starts == ["generator.clip=-1", "device=tpu", "classifier=nope"]
    assert not list(tmp_path.iterdir())


def test_several_processes_are_refused_before_anything_is_written(tmp_path, configuration, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="train_generator: one process; start it without torchrun"):
        run(configuration(tmp_path / "runs", "generator=wgan"))
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_taken_over_writes_no_checkpoint(tmp_path, configuration, monkeypatch):
    def lost(self):
        raise RunLocked("taken over")

    monkeypatch.setattr(RunDirectory, "append", lambda *_: None)  # which checks the lock as well
    monkeypatch.setattr(RunLock, "check", lost)
    config = configuration(tmp_path, "generator=cgan")
    with pytest.raises(RunLocked):
        run(config)
    assert not checkpoint.checkpoints(config.directory)


@pytest.mark.parametrize(("whose", "step"), [("critic", 6), ("generator", 2)])
def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path, configuration, monkeypatch, whose, step):
    loss_of, calls = getattr(CGAN, f"{whose}_loss"), 0

    def breaks(self, *arguments):
        nonlocal calls
        calls += 1
        return loss_of(self, *arguments) * (float("nan") if calls == step else 1)

    monkeypatch.setattr(CGAN, f"{whose}_loss", breaks)
    epoch, within = (step - 1) // 4 + 1, (step - 1) % 4 + 1
    config = configuration(tmp_path, "generator=cgan")
    with pytest.raises(NonFiniteLoss, match=f"the {whose}'s loss is nan in epoch {epoch}, step {within}:"):
        run(config)
    assert not (config.directory / "record.json").exists()
    assert len(checkpoint.checkpoints(config.directory)) == epoch - 1


def test_one_image_for_all_noise_warns(tmp_path, configuration, monkeypatch, capsys):
    monkeypatch.setattr(CGAN, "noise", lambda self, n: torch.zeros(n, 1, 100))
    generate = Generator.generate
    monkeypatch.setattr(Generator, "generate", lambda self, noise, *rest: generate(self, 0 * noise, *rest))
    record = run(configuration(tmp_path, "generator=cgan"))
    err = capsys.readouterr().err
    assert "epoch 1: the generator has collapsed" in err
    assert err.count("collapsed") == 1
    assert record["collapsed"] is True


def test_the_spread_of_real_images_is_one():
    torch.manual_seed(0)
    images, targets = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8), torch.arange(40) % 2
    samples = Samples(ImageSet(images, targets), 2, 1, 16, CPU)

    class Real(Generator):
        def generate(self, noise, labels, codes):
            return images[targets.sort(stable=True).indices.view(2, 20)[:, :16].flatten()].float()

    spread = samples.spread(Real(2, 1, 8, width=4, conditional=True))
    torch.testing.assert_close(spread, torch.ones(2).double(), atol=0.05, rtol=0)


def test_looking_at_samples_draws_nothing():
    torch.manual_seed(0)
    images = ImageSet(torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8), torch.arange(20) % 2)
    samples = Samples(images, 2, 1, 3, CPU)
    generator = Generator(2, 1, 8, width=4, conditional=True, codes=2)
    before, statistics = torch.get_rng_state(), generator.layers[1].running_mean.clone()
    assert torch.equal(samples.spread(generator), samples.spread(generator))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(statistics, generator.layers[1].running_mean)
    assert generator.training


def test_real_batches_are_uniform_and_of_their_class():
    targets = torch.tensor([0] * 3 + [1] * 9)[torch.randperm(12)]
    images = (targets * 100)[:, None, None, None].expand(-1, 1, 8, 8).byte().contiguous()
    by_class = RealBatches(ImageSet(images, targets), 500, 2, CPU)
    drawn, labels = by_class.draw()
    assert drawn.shape == (500, 2, 1, 8, 8)
    assert labels.unique(dim=0).tolist() == [[0, 1]]
    torch.testing.assert_close(drawn[:, 1], torch.full((500, 1, 8, 8), 100 / 127.5 - 1))
    drawn, labels = RealBatches(ImageSet(images, targets), 4000, 1, CPU).draw()
    assert drawn.shape == (4000, 1, 1, 8, 8)
    assert 0.2 < (labels == 0).float().mean() < 0.3
    assert torch.equal(drawn[:, 0, 0, 0, 0] > -0.5, labels == 1)


def test_a_class_without_images_is_reported(tmp_path):
    with pytest.raises(UserError, match="class 1 has no images"):
        RealBatches(ImageSet(torch.zeros(2, 1, 8, 8), torch.tensor([0, 2])), 4, 3, CPU)


def test_damaged_or_missing_generators_are_reported(tmp_path, configuration):
    with pytest.raises(UserError, match=r"is no generator's run \(no generator.safetensors\)"):
        load_generator(tmp_path)
    (tmp_path / "generator.safetensors").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="damaged, or no generator's file"):
        load_generator(tmp_path)


@pytest.mark.slow
def test_runs_of_a_version_without_the_running_mean_are_still_read(tmp_path, configuration, monkeypatch):
    """Their configuration, checkpoints and files lack what came with it; their names stay."""
    config = configuration(tmp_path, "generator=cgan", "schedule.average=0.0")
    older = GeneratorConfig(deepcopy(config.config), config.names)
    del older.config["schedule"]["average"]
    assert older.run_id == config.run_id and older.settings.schedule.average == 0
    save = checkpoint.save

    def without_mean(directory, epoch, state, step=None):
        save(directory, epoch, {key: value for key, value in state.items() if key != "mean"}, step)
        if epoch == 2:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoint, "save", without_mean)
        run(config)
    assert run(config)["epochs"] == 3
    whole = configuration(tmp_path / "whole", "generator=cgan", "schedule.average=0.0")
    run(whole)
    assert same_state(*(load_generator(each.directory).state_dict() for each in (config, whole)))


def test_a_file_of_a_version_without_digests_is_read(tmp_path):
    generator = Generator(10, 1, 8, width=4, conditional=True)
    save_generator(tmp_path, generator, "of the data", {"run_id": "some run"})
    path = tmp_path / FILE
    with safe_open(path, "pt") as opened:
        metadata = {key: value for key, value in opened.metadata().items() if key != "sha256"}
    path.write_bytes(save(load(path.read_bytes()), metadata))
    assert read_metadata(path).data_sha256 == "of the data"
