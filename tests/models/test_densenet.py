import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.testing import assert_close

from isda_bench.models.densenet import DenseNet


def _trained_once(checkpointing):
    """The network after one backward pass, and the bytes that the forward pass kept for it."""
    torch.manual_seed(0)
    model = DenseNet(num_classes=10, depth=40, growth_rate=4, checkpointing=checkpointing, dropout=0.2)
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(torch.randn(4, 3, 16, 16)).square().mean()
    loss.backward()
    return model, sum(storages.values())


def test_checkpointing_changes_the_memory_and_no_number():
    (plain, kept), (checkpointed, kept_checkpointed) = (_trained_once(option) for option in (False, True))
    assert kept_checkpointed < 0.7 * kept
    for a, b in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    for key, value in plain.state_dict().items():  # the running statistics among them
        assert torch.equal(value, checkpointed.state_dict()[key]), key


def test_checkpointing_does_nothing_in_evaluation():
    torch.manual_seed(0)
    model = DenseNet(num_classes=10, depth=10, growth_rate=4, checkpointing=True).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, 16, 16)).isfinite().all()


@pytest.mark.slow
def test_checkpointing_compiles_whole_and_counts_a_batch_once():
    torch.manual_seed(0)
    model, images = (
        DenseNet(num_classes=3, depth=10, growth_rate=4, checkpointing=True),
        torch.randn(2, 3, 8, 8),
    )
    other = copy.deepcopy(model)
    for network in (torch.compile(model, backend="aot_eager", fullgraph=True), other):
        network(images).sum().backward()
    for (key, value), expected in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert_close(value, expected, msg=key)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(a.grad, b.grad)
