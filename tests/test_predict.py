"""`isda-bench predict` and `LoadedRun.predict`: what they say of image files is what the evaluation says."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.tiny import TINY
from isda_bench import load_run
from isda_bench.cli.predict import PredictOptions, csv_text, predict_images
from isda_bench.config.compose import compose_run
from isda_bench.data.base import DataSet
from isda_bench.data.digits import Digits
from isda_bench.data.given_images import image_files
from isda_bench.errors import UserError
from isda_bench.loading import Prediction, predict, stored_dataset
from isda_bench.training.run import run

SHORT = ["schedule.epochs=2", "schedule.milestones=[]", "logger=none", "device=cpu"]
NASTY = ["=cmd()", "<img onerror=..>"]


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    config = compose_run([*TINY, *SHORT, f"runs_dir={tmp_path_factory.mktemp('digits')}"])
    run(config)
    return config.directory


@pytest.fixture(scope="module")
def digits_images(tmp_path_factory):
    """The test images as files, number and class in their names."""
    folder, test = tmp_path_factory.mktemp("images"), Digits().load().evaluation
    for i, (image, target) in enumerate(zip(test.images, test.targets, strict=True)):
        Image.fromarray(image[0].numpy()).save(folder / f"{i:03d}_{int(target)}.png")
    return folder


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory):
    """A run on a folder of images of two classes with nasty names, and the folder."""
    root = tmp_path_factory.mktemp("folder")
    random = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 3)):
        for name in NASTY:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (40, 52, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    sizes = ["dataset.image_size=32", "dataset.resize=36", "dataset.workers=0", "schedule.batch_size=8"]
    folder = tmp_path_factory.mktemp("runs")
    data = ["dataset=image_folder", f"dataset.root={root}", "model=resnet8", "augment=none"]
    config = compose_run([*data, *sizes, *SHORT, f"runs_dir={folder}"])
    run(config)
    return config.directory, root


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_of_the_test_images_have_the_recorded_error(digits_run, digits_images, tmp_path):
    predict_images(
        PredictOptions(run=str(digits_run), images=str(digits_images), out=f"{tmp_path}/a/said.csv")
    )
    rows = rows_of(tmp_path / "a" / "said.csv")
    wrong = [row for row in rows if row["class"] != row["file"][-5]]
    assert len(rows) == 360 and set(rows[0]) == {"file", "class", "probability"}
    assert 100 * len(wrong) / 360 == pytest.approx(load_run(digits_run).record["error"]["final"], abs=1e-9)


def test_the_five_likeliest_classes_of_one_image(digits_run, digits_images, tmp_path):
    image = next(digits_images.glob("000_*"))
    out = tmp_path / "said.csv"
    predict_images(PredictOptions(run=str(digits_run), images=str(image), out=str(out), top=5))
    (row,) = rows_of(out)
    model = load_run(digits_run).model
    pixels = torch.from_numpy(np.array(Image.open(image)))[None, None].double()
    with torch.no_grad():
        expected = model.double()((pixels - 77.9) / 96.0).softmax(1).topk(5)
    assert [row["class"], *(row[f"class_{i}"] for i in range(2, 6))] == [
        str(c) for c in expected.indices[0].tolist()
    ]
    said = [float(row["probability"]), *(float(row[f"probability_{i}"]) for i in range(2, 6))]
    assert said == pytest.approx(expected.values[0].tolist(), abs=2e-6)


def test_images_of_other_sizes_and_modes_become_the_data_set_s(tmp_path):
    levels = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))
    for mode in ("L", "RGB", "RGBA", "P"):
        path = tmp_path / f"{mode}.png"
        Image.fromarray(levels).convert("RGB").convert(mode).save(path)
        read = Digits().read_image(path)
        assert (read.shape, read.dtype) == ((1, 8, 8), torch.uint8)
        assert (read[0].float() - torch.arange(8, 256, 32)).abs().max() < 12, mode


def test_a_folder_s_images_are_read_as_in_its_evaluation(folder_run):
    directory, root = folder_run
    loaded = load_run(directory)
    dataset: DataSet = stored_dataset(directory / "record.json", loaded.config)
    evaluation = dataset.load().evaluation
    files = image_files(root / "val")
    assert [f.parent.name for f in files] == sorted(NASTY * 3)
    for i, path in enumerate(files):
        assert torch.equal(dataset.read_image(path), evaluation.images[i])
    (first, *_) = loaded.predict(files[0], top=2)
    assert sum(first.probabilities) == pytest.approx(1) and sorted(first.classes) == [0, 1]


def test_a_run_on_a_folder_is_ready_where_the_folder_is_not(folder_run, tmp_path):
    directory, root = folder_run
    moved = tmp_path / "elsewhere"
    shutil.copytree(directory, moved)
    images = tmp_path / "images"
    shutil.copytree(root / "val", images)
    shutil.move(root, tmp_path / "gone")
    try:
        out = tmp_path / "said.csv"
        predict_images(PredictOptions(run=str(moved), images=str(images), out=str(out)))
    finally:
        shutil.move(tmp_path / "gone", root)
    classes = {row["class"] for row in rows_of(out)}
    assert classes <= {"'=cmd()", "<img onerror=..>"} and classes  # no formula for a spreadsheet


def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_not_lost(
    digits_run, digits_images, tmp_path, capsys
):
    shutil.copy(next(digits_images.glob("000_*")), tmp_path / "good.png")
    (tmp_path / "bad\x1b[2J\n.png").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image")
    out = tmp_path / "said.csv"
    with pytest.raises(SystemExit) as end:
        predict_images(PredictOptions(run=str(digits_run), images=str(tmp_path), out=str(out)))
    bad, good = rows_of(out)
    assert end.value.code == 1 and bad["class"] == "" and good["class"]
    err = capsys.readouterr().err
    assert "cannot be read" in err and "\x1b" not in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("images", ["nowhere", "empty"])
def test_where_there_is_no_image_an_error_says_so(digits_run, tmp_path, images):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"images={tmp_path / images}: "):
        predict_images(PredictOptions(run=str(digits_run), images=str(tmp_path / images)))


def test_the_csv_is_quoted_and_no_formula():
    said = [Prediction("@a,b.png", (0,), (0.5,)), Prediction("c.png", (), (), "broken")]
    lines = csv_text(said, ['-1+1"', "b"], 1).splitlines()
    assert lines == ["file,class,probability", '"\'@a,b.png","\'-1+1""",0.500000', "c.png,,"]


def test_a_batch_more_than_once(digits_run, digits_images):
    loaded = load_run(digits_run)
    files = image_files(digits_images)[:70]
    together = list(predict(loaded.model, Digits(), files))
    assert [p.path for p in together] == files
    assert [p.classes for p in predict(loaded.model, Digits(), files[65:67])] == [
        p.classes for p in together[65:67]
    ]
