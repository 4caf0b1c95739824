from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn import functional as F

from helpers.processes import run_python
from isda_bench.data.augment import Cutout, NoAugmentation, Standard
from isda_bench.errors import UserError

AUGMENTATIONS = sorted((Path(__file__).parents[2] / "conf" / "augment").glob("*.yaml"))
each_augmentation = pytest.mark.parametrize("path", AUGMENTATIONS, ids=lambda path: path.stem)


def build(path):
    given = {"dataset": {"padding": 4, "flip": True}, "augment": OmegaConf.load(path)}
    return instantiate(OmegaConf.create(given).augment)


def draw(n=16, channels=3, size=32):
    return torch.randint(256, (n, channels, size, size), dtype=torch.uint8)


@each_augmentation
@pytest.mark.parametrize("channels", [1, 3])
def test_uint8_batches_come_back_in_their_shape(path, channels):
    images = draw(channels=channels)
    before = images.clone()
    result = build(path)(images)
    assert result.shape == images.shape and result.dtype == torch.uint8
    assert torch.equal(images, before), "changes its input"


@each_augmentation
def test_the_default_generator_decides_the_draws(path):
    augmentation, images = build(path), draw()
    torch.manual_seed(3)
    first, state = augmentation(images), torch.get_rng_state()
    torch.manual_seed(3)
    assert torch.equal(augmentation(images), first)
    assert torch.equal(torch.get_rng_state(), state)
    if path.stem != "none":
        assert not torch.equal(augmentation(images), first)


@each_augmentation
def test_each_image_has_a_draw_of_its_own(path):
    if path.stem == "none":
        return
    same = draw(1).expand(64, -1, -1, -1)
    assert len({image.numpy().tobytes() for image in build(path)(same)}) > 40


def test_no_augmentation_gives_the_images_themselves():
    images = draw()
    assert NoAugmentation()(images) is images


@pytest.mark.parametrize("padding, flip", [(4, True), (4, False), (0, True), (1, False)])
def test_standard_gives_crops_of_the_reflected_image(padding, flip):
    images = draw(200, size=16)
    padded = F.pad(images.float(), (padding,) * 4, mode="reflect").to(torch.uint8)
    seen = set()
    for image, wide, result in zip(images, padded, Standard(padding, flip)(images), strict=True):
        found = [
            (y, x, mirrored)
            for y in range(2 * padding + 1)
            for x in range(2 * padding + 1)
            for mirrored in ((False, True) if flip else (False,))
            if torch.equal(crop(wide, y, x, image.shape[-1], mirrored), result)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert {place[2] for place in seen} == ({False, True} if flip else {False})
    assert {place[0] for place in seen} == {place[1] for place in seen} == set(range(2 * padding + 1))


def crop(wide, y, x, size, mirrored):
    part = wide[:, y : y + size, x : x + size]
    return part.flip(2) if mirrored else part


def test_cutout_blacks_out_one_square_around_a_uniform_centre():
    torch.manual_seed(0)
    n, side, size = 20_000, 32, 16
    holes = Cutout(0, False, size)(torch.ones(n, 1, side, side, dtype=torch.uint8))[:, 0] == 0
    for rows in (holes.any(2), holes.any(1)):  # along both sides
        first, length = rows.int().argmax(1), rows.sum(1)
        clipped = (first == 0) | (first + length == side)
        assert (length[~clipped] == size).all() and length.min() == size // 2
        centre = torch.where(first == 0, length - size // 2, first + size // 2)
        shares = centre.bincount(minlength=side) / n
        torch.testing.assert_close(shares, torch.full((side,), 1 / side), atol=0.006, rtol=0)
    assert torch.equal(holes, holes.any(2)[:, :, None] & holes.any(1)[:, None, :])


def test_cutout_comes_after_crop_and_flip_and_fills_with_zero():
    images = draw()
    torch.manual_seed(5)
    standard = Standard(4, True)(images)
    torch.manual_seed(5)
    result = Cutout(4, True, 16)(images)
    black = (result == 0).all(1, keepdim=True).expand_as(result)
    assert torch.equal(result[~black], standard[~black])
    assert 0.1 < black.float().mean() < 0.26


@pytest.mark.parametrize("name", ["cutout", "autoaugment", "randaugment"])
def test_a_hole_as_large_as_the_image_is_refused(name):
    augmentation = build(AUGMENTATIONS[0].with_name(f"{name}.yaml"))
    with pytest.raises(UserError, match=r"16x16 .* 8x8"):
        augmentation(draw(size=8))


@pytest.mark.parametrize("settings", [{"size": 0}, {"padding": -1}, {"flip": 1}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Cutout(**{"padding": 4, "flip": True} | settings)


def test_standard_does_not_import_torchvision():
    code = "import sys, isda_bench.data.augment; sys.exit('torchvision' in sys.modules)"
    run_python("-c", code).check()
