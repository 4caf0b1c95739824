import errno
import os
import pickle

import pytest
import torch

from helpers.run_files import checkpoint_name
from isda_bench.errors import UserError
from isda_bench.storage import checkpoint


def state(value: float) -> dict:
    return {"weights": torch.full((3, 2), value), "metrics": [{"epoch": 1, "loss": value}]}


def test_round_trip_keeps_the_newest_two(tmp_path):
    for epoch in range(1, 5):
        checkpoint.save(tmp_path, epoch, state(float(epoch)))
    loaded = checkpoint.load_newest(tmp_path)
    assert torch.equal(loaded["weights"], torch.full((3, 2), 4.0))
    assert loaded["metrics"] == [{"epoch": 1, "loss": 4.0}]
    assert [path.name[:16] for path in checkpoint.checkpoints(tmp_path)] == [
        "checkpoint-00004",
        "checkpoint-00003",
    ]


def test_no_checkpoint(tmp_path):
    assert checkpoint.load_newest(tmp_path) is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_damaged_newest_falls_back_to_the_one_before(tmp_path, capsys, damage):
    checkpoint.save(tmp_path, 1, state(1.0))
    newest = checkpoint.save(tmp_path, 2, state(2.0))
    content = bytearray(newest.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"truncate": content[:-10], "flip": content, "empty": b""}[damage])
    assert checkpoint.load_newest(tmp_path)["weights"][0, 0] == 1.0
    message = capsys.readouterr().err
    assert newest.name in message and "damaged" in message


def test_damaged_checkpoints_do_not_crowd_out_new_ones(tmp_path, capsys):
    for epoch in (19, 20):
        checkpoint.save(tmp_path, epoch, state(1.0)).write_bytes(b"damaged")
    assert checkpoint.load_newest(tmp_path) is None
    assert "there is no other" in capsys.readouterr().err
    assert checkpoint.save(tmp_path, 1, state(2.0)).exists()
    assert checkpoint.load_newest(tmp_path)["weights"][0, 0] == 2.0


def test_a_pickle_is_not_executed(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    content = pickle.dumps(Hostile())
    name = checkpoint_name(1, content)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="refused: not a checkpoint"):
        checkpoint.load(tmp_path / name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_never_stored(tmp_path, value):
    kept = checkpoint.save(tmp_path, 1, state(1.0))
    wrong = state(2.0)
    wrong["weights"][2, 1] = value
    with pytest.raises(checkpoint.NonFiniteState, match=r"after epoch 2: weights: stopped"):
        checkpoint.save(tmp_path, 2, wrong)
    with pytest.raises(checkpoint.NonFiniteState, match=r"metrics\.0\.loss"):
        checkpoint.save(tmp_path, 2, state(2.0) | {"metrics": [{"loss": value}]})
    assert list(tmp_path.iterdir()) == [kept]


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path, monkeypatch):
    kept = checkpoint.save(tmp_path, 1, state(1.0))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        checkpoint.save(tmp_path, 2, state(2.0))
    assert list(tmp_path.iterdir()) == [kept]
