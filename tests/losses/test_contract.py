import inspect

import pytest
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from torch import nn

from helpers.batches import make_batch, outputs_of, value_and_gradients
from helpers.loss_settings import A, C, build, each_loss, each_setting
from isda_bench.losses import Outputs


@each_loss
def test_the_file_lists_every_setting_with_the_constructor_s_default(path):
    config = dict(OmegaConf.load(path))
    parameters = inspect.signature(get_class(config.pop("_target_")).__init__).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    assert config == defaults


@each_setting
def test_float32_in_float32_out_and_float64_stays(path, settings):
    for dtype in (torch.float32, torch.float64):
        value, *gradients = value_and_gradients(build(path, **settings), make_batch(dtype=dtype))
        assert value.shape == () and value.dtype == dtype and value.isfinite()
        assert all(gradient.dtype == dtype for gradient in gradients)


@each_setting
def test_under_bf16_autocast_the_loss_is_float32(path, settings):
    loss, batch = build(path, **settings), make_batch(dtype=torch.float32)
    head = nn.Linear(A, C)
    with torch.autocast("cpu", torch.bfloat16):
        features = (batch.features @ torch.eye(A)).requires_grad_()
        logits = head(features)
        assert features.dtype == logits.dtype == torch.bfloat16
        value = loss(Outputs(features, logits, head), batch.targets, 0.5)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    assert head.weight.grad.dtype == torch.float32 and features.grad.isfinite().all()


@each_setting
def test_a_checkpoint_carries_the_state(path, settings):
    loss, other, batch = build(path, **settings), build(path, **settings), make_batch(dtype=torch.float32)
    value_and_gradients(loss, batch)
    other.load_state_dict(loss.state_dict())
    got, wanted = value_and_gradients(other.eval(), batch), value_and_gradients(loss.eval(), batch)
    assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True))


@each_loss
@pytest.mark.parametrize("wrong", [-1, C])
def test_labels_out_of_range_are_named(path, wrong):
    batch = make_batch()
    targets = batch.targets.clone()
    targets[0] = wrong
    with pytest.raises(ValueError, match=rf"{wrong}.*0\.\.{C - 1}"):
        build(path)(outputs_of(*batch[:3]), targets, 0.5)


@each_loss
def test_wrong_sizes_are_refused(path):
    config = OmegaConf.load(path)
    with pytest.raises(Exception, match="num_classes"):
        instantiate(config, num_classes=0, feature_dim=A)


@each_setting
def test_torch_compile_captures_the_training_form(path, settings):
    """Loss, gradients and statistics update as one graph; on the CPU and for CUDA's fixed shapes alike."""
    if settings.get("covariance") == "lowrank":
        pytest.skip("its shapes depend on the batch")

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.loss = nn.Linear(A, C), build(path, **settings)

        def forward(self, features, targets, progress):
            return self.loss(Outputs(features, self.head(features), self.head), targets, progress)

    torch._dynamo.reset()
    torch.manual_seed(0)
    step, other = Step(), Step()
    other.load_state_dict(step.state_dict())
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    for n, seed in ((23, 1), (23, 2)):
        batch = make_batch(n, dtype=torch.float32, seed=seed)
        for call in (step, compiled):
            torch.manual_seed(seed)
            call(batch.features, batch.targets, torch.tensor(0.4)).backward()
    for (name, parameter), (_, twin) in zip(step.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(twin.grad, parameter.grad, msg=name)
    torch.testing.assert_close(dict(other.named_buffers()), dict(step.named_buffers()))
