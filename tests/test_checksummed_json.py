"""Checksums of stored JSON files show damage."""

import json

import pytest

from isda_bench.errors import UserError
from isda_bench.storage.checksummed_json import read_beside, read_checksummed, write_checksummed

CONTENT = {"error": {"last_10": 12.345, "final": 12.5}, "names": {"loss": "isda"}, "started": None}


@pytest.fixture
def record_file(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n')
    write_checksummed(tmp_path / "record.json", CONTENT, {"metrics.jsonl": b'{"epoch": 1}\n'})
    return tmp_path / "record.json"


def test_the_written_content_is_read(record_file):
    assert read_checksummed(record_file) == CONTENT
    assert read_beside(record_file, "metrics.jsonl") == b'{"epoch": 1}\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("12.345", "12.344"),
        ("isda", "isde"),
        ('"format"', '"formau"'),
        ('"sha256"', '"sha257"'),
        ('"files"', '"filez"'),
        ('"format": 2', '"format": 3'),
    ],
)
def test_every_change_shows(record_file, old, new):
    text = record_file.read_text()
    record_file.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=r"record\.json: damaged or edited"):
        read_checksummed(record_file)


def test_a_changed_file_beside_it_shows(record_file):
    (record_file.parent / "metrics.jsonl").write_bytes(b'{"epoch": 3}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl: damaged or edited"):
        read_beside(record_file, "metrics.jsonl")


def test_older_files_without_a_seal_are_read(tmp_path):
    (tmp_path / "record.json").write_text(json.dumps(CONTENT))
    (tmp_path / "metrics.jsonl").write_bytes(b"{}\n")
    assert read_checksummed(tmp_path / "record.json") == CONTENT
    assert read_beside(tmp_path / "record.json", "metrics.jsonl") == b"{}\n"
