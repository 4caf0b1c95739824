"""Which files of a folder are images."""

import os
import shutil
import socket

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip
import pytest
from torchvision.datasets import ImageFolder

from isda_bench.data.image_list import EXTENSIONS, checksum_of_files, list_images
from isda_bench.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Classes a (five images, two of them in sub-folders) and b (one)."""
    for name in ("a/1.png", "a/0.JPEG", "a/x/2.jpg", "a/x/y/3.tif", "a/z.webp", "b/0.png"):
        file = tmp_path / "train" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(name.encode())
    return tmp_path / "train"


def names(root) -> list[str]:
    return [os.fsdecode(path) for path in list_images(root).paths]


def test_the_list_is_torchvisions(root):
    ours, theirs = list_images(root), ImageFolder(str(root))
    assert [str(root / os.fsdecode(path)) for path in ours.paths] == [path for path, _ in theirs.samples]
    assert ours.targets.tolist() == theirs.targets
    assert ours.classes == theirs.classes == ["a", "b"]
    assert ours.sizes.tolist() == [len(name) for name in names(root)]
    assert set(EXTENSIONS) == set(theirs.extensions)


def test_hidden_files_and_folders_are_not_listed(root, capsys):
    before = names(root)
    for name in (".hidden/0.png", "a/._1.png", "a/.DS_Store", "a/.thumbs/1.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    (root / "a" / ".link.png").symlink_to("1.png")
    assert names(root) == before
    assert capsys.readouterr().err == ""


def test_other_files_are_counted_and_not_listed(root, capsys):
    before = names(root)
    for name in ("a/notes.txt", "b/more.txt", "a/README", "classes.json"):
        (root / name).write_text("x")
    os.mkfifo(root / "a" / "fifo.png")
    (root / "a" / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "b" / "socket.png"))
        assert names(root) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert "3 neither file nor folder, 2 *.txt, 1 without extension" in line


def test_links_are_followed_and_their_circles_end(root):
    before = names(root)
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "self").symlink_to("self")
    (root / "a" / "again").symlink_to("x")
    (root / "up").symlink_to("..")
    (root / "c").symlink_to("b")
    (root.parent / "other" / "deep").mkdir(parents=True)
    (root.parent / "other" / "4.png").write_bytes(b"x")
    (root.parent / "other" / "deep" / "back").symlink_to("..")
    (root / "c" / "more").symlink_to(root.parent / "other")
    assert names(root) == [*before, "b/more/4.png", "c/0.png", "c/more/4.png"]


def test_links_to_nothing_are_listed_and_known_as_unreadable(root):
    (root / "a" / "annexed.png").symlink_to("nowhere")
    (root / "b" / "circle.png").symlink_to("circle.png")
    (root / "b" / "empty.png").touch()
    assert list_images(root).unreadable == ["a/annexed.png", "b/circle.png", "b/empty.png"]


def test_the_checksum_is_of_names_and_sizes(root, tmp_path):
    first = checksum_of_files(train=list_images(root))
    shutil.copytree(root, tmp_path / "copy")
    copied = list_images(tmp_path / "copy")
    assert checksum_of_files(train=copied) == first != checksum_of_files(val=copied)
    (root / "b" / "0.png").write_bytes(b"longer than it was")
    assert checksum_of_files(train=list_images(root)) != first
    (tmp_path / "copy" / "b" / "0.png").rename(tmp_path / "copy" / "b" / "1.png")
    assert checksum_of_files(train=list_images(tmp_path / "copy")) != first


def test_a_folder_without_images_names_the_class(root):
    for name in "cdefghi":
        (root / name).mkdir()
    (root / "c" / "image.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no image in the classes c, d, e, f, g and 2 more; images end in"):
        list_images(root)


@pytest.mark.parametrize("missing", ["nothing", "a file"])
def test_no_folder(tmp_path, missing):
    if missing == "a file":
        (tmp_path / "train").write_bytes(b"")
    with pytest.raises(UserError, match=r"dataset.root: .*train"):
        list_images(tmp_path / "train")
