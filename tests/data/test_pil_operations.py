"""Image operations on a batch, compared with Pillow's on an image at a time, to the grey level."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from isda_bench.config.compose import compose_run
from isda_bench.data.auto_augment import SCALE_ASSUMPTION, AutoAugment, RandAugment
from isda_bench.data.pil_operations import Operation, apply_rows, kinds_of, rows_of

CPU = torch.device("cpu")
SIGNED = [
    *("ShearX", "ShearY", "SmoothShearY", "TranslateX", "TranslateY", "Rotate"),
    *("Color", "Contrast", "Brightness", "Sharpness"),
]
UNSIGNED = [
    *("ShearX", "ShearY", "SmoothShearY", "TranslateX", "TranslateY", "Rotate"),
    *("Color", "Contrast", "Brightness", "Sharpness"),
]


@pytest.fixture(autouse=True)
def one_thread():
    """These batches are small: threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(channels: int, height: int, width: int) -> torch.Tensor:
    """Ten images: smooth ones, noise, a plain one, one of two levels, a dark one."""
    torch.manual_seed(0)
    coarse = 255 * torch.rand(10, channels, 6, 6)
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255)
    images[0], images[1, :, ::2], images[1, :, 1::2] = 7, 0, 255
    images[2] = torch.rand(channels, height, width) * 256
    images[3] /= 8
    return images.to(torch.uint8)


def pillow(name: str, strength: float, image: Image.Image) -> Image.Image:
    """The operation as the ISDA authors' code has it; the unsmoothed shears take the nearest pixel."""
    fill = (128, 128, 128) if image.mode == "RGB" else 128
    width, height = image.size

    def affine(*matrix, resample=Image.Resampling.NEAREST):
        return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)

    if name in ("Color", "Contrast", "Brightness", "Sharpness"):
        return getattr(ImageEnhance, name)(image).enhance(1 + 0.9 * strength)
    if name == "Rotate":
        turned = image.convert("RGBA").rotate(30 * strength)
        below = Image.new("RGBA", turned.size, (128,) * 4)
        return Image.composite(turned, below, turned).convert(image.mode)
    return {
        "Identity": lambda: image,
        "ShearX": lambda: affine(1, 0.3 * strength, 0, 0, 1, 0),
        "ShearY": lambda: affine(1, 0, 0, 0.3 * strength, 1, 0),
        "SmoothShearY": lambda: affine(1, 0, 0, 0.3 * strength, 1, 0, resample=Image.Resampling.BICUBIC),
        "TranslateX": lambda: affine(1, 0, 150 / 331 * strength * width, 0, 1, 0),
        "TranslateY": lambda: affine(1, 0, 0, 0, 1, 150 / 331 * strength * height),
        "Posterize": lambda: ImageOps.posterize(image, int(np.round(8 - 4 * strength))),
        "Solarize": lambda: ImageOps.solarize(image, 256 - 256 * strength),
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Invert": lambda: ImageOps.invert(image),
    }[name]()


def one_by_one(operations: list[Operation], images: torch.Tensor) -> torch.Tensor:
    results = []
    for operation, image in zip(operations, images, strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        result = pillow(*operation, Image.fromarray(pixels[..., 0] if len(image) == 1 else pixels))
        results.append(torch.from_numpy(np.array(result)).view(*image.shape[1:], -1).permute(2, 0, 1))
    return torch.stack(results)


@pytest.mark.parametrize("name", SIGNED + UNSIGNED)
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 33, 47)])
def test_each_operation_is_pillows_to_the_grey_level(name, shape):
    images = draw(*shape)
    strengths = [*np.arange(10) / 9, 5 / 30, 17 / 30]
    for strength in [*strengths, *(-s for s in strengths)] if name in SIGNED else strengths:
        operations = [Operation(name, strength)] * len(images)
        given = apply_rows(images, rows_of(operations, *shape[1:], CPU), kinds_of(operations), 128)
        assert torch.equal(given, one_by_one(operations, images)), strength


@pytest.mark.parametrize("masked", [True, False])
def test_images_with_different_operations_do_not_mix(masked):
    names = SIGNED + UNSIGNED
    images = draw(3, 32, 32).repeat(2, 1, 1, 1)[: len(names)]
    operations = [Operation(name, 0.6) for name in names]
    rows, before = rows_of(operations, 32, 32, CPU), images.clone()
    given = apply_rows(images, rows, kinds_of(operations), 128, masked)
    assert torch.equal(given, one_by_one(operations, images))
    assert torch.equal(images, before)


@pytest.mark.parametrize("augment", [AutoAugment, RandAugment])
def test_no_shape_and_no_step_depends_on_the_random_numbers(augment):
    """On the meta device no tensor has a value: what reads one (an index, a list, a branch) fails."""
    images = torch.zeros(16, 3, 32, 32, dtype=torch.uint8, device="meta")
    assert augment(4, True, operations="pillow")(images).shape == images.shape


def test_a_translation_is_rounded():
    """150 / 331 / 9 of 32 pixels are 1.61: two pixels, where `int` would say one."""
    images = draw(3, 32, 32)
    rows = rows_of([Operation("TranslateX", 1 / 9)] * len(images), 32, 32, CPU)
    moved = apply_rows(images, rows, ["Affine"], 128)
    assert torch.equal(moved[..., :-2], images[..., 2:]) and (moved[..., -2:] == 128).all()


AUTHORS = """0.1 Invert 7 0.2 Contrast 6|0.7 Rotate 2 0.3 TranslateX 9|0.8 Sharpness 1 0.9 Sharpness 3
0.5 ShearY 8 0.7 TranslateY 9|0.5 AutoContrast 8 0.9 Equalize 2|0.2 ShearY 7 0.3 Posterize 7
0.4 Color 3 0.6 Brightness 7|0.3 Sharpness 9 0.7 Brightness 9|0.6 Equalize 5 0.5 Equalize 1
0.6 Contrast 7 0.6 Sharpness 5|0.7 Color 7 0.5 TranslateX 8|0.3 Equalize 7 0.4 AutoContrast 8
0.4 TranslateY 3 0.2 Sharpness 6|0.9 Brightness 6 0.2 Color 8|0.5 Solarize 2 0.0 Invert 3
0.2 Equalize 0 0.6 AutoContrast 0|0.2 Equalize 8 0.8 Equalize 4|0.9 Color 9 0.6 Equalize 6
0.8 AutoContrast 4 0.2 Solarize 8|0.1 Brightness 3 0.7 Color 0|0.4 Solarize 5 0.9 AutoContrast 3
0.9 TranslateY 9 0.7 TranslateY 9|0.9 AutoContrast 2 0.8 Solarize 3|0.8 Equalize 8 0.1 Invert 3
0.7 TranslateY 9 0.9 AutoContrast 1"""
"""Table 7 of Cubuk et al. 2019, with the figures of the ISDA authors' code."""


def test_autoaugment_draws_the_authors_sub_policies():
    torch.manual_seed(0)
    n, draws = 200_000, AutoAugment(4, True, operations="pillow").drawn
    stages = [torch.bincount(k, minlength=len(draws.choices)) / n for k in draws.draw(n, CPU)]
    expected: list[dict] = [{}, {}]
    for line in AUTHORS.replace("|", "\n").splitlines():
        words = line.split()
        for k in range(2):
            probability, name, bin_ = float(words[3 * k]), words[3 * k + 1], int(words[3 * k + 2])
            name = "SmoothShearY" if name == "ShearY" else name
            strength = 0 if name in ("AutoContrast", "Equalize", "Invert") else bin_ / 9
            for sign in (1, -1) if name in SIGNED and name != "Rotate" else (1, 1):
                key = Operation(name, sign * strength)
                expected[k][key] = expected[k].get(key, 0) + probability / 25 / 2
    for wanted, shares in zip(expected, stages, strict=True):
        drawn: dict = {}
        for choice, share in zip(draws.choices, shares.tolist(), strict=True):
            drawn[choice] = drawn.get(choice, 0) + share
        assert drawn.pop(Operation("Identity")) == pytest.approx(1 - sum(wanted.values()), abs=0.005)
        for key in drawn.keys() | wanted.keys():
            assert drawn.get(key, 0) == pytest.approx(wanted.get(key, 0), abs=0.0025), key


def test_both_operations_come_from_one_sub_policy():
    draws = AutoAugment(4, True, operations="pillow").drawn
    none = len(draws.choices) - 1
    first, second = draws.draw(2000, CPU)
    both = (first != none) & (second != none)
    assert both.any() and torch.equal(first[both] // 4, second[both] // 4)


def test_randaugment_draws_fourteen_operations_alike():
    torch.manual_seed(0)
    augment = RandAugment(4, True, num_operations=2, strength=9, operations="pillow")
    stages = list(augment.drawn.draw(42_000, CPU))
    assert len(stages) == 2
    for drawn in stages:
        names = [augment.drawn.choices[k].name for k in drawn.tolist()]
        for name in augment.operations:
            assert names.count(name) / len(names) == pytest.approx(1 / 14, abs=0.006)
    strengths = {choice.strength for choice in augment.drawn.choices if choice.name == "Rotate"}
    assert strengths == {0.3, -0.3}
    assert "assumption" in SCALE_ASSUMPTION


@pytest.mark.parametrize("augment", [AutoAugment, RandAugment])
def test_a_batch_is_crop_and_flip_then_the_drawn_operations_one_by_one(augment):
    images, made = draw(3, 32, 32), augment(4, True, cutout=None, operations="pillow")
    torch.manual_seed(3)
    given = made(images)
    torch.manual_seed(3)
    wanted = made.standard(images)
    for drawn in made.drawn.draw(len(images), CPU):
        wanted = one_by_one([made.drawn.choices[k] for k in drawn.tolist()], wanted)
    assert torch.equal(given, wanted)


def test_the_key_marks_the_function_and_older_runs_keep_their_ids():
    new = compose_run(["augment=autoaugment"])
    assert new.as_dict()["identity"]["augment"]["operations"] == "pillow"
    old = compose_run(["augment=autoaugment", "augment.operations=torchvision"])
    assert "operations" not in old.as_dict()["identity"]["augment"]
