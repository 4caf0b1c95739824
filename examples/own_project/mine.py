"""A network of one's own: three convolutions, a mean over the image, one linear layer."""

from pydantic import PositiveInt
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.models.base import Classifier, convolution, he_initialise


class Mine(Classifier):
    """`features` gives what ISDA augments; `head` is the linear layer behind it.

    Args:
        num_classes: logits of an image.
        width: channels of the first convolution; each later one has twice as many.
        in_channels: channels of the images.
    """

    @checked
    def __init__(
        self, num_classes: PositiveInt, width: PositiveInt = 16, in_channels: PositiveInt = 3
    ) -> None:
        super().__init__()
        channels = [in_channels, width, 2 * width, 4 * width]
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [convolution(channels[i], channels[i + 1], kernel=3, stride=1 if i == 0 else 2)]
            layers += [nn.BatchNorm2d(channels[i + 1]), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels[-1], num_classes)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, 4 * width) of images (N, C, H, W)."""
        return self.body(images).mean((2, 3))
