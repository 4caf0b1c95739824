"""ImageNet networks: timm's classes under the contract of the house, with nothing pretrained.

Sources: He et al. 2016, "Deep Residual Learning"; Xie et al. 2017, "Aggregated Residual Transformations";
Huang et al. 2017, "Densely Connected Convolutional Networks".
"""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

from typing import Any, Literal

from pydantic import PositiveInt
from timm.models import densenet, resnet
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.models.base import Classifier, Rate, he_initialise

RESNET_LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
DENSENET_LAYERS = {121: (6, 12, 24, 16), 265: (6, 12, 64, 48)}


class Backbone(Classifier):
    """A timm network built without a head, and a linear head behind its pooled features.

    Args:
        backbone: maps images to (N, A); timm's `head_hidden_size`, or `num_features`, is A.
        num_classes: size of the head.
    """

    def __init__(self, backbone: Any, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(getattr(backbone, "head_hidden_size", backbone.num_features), num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, A)."""
        return self.backbone(images)


class ImageNetResNet(Backbone):
    """ResNet and ResNeXt with bottleneck blocks, the stride in the 3x3 convolution; 2048 features.

    Initialisation: timm's, the same as torchvision's: He normal by fan-out for convolutions. The head has
    PyTorch's default.

    Args:
        num_classes: size of the head.
        depth: 50, 101 or 152 layers.
        groups: cardinality of the 3x3 convolutions; 1 is ResNet.
        width_per_group: channels of one group in the first stage.
        zero_init_last: start every block as its shortcut: zeros in its last BatchNorm.
        in_channels: channels of the images.
        dropout: rate of the features.

    Raises:
        ValueError: another depth, a rate outside [0, 1), a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: Literal[50, 101, 152],
        groups: PositiveInt = 1,
        width_per_group: PositiveInt = 64,
        zero_init_last: bool = False,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        backbone = resnet.ResNet(
            resnet.Bottleneck,  # type: ignore[arg-type]  # timm annotates an instance where it takes the class
            RESNET_LAYERS[depth],
            num_classes=0,
            in_chans=in_channels,
            cardinality=groups,
            base_width=width_per_group,
            drop_rate=dropout,
            zero_init_last=zero_init_last,
        )
        super().__init__(backbone, num_classes)


class ImageNetDenseNet(Backbone):
    """DenseNet-BC with four blocks; 1024 features at depth 121 and growth rate 32.

    The network is timm's: a 7x7 convolution of stride 2 to 2 k channels, BatchNorm, ReLU and a 3x3 maximum
    of stride 2, then blocks of bottlenecks with 4 k channels and transitions that halve the channels. That
    is the paper's table 1 and section 4.2. Other code differs in the stem: torchvision's has as many
    channels as it is asked for (64 by default, the same at k = 32), ISDA's reference code 24 at every k.
    Dropout acts once, on the pooled features; the paper's acts behind each convolution, not on ImageNet.

    Initialisation: timm's, the same as torchvision's, He normal by fan-in for convolutions; `fan_out` is
    that of the paper's own and of ISDA's reference code. The head has PyTorch's default, where timm and
    torchvision begin with a bias of zero. ISDA's published ImageNet numbers belong to fan-out and to the
    stem of 24 channels, which timm cannot build.

    Args:
        num_classes: size of the head.
        depth: 121, or the paper's 265 (the DenseNet paper calls it 264).
        growth_rate: k, the new features of a layer; the stem has 2 k.
        initialisation: whether the standard deviation of a convolution's weights counts its input channels
            (`fan_in`) or its output channels (`fan_out`).
        in_channels: channels of the images.
        dropout: rate of the features.

    Raises:
        ValueError: another depth, a rate outside [0, 1), a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: Literal[121, 265],
        growth_rate: PositiveInt = 32,
        initialisation: Literal["fan_in", "fan_out"] = "fan_in",
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        backbone = densenet.DenseNet(
            growth_rate,
            DENSENET_LAYERS[depth],
            num_classes=0,
            in_chans=in_channels,
            drop_rate=dropout,
        )
        super().__init__(backbone, num_classes)
        if initialisation == "fan_out":
            he_initialise(self)
