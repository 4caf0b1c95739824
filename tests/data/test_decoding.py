"""Image files of every kind as 8-bit RGB."""

import os
import socket
import threading

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from isda_bench.data.decoding import Decoding

VIEWER, PILLOW = Decoding("viewer"), Decoding("pillow")
RAMP = np.linspace(0, 65535, 40).round().astype(np.uint16)[None].repeat(8, 0)


def grey(path, decoding=VIEWER) -> np.ndarray:
    """The levels of a grey image, (H, W)."""
    pixels = np.asarray(decoding.read(path))
    assert pixels.dtype == np.uint8 and pixels.ndim == 3
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def save_pgm(path, levels):
    path.write_bytes(b"P5 %d %d 65535\n" % levels.shape[::-1] + levels.astype(">u2").tobytes())


@pytest.mark.parametrize("name", ["ramp.png", "ramp.tif", "ramp.pgm", "big_endian.tif"])
def test_levels_of_16_bits_are_scaled_to_8(tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".pgm":
        save_pgm(path, RAMP)
    elif name.startswith("big"):
        Image.frombytes("I;16B", RAMP.shape[::-1], RAMP.astype(">u2").tobytes()).save(path)
    else:
        Image.fromarray(RAMP).save(path)
    assert np.abs(grey(path) - RAMP / 257.0).max() <= 0.5


@pytest.mark.parametrize(
    ("levels", "what"), [(np.float32(RAMP / 65535), "floats"), (np.int32(RAMP), "32-bit")]
)
def test_levels_of_unknown_range_are_refused(tmp_path, levels, what):
    Image.fromarray(levels).save(tmp_path / "levels.tif")
    with pytest.raises(ValueError, match=what):
        VIEWER.read(tmp_path / "levels.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "1"])
def test_transparent_pixels_are_white(tmp_path, mode):
    """The left half is transparent black, or of the level that is transparent; the right one opaque black."""
    options = {}
    if mode in ("RGBA", "LA"):
        image = Image.new("RGBA", (8, 8))
        image.paste((0, 0, 0, 255), (4, 0, 8, 8))
        image = image.convert(mode)
    else:
        level = (1, 1, 1) if mode == "RGB" else 1
        image = Image.new(mode, (8, 8), level)
        image.paste((0, 0, 0) if mode == "RGB" else 0, (4, 0, 8, 8))
        if mode == "P":
            image.putpalette([0, 0, 0, 0, 0, 0])
        options["transparency"] = 255 if mode == "1" else level
    image.save(tmp_path / "image.png", **options)
    levels = grey(tmp_path / "image.png")
    assert (levels[:, :4] == 255).all() and (levels[:, 4:] == 0).all()


def test_half_transparent_lies_on_white(tmp_path):
    Image.new("RGBA", (4, 4), (200, 100, 0, 51)).save(tmp_path / "image.png")
    assert np.abs(np.asarray(VIEWER.read(tmp_path / "image.png"))[0, 0] - [244, 224, 204]).max() <= 1


def test_a_transparent_level_of_16_bits(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "image.png", transparency=0)
    assert grey(tmp_path / "image.png")[0, :2].tolist() == [255, 7]


@pytest.mark.parametrize("decoding", [VIEWER, PILLOW])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_photographs_are_the_same_in_both_ways(tmp_path, decoding, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image.jpg")
    wanted = Image.open(tmp_path / "image.jpg").convert("RGB")
    assert np.array_equal(decoding.read(tmp_path / "image.jpg"), wanted)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["image.jpg", "image.png", "image.tif"])
def test_the_orientation_is_followed_or_ignored(tmp_path, orientation, name):
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:8, :8] = 255  # the upper left corner of what is stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / name, exif=exif)
    turned = np.asarray(Decoding("viewer", exif=True).read(tmp_path / name))
    corner = {1: "nw", 2: "ne", 3: "se", 4: "sw", 5: "nw", 6: "ne", 7: "se", 8: "sw"}[orientation]
    assert turned.shape[:2] == ((16, 32) if orientation < 5 else (32, 16))
    assert turned[-4 if "s" in corner else 3, -4 if "e" in corner else 3].min() > 200
    if not name.endswith("tif"):  # which Pillow turns itself
        assert np.asarray(VIEWER.read(tmp_path / name)).shape[:2] == (16, 32)


def test_files_of_other_kinds_are_refused_and_start_nothing(tmp_path):
    for name, content in {
        "page.png": b"<html></html>",
        "empty.png": b"",
        "drawing.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OSError, match="is not one of JPEG"):
            VIEWER.read(tmp_path / name)


@pytest.mark.parametrize("kind", ["fifo", "device", "socket", "folder", "circle", "to a fifo"])
def test_a_special_file_is_refused_without_waiting(tmp_path, kind):
    path = tmp_path / "image.png"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path.name)
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to("fifo")
    raised = []

    def read():
        try:
            VIEWER.read(path)
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(30)
    assert raised


def test_an_image_of_too_many_pixels_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("RGB", (33, 31)).save(tmp_path / "image.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("was read"))
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ValueError, match="33x31: more than 1,000 pixels"),
    ):
        VIEWER.read(tmp_path / "image.png")
