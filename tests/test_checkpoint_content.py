"""Whole checkpoints with wrong content: one error that names the file, before the first step."""

import io
from copy import deepcopy

import pytest
import torch

from helpers.planted import put
from helpers.run_files import checkpoint_name
from helpers.tiny import TINY
from isda_bench.config.components import build_classifier_and_loss, build_dataset
from isda_bench.config.compose import compose_run
from isda_bench.data.loader import Loader
from isda_bench.errors import UserError
from isda_bench.loading import load_run
from isda_bench.storage import checkpoint
from isda_bench.storage.checkpoint_content import check_optimizer
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.run import run
from isda_bench.training.state import RunState
from isda_bench.training.step import TrainingModule

ZERO = torch.zeros(1)
ITSELF: list = []
ITSELF.append(ITSELF)
WEIGHT, MOMENTUM = ("model", "head.weight"), ("optimizer", "state", 0)
WRONG = [
    (("model",), ...),
    (("model",), [ZERO]),
    (WEIGHT, ...),
    (WEIGHT, ZERO),
    (WEIGHT, [[0.0]]),
    (WEIGHT, torch.zeros(10, 64, dtype=torch.int32)),
    (WEIGHT, torch.zeros(10, 64, dtype=torch.complex64)),
    (WEIGHT, torch.empty(10, 64, device="meta")),
    (WEIGHT, torch.zeros(10, 64).to_sparse()),
    (WEIGHT, ITSELF),
    (("model", "planted"), ZERO),
    (("loss", "statistics.count"), torch.zeros(10)),
    (("optimizer",), []),
    (("optimizer", "param_groups"), {}),
    (("optimizer", "param_groups", 0, "momentum"), "much"),
    (("optimizer", "param_groups", 0, "nesterov"), 1),
    (("optimizer", "param_groups", 0, "initial_lr"), ...),
    (("optimizer", "param_groups", 0, "params"), [0]),
    (MOMENTUM, [ZERO]),
    ((*MOMENTUM, "momentum_buffer"), ZERO),
    ((*MOMENTUM, "momentum_buffer"), [0.0]),
    ((*MOMENTUM, "momentum_buffer"), ...),
    (("rng_states",), ...),
    (("rng_states", "cpu"), ZERO),
    (("metrics",), ...),
    (("metrics",), {}),
    (("metrics",), [{"epoch": n + 1, "seconds": 1.0} for n in range(9)]),
    (("metrics", 0), "epoch"),
    (("metrics", 0, "epoch"), 2),
    (("metrics", 0, "epoch"), True),
    (("metrics", 0, "seconds"), ...),
    (("metrics", 0, "seconds"), 0),
    (("metrics", 0, "train_loss"), "low"),
    (("within", "position", "order"), torch.zeros(200, dtype=torch.int64)),
    (("within", "position", "order"), list(range(200))),
    (("within", "position", "order"), torch.arange(100)),
    (("within", "position", "step"), "2"),
    (("within", "position", "step"), -1),
    (("within", "position"), ...),
    (("within", "sums"), [[1.0, 2.0, 3.0]]),
    (("within", "sums"), [torch.zeros(2, dtype=torch.float64)]),
    (("within", "seconds"), None),
    (("within",), [ZERO]),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run, and the state in its newest checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    more = ["schedule.epochs=2", "schedule.milestones=[]", "loss=isda", f"runs_dir={folder}"]
    config = compose_run([*TINY, *more])
    run(config)
    return config, checkpoint.load_newest(config.directory)


def write(directory, state):
    """Makes the state the only checkpoint of the run."""
    for path in checkpoint.checkpoints(directory):
        path.unlink()
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = directory / checkpoint_name(2, buffer.getvalue())
    path.write_bytes(buffer.getvalue())
    return path


def state_of(config):
    dataset = build_dataset(config.settings)
    module = TrainingModule(*build_classifier_and_loss(config.settings, dataset))
    optimizer = make_optimizer(module, config.settings.schedule)
    batches = Loader(dataset.load().train, 64, torch.device("cpu"), [], shuffle=True)
    return RunState(module, optimizer, batches, RunDirectory(config), None)


@pytest.mark.parametrize(("place", "value"), WRONG, ids=str)
def test_wrong_content_is_one_error_before_the_first_step(whole, place, value):
    config, state = whole
    state = deepcopy(state)
    position = {"order": torch.arange(200), "seed": 0, "step": 2}
    state["within"] = {"position": position, "sums": [torch.zeros(3).double()], "seconds": 1.0}
    put(state, place, value)
    path = write(config.directory, state)
    with pytest.raises(UserError) as raised:
        state_of(config).resume(config.settings.schedule.epochs)
    message = str(raised.value)
    assert "rerun=true" in message or "training images" in message
    assert path.name in message or "training images" in message
    assert "\n" not in message


def test_the_right_content_is_taken(whole):
    config, state = whole
    write(config.directory, state)
    assert state_of(config).resume(2) == state["metrics"]


def test_a_state_that_is_not_finite_falls_back_to_the_one_before(whole, capsys):
    config, state = whole
    before = write(config.directory, state | {"metrics": state["metrics"][:1]})
    before.rename(before.with_name(before.name.replace("00002", "00001")))
    buffer = io.BytesIO()
    torch.save(state | {"more": torch.tensor([torch.nan])}, buffer)
    (config.directory / checkpoint_name(2, buffer.getvalue())).write_bytes(buffer.getvalue())
    assert len(checkpoint.load_newest(config.directory)["metrics"]) == 1
    assert "using the one before" in capsys.readouterr().err


@pytest.mark.parametrize("place", [WEIGHT, ("model",)], ids=str)
def test_a_finished_run_is_not_loaded_from_it(whole, place):
    config, state = whole
    state = deepcopy(state)
    put(state, place, [0.0, 0.0])
    path = write(config.directory, state)
    with pytest.raises(UserError, match=path.name):
        load_run(config.directory)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adafactor, torch.optim.RMSprop])
def test_every_optimizer_s_own_state_is_taken_and_a_part_of_it_is_not(kind):
    parameters = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(3))]
    made, again = (kind(parameters, lr=0.01) for _ in range(2))
    for _ in range(2):
        sum(p.square().sum() for p in parameters).backward()
        made.step()
    state = made.state_dict()
    check_optimizer(again, state)
    for key in list(state["state"][0]):
        part = deepcopy(state)
        del part["state"][0][key]
        with pytest.raises(ValueError, match=key):
            check_optimizer(again, part)
