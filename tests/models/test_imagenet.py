import pytest
import torch
from torch.testing import assert_close

from isda_bench.models.imagenet import ImageNetDenseNet, ImageNetResNet


@pytest.mark.parametrize("zero_init_last", [False, True])
def test_last_batch_norm_starts_at_zero_on_demand(zero_init_last):
    model = ImageNetResNet(num_classes=10, depth=50, width_per_group=4, zero_init_last=zero_init_last)
    last = torch.cat(
        [block.bn3.weight for layer in range(1, 5) for block in getattr(model.backbone, f"layer{layer}")]
    )
    assert torch.equal(last, torch.zeros_like(last) if zero_init_last else torch.ones_like(last))


@pytest.mark.parametrize("network", [ImageNetResNet, ImageNetDenseNet])
def test_dropout_stands_before_the_head(network):
    depth = 50 if network is ImageNetResNet else 121
    small = {"width_per_group": 4} if network is ImageNetResNet else {"growth_rate": 4}
    model = network(num_classes=10, depth=depth, dropout=0.5, **small)
    model.eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = model.features(images)
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        dropped = model.features(images)
    lost = (dropped == 0) & (features != 0)
    assert 0.2 < lost.sum() / (features != 0).sum() < 0.8
    assert_close(dropped[~lost], 2 * features[~lost])


@pytest.mark.parametrize("growth_rate", [16, 32])
def test_the_stem_of_a_densenet_has_twice_the_growth_rate_as_timm_s_has(growth_rate):
    with torch.device("meta"):
        stem = ImageNetDenseNet(10, 121, growth_rate).backbone.features.conv0
    assert (stem.out_channels, stem.kernel_size, stem.stride) == (2 * growth_rate, (7, 7), (2, 2))
