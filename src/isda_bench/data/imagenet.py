"""ImageNet, or any folder of its shape: one sub-folder a class below train/ and val/."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from isda_bench.arguments import checked
from isda_bench.data.decoding import Conversion
from isda_bench.data.image_folder import ImageFolder


class ImageNet(ImageFolder):
    """Images of any size, <root>/train/<class>/* and <root>/val/<class>/*, in the protocol of ImageNet.

    Worker processes read them. A training image is a random crop of 8 to 100% of its area, resized; the flip
    is that of `augment=standard`. For evaluation it is the centre of the resized image. The EXIF orientation
    is ignored, as by torchvision, timm and the published results.

    Args:
        root: the folder.
        num_classes: classes that it should have.
        image_size: side of the images that the network is given.
        resize: length to which the shorter side is resized before the centre is cut out for evaluation.
        random_crop: whether training images are random crops; else the centre, as for evaluation.
        workers: processes that read, for each rank; null: the machine's cores, shared by its ranks.
        unreadable_limit: training images that are left out where they cannot be read; one more is an error.
        train_size, val_size, split_seed, padding, flip, resample: as in `DataSet`. The padding is that of
            CIFAR's augmentations, which come after the crop.
        decoding: how the pixels of a file become 8-bit RGB (see `Decoding`); runs without this key had
            `pillow`.

    Raises:
        ValueError: a `resize` below the `image_size`.
    """

    published_images = 1_281_167

    @checked
    def __init__(
        self,
        root: Annotated[str, Field(min_length=1)] = "data/imagenet",
        num_classes: PositiveInt = 1000,
        image_size: PositiveInt = 224,
        resize: PositiveInt = 256,
        random_crop: bool = True,
        workers: NonNegativeInt | None = None,
        unreadable_limit: NonNegativeInt = 10,
        train_size: PositiveInt | None = None,
        val_size: NonNegativeInt = 0,
        split_seed: NonNegativeInt = 0,
        padding: NonNegativeInt = 0,
        flip: bool = True,
        decoding: Conversion = "pillow",
        resample: bool = False,
    ) -> None:
        super().__init__(
            root=root,
            num_classes=num_classes,
            image_size=image_size,
            resize=resize,
            random_crop=random_crop,
            in_memory=False,
            workers=workers,
            unreadable_limit=unreadable_limit,
            decoding=decoding,
            exif=False,
            train_size=train_size,
            val_size=val_size,
            split_seed=split_seed,
            padding=padding,
            flip=flip,
            resample=resample,
        )
