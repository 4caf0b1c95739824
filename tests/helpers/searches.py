"""Small searches in networks that nobody trained."""

import torch

from isda_bench.data.digits import Digits
from isda_bench.gan.networks import Generator
from isda_bench.inversion.descent import FixedClasses, Search, standardised
from isda_bench.models.resnet import ResNet


def networks(**kind):
    """Networks that nobody trained, whose BatchNorms have something to do."""
    torch.manual_seed(0)
    classifier, generator = ResNet(10, 8, in_channels=1), Generator(10, 1, 8, width=4, **kind)
    for module in [*classifier.modules(), *generator.modules()]:
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.normal_(module.weight, 1, 0.1)
        elif isinstance(module, torch.nn.ConvTranspose2d):
            torch.nn.init.normal_(module.weight, 0, 0.2)
    return tuple(network.eval().requires_grad_(False) for network in (classifier, generator))


def search(labels, eta=1.0, **kind):
    """The closed case of these networks."""
    classifier, generator = networks(**kind)
    images = FixedClasses(generator, labels, torch.rand(len(labels), generator.codes))
    return closed_case(classifier, images, eta)


def closed_case(classifier, images, eta):
    """A search for images that the generator itself has made."""
    torch.manual_seed(0)
    blank = Search(classifier, images, Digits(), torch.zeros(()), torch.zeros(()), eta)
    wanted = blank.image(standardised(torch.randn(len(images.labels), 100)))
    return Search(classifier, images, Digits(), classifier.features(wanted), wanted, eta)
