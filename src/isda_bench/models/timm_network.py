"""Any network of timm under the contract of the house, pretrained or not."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Self

import timm
from pydantic import Field, PositiveInt
from timm.models import group_parameters
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.models.base import Rate
from isda_bench.models.imagenet import Backbone
from isda_bench.models.pretrained import load_pretrained

Factor = Annotated[float, Field(gt=0, le=1)]


class TimmNetwork(Backbone):
    """A network of timm without its classifier, and a linear head behind its pooled features.

    Initialisation: timm's own of each network, where no weights are loaded; the head has PyTorch's default.

    Args:
        num_classes: size of the head.
        name: timm's name of the network; with `pretrained` also that of its weights: 'resnet18.a1_in1k'.
        pretrained: whether timm's weights are downloaded, where there is no file of them.
        weights: a file of weights for the backbone, with or without a classifier: safetensors, or a
            state_dict as torch.save writes it, also within a checkpoint or with 'module.' before its names.
        weights_sha256: of the file; one that differs is refused; null: any.
        freeze: whether the head alone is trained; BatchNorm then keeps its statistics, dropout drops nothing.
        backbone_rate: the backbone's learning rate as a part of the head's.
        layer_decay: factor of the learning rate from each layer to the one before it (Bao et al. 2022,
            "BEiT", appendix); 1: all layers have one rate.
        in_channels: channels of the images.
        dropout: rate of the features.
        image_size: side of the images in pixels, for a network that is made for images of one size, as vision
            transformers are; the position embeddings of weights are resampled for it. null: timm's own.

    Raises:
        ValueError: timm has no such network or weights; an `image_size` for a network that takes images of
            every size; weights that cannot be read or are another network's; rates of a frozen backbone.
        UserError: weights that cannot be downloaded.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        name: str,
        pretrained: bool = False,
        weights: str | None = None,
        weights_sha256: str | None = None,
        freeze: bool = False,
        backbone_rate: Factor = 1.0,
        layer_decay: Factor = 1.0,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
        image_size: PositiveInt | None = None,
    ) -> None:
        _check_name(name, pretrained and weights is None)
        if freeze and (backbone_rate, layer_decay) != (1, 1):
            raise ValueError(
                "freeze=true: a frozen backbone has no rates; leave backbone_rate and layer_decay 1"
            )
        settings = {"num_classes": 0, "in_chans": in_channels, "drop_rate": dropout}
        backbone = _created(name, image_size, settings)
        super().__init__(backbone, num_classes)
        self.only_size = _only_size(backbone)
        if layer_decay != 1 and not hasattr(backbone, "group_matcher"):
            raise ValueError(f"layer_decay={layer_decay}: timm does not know the layers of {name}")
        self.frozen = freeze
        self.backbone_rate = backbone_rate
        self.layer_decay = layer_decay
        self.loaded: dict[str, str] = {}
        if pretrained or weights is not None:
            checksum = load_pretrained(backbone, name, weights, weights_sha256)
            self.loaded = {"name": Path(weights).name if weights else name, "sha256": checksum or ""}
        backbone.requires_grad_(not freeze)

    def features(self, images: Tensor) -> Tensor:
        """The pooled features (N, A) of images (N, C, H, W).

        Raises:
            ValueError: the network takes images of another size alone.
        """
        size = tuple(images.shape[-2:])
        if self.only_size is not None and size != self.only_size:
            taken, found = (f"{height}x{width}" for height, width in (self.only_size, size))
            raise ValueError(
                f"the network takes images of {taken} pixels alone, these have {found}; "
                f"model.image_size={size[0]} makes it for them"
            )
        return super().features(images)

    def train(self, mode: bool = True) -> Self:
        """Puts the network into training mode, a frozen backbone never."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def pretraining(self) -> dict[str, str]:
        """Name and checksum of the weights."""
        return self.loaded

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The head, and the trained layers of the backbone with their parts of the head's rate."""
        head = {"params": list(self.head.parameters())}
        if self.frozen:
            return [head]
        if self.layer_decay == 1:
            return [{"params": list(self.backbone.parameters()), "rate": self.backbone_rate}, head]
        layers = group_parameters(
            self.backbone, self.backbone.group_matcher(coarse=False), reverse=True
        )  # name -> number
        count = 1 + max(layers.values())
        groups: dict[int, list[Any]] = {}
        for name, parameter in self.backbone.named_parameters():
            groups.setdefault(layers[name], []).append(parameter)
        rates = {layer: self.backbone_rate * self.layer_decay ** (count - layer) for layer in groups}
        return [{"params": groups[layer], "rate": rates[layer]} for layer in sorted(groups)] + [head]


def _created(name: str, image_size: int | None, settings: dict[str, Any]) -> nn.Module:
    """The network of timm without a classifier.

    Raises:
        ValueError: it cannot be made for images of this size.
    """
    if image_size is None:
        return timm.create_model(name, **settings)
    try:
        return timm.create_model(name, img_size=image_size, **settings)
    except TypeError as error:
        raise ValueError(
            f"image_size={image_size}: {name} takes images of every size; leave it null"
        ) from error
    except (AssertionError, RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"image_size={image_size}: {name} cannot be made for it: {reason}") from error


def _only_size(backbone: nn.Module) -> tuple[int, int] | None:
    """Height and width of the only images that a network takes; None where it takes others too."""
    embedding = getattr(backbone, "patch_embed", None)
    size = getattr(embedding, "img_size", None)
    if size is None or not getattr(embedding, "strict_img_size", True):
        return None
    return int(size[0]), int(size[1])


def _check_name(name: str, downloads: bool) -> None:
    """Raises ValueError if timm has no such network, or none of the weights that are to be downloaded."""
    network, _, tag = name.partition(".")
    if not timm.is_model(network) or ":" in name:
        close = get_close_matches(network, timm.list_models(), n=1, cutoff=0.6)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"name={name}: timm has no such network{hint}")
    tags = timm.list_pretrained(f"{network}.*")
    if (tag and name not in tags) or (downloads and not tag):
        choices = f"there are: {', '.join(tags)}" if tags else "there are none"
        raise ValueError(f"name={name}: does not name weights of timm; {choices}")
