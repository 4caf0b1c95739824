"""The contract that every network keeps: features, then one linear layer."""

from torch import Tensor, nn


class Classifier(nn.Module):
    """A network whose last layer, `head`, is linear: ISDA augments what stands before it."""

    head: nn.Linear

    @property
    def feature_dim(self) -> int:
        """A, the number of deep features of an image."""
        return self.head.in_features

    def features(self, images: Tensor) -> Tensor:
        """Deep features a of `images` (N, C, H, W), shape (N, A)."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of `images` (N, C, H, W)."""
        return self.head(self.features(images))


def he_initialise(model: nn.Module) -> None:
    """He initialisation of every convolution (normal, by fan-out); BatchNorm starts as the identity.

    Source: He et al. 2015, "Delving Deep into Rectifiers", Eq. 14.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
