"""Names as papers print them, where a table gives no label of its own."""

import re

NAMES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "svhn": "SVHN",
    "digits": "Digits",
    "cross_entropy": "Cross-entropy",
    "isda": "ISDA",
    "focal": "Focal loss",
    "lq": "Lq loss",
    "center": "Center loss",
    "large_margin": "Large margin",
    "disturb_label": "DisturbLabel",
    "label_smoothing": "Label smoothing",
    "wgan": "WGAN",
    "cgan": "CGAN",
    "acgan": "ACGAN",
    "infogan": "infoGAN",
    "cutout": "Cutout",
    "autoaugment": "AutoAugment",
    "randaugment": "RandAugment",
    "mixup": "mixup",
    "cutmix": "CutMix",
    "standard": "Standard augmentation",
    "none": "No augmentation",
}
NETWORKS = (
    (r"resnet(\d+)", r"ResNet-\1"),
    (r"se_resnet(\d+)", r"SE-ResNet-\1"),
    (r"wrn(\d+)_(\d+)", r"Wide-ResNet-\1-\2"),
    (r"resnext(\d+)_(\d+)x(\d+)d", r"ResNeXt-\1 (\2x\3d)"),
    (r"densenet_bc_(\d+)_(\d+)", r"DenseNet-BC-\1-\2"),
    (r"densenet(\d+)", r"DenseNet-\1"),
    (r"shake_shake_(\d+)_(\w+)", r"Shake-Shake (\1, \2)"),
    (r"pyramidnet(\d+)_a(\d+)", r"PyramidNet-\1 (\2)"),
)
"""Pattern of a network's name and how papers write it."""


def display_name(name: str) -> str:
    """'ResNet-110' for 'resnet110', 'ISDA (strength=0.25) + dropout'; a name that is not known as it is."""
    return " + ".join(_part(part) for part in name.split(" + "))


def _part(name: str) -> str:
    word, space, settings = name.partition(" (")
    for pattern, written in NETWORKS:
        if re.fullmatch(pattern, word):
            return re.sub(pattern, written, word) + space + settings
    return NAMES.get(word, word) + space + settings
