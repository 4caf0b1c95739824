import pytest
import torch

from isda_bench.data.auto_augment import AutoAugment, RandAugment
from isda_bench.data.image_operations import CIFAR10_POLICY, OPERATIONS, Choice, apply_choices, choose

# isort: split
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import autoaugment as pil_operations
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

FILL = 128
NO_SIZE = {"AutoContrast", "Equalize", "Invert", "Identity"}
each_operation = pytest.mark.parametrize("name", sorted(OPERATIONS))


@pytest.fixture
def images():
    """Smooth random images: like photographs, neighbours resemble one another."""
    torch.manual_seed(0)
    coarse = torch.rand(12, 3, 6, 6) * 255
    return torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 255).to(torch.uint8)


def torchvision_magnitude(name, bins, bin_):
    space = v2.RandAugment._AUGMENTATION_SPACE | v2.AutoAugment._AUGMENTATION_SPACE
    magnitudes = space[name][0](bins, 32, 32)
    return 0.0 if magnitudes is None else float(magnitudes[bin_])


@each_operation
@pytest.mark.parametrize("bins, bin_", [(10, 0), (10, 3), (10, 7), (10, 9), (31, 5), (31, 14), (31, 30)])
@pytest.mark.parametrize("negative", [False, True])
def test_each_operation_is_torchvision_s(images, name, bins, bin_, negative):
    magnitude = torchvision_magnitude(name, bins, bin_)
    if OPERATIONS[name].signed and negative:
        magnitude = -magnitude
    theirs = v2.AutoAugment(fill=FILL)
    arguments = (images, name, magnitude, InterpolationMode.NEAREST, theirs._fill)
    wanted = theirs._apply_image_or_video_transform(*arguments)
    got = apply_choices(images, [choose(name, bin_ / (bins - 1), negative)] * len(images), FILL)
    difference = (got.int() - wanted.int()).abs()
    assert difference.max() <= 1  # their magnitudes are float32 numbers
    assert (difference > 0).float().mean() < 0.05


@each_operation
def test_magnitudes_have_a_sign_where_torchvision_s_have(name):
    space = v2.RandAugment._AUGMENTATION_SPACE | v2.AutoAugment._AUGMENTATION_SPACE
    assert OPERATIONS[name].signed == space[name][1]


@each_operation
@pytest.mark.parametrize("negative", [False, True])
def test_each_operation_looks_like_pil_s(images, name, negative):
    magnitude = torchvision_magnitude(name, 10, 6) * (255 if name == "Solarize" else 1)
    if OPERATIONS[name].signed and negative:
        magnitude = -magnitude
    got = apply_choices(images, [choose(name, 6 / 9, negative)] * len(images), FILL)
    for image, result in zip(images, got, strict=True):
        arguments = (to_pil_image(image), name, magnitude, InterpolationMode.NEAREST, [FILL] * 3)
        wanted = pil_to_tensor(pil_operations._apply_op(*arguments))
        assert (result.int() - wanted.int()).abs().float().mean() < 4


def test_images_with_different_choices_do_not_mix(images):
    choices = [choose(name, 0.7, i % 2 == 0) for i, name in enumerate(sorted(OPERATIONS))][: len(images)]
    choices[3] = None
    together = apply_choices(images, choices, FILL)
    for i, choice in enumerate(choices):
        alone = images[i] if choice is None else apply_choices(images[i : i + 1], [choice], FILL)[0]
        assert torch.equal(together[i], alone), choice


def test_pixels_from_outside_the_image_are_grey(images):
    moved = apply_choices(images, [choose("TranslateX", 1.0, False)] * len(images), FILL)
    assert (moved[..., :14] == FILL).all() and torch.equal(moved[..., 14:], images[..., :18])


def test_autoaugment_draws_sub_policies_operations_and_signs_as_published():
    torch.manual_seed(0)
    n = 60_000
    first, second = AutoAugment(4, True).draw(n)
    expected = {}
    for sub_policy in CIFAR10_POLICY:
        for k, (name, probability, bin_) in enumerate(sub_policy):
            for negative in (False, True):
                key = (k, choose(name, (bin_ or 0) / 9, negative))
                expected[key] = expected.get(key, 0) + probability / len(CIFAR10_POLICY) / 2
    drawn = {}
    for k, choices in enumerate((first, second)):
        for choice in choices:
            if choice is not None:
                drawn[k, choice] = drawn.get((k, choice), 0) + 1 / n
    assert set(drawn) <= set(expected)
    for key, share in expected.items():
        assert drawn.get(key, 0) == pytest.approx(share, abs=0.003), key


def test_both_operations_of_an_image_come_from_one_sub_policy():
    pairs = {tuple(name for name, _, _ in sub_policy) for sub_policy in CIFAR10_POLICY}
    for one, other in zip(*AutoAugment(4, True).draw(3000), strict=True):
        if one is not None and other is not None:
            assert (one.operation, other.operation) in pairs


def test_randaugment_draws_fourteen_operations_alike():
    torch.manual_seed(0)
    n, augmentation = 42_000, RandAugment(4, True, strength=9)
    choices = augmentation.draw(n)
    names = [choice.operation for choice in choices]
    assert len(augmentation.operations) == 14
    for name in augmentation.operations:
        assert names.count(name) / n == pytest.approx(1 / 14, abs=0.006)
    rotations = [choice.magnitude for choice in choices if choice.operation == "Rotate"]
    assert {round(r, 6) for r in rotations} == {-9.0, 9.0}
    assert sum(r > 0 for r in rotations) / len(rotations) == pytest.approx(0.5, abs=0.05)


def test_the_order_is_crop_and_flip_operations_hole(monkeypatch, images):
    for augmentation in (AutoAugment(4, True), RandAugment(4, True)):
        with_hole = type(augmentation)(4, True)
        without = type(augmentation)(4, True, cutout=None)
        torch.manual_seed(7)
        whole = without(images)
        torch.manual_seed(7)
        holed = with_hole(images)
        black = (holed == 0).all(1, keepdim=True).expand_as(holed)
        assert torch.equal(holed[~black], whole[~black])
        assert (holed == 0).float().mean() > (whole == 0).float().mean()


def test_operations_of_strength_zero_change_nothing(images):
    for name in set(OPERATIONS) - NO_SIZE - {"Solarize"}:
        assert choose(name, 0.0, True) == Choice(name, 0.0)
        assert torch.equal(apply_choices(images, [choose(name, 0.0, True)] * len(images), FILL), images), name


@pytest.mark.parametrize("settings", [{"num_operations": 0}, {"strength": 31}, {"fill": 256}, {"cutout": 0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        RandAugment(4, True, **settings)
