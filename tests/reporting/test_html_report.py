"""The report: what it holds, and that it needs nothing but itself."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from helpers.processes import Started
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.experiments.coordinates import Coordinates
from isda_bench.experiments.published import Published
from isda_bench.reporting.claims import FAILS, HOLDS, OPEN, Claim, Evidence
from isda_bench.reporting.gallery import Picture, gallery
from isda_bench.reporting.html_report import report
from isda_bench.reporting.table import Paired, Table, TableRow
from isda_bench.storage.records import read_records

NASTY = [
    "<img onerror=..>",
    'x" onload="alert(1)',
    "a|b\nc",
    "=cmd()",
    "\x1b[2J\u202e",
    "$%&#_{}~^\\",
    "$x$ ${y}$ \\frac",
    "</style><script>1</script>",
    "{{ 1 }}",
]
HOSTILE = "<script>alert(1)</script> & <b>"
LOADS = {
    "src",
    "href",
    "xlink:href",
    "srcset",
    "poster",
    "action",
    "formaction",
    "data",
    "background",
    "ping",
}


class Page(HTMLParser):
    """Every tag's attributes, the text of cells by row, all ids."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.tags, self.rows = [], [], []
        self.feed(text)
        self.rows = [[text.strip() for text in row] for row in self.rows]

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1] in ("td", "button") and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def line(method, errors, **more):
    return TableRow(
        method,
        Coordinates("digits", "resnet8", "standard", 200, method, "test"),
        True,
        (0, 1),
        errors,
        **more,
    )


@pytest.fixture
def records(tmp_path):
    for seed in (0, 1):
        config = compose_run([*TINY, f"seed={seed}", f"runs_dir={tmp_path}"])
        directory = tmp_path / config.run_id
        directory.mkdir()
        (directory / "metrics.jsonl").write_text('{"epoch": 1, "test_error": 9.0}\n')
        record = config.as_dict() | {
            "split": "test",
            "epochs": config.config["schedule"]["epochs"],
            "seconds": 61.0,
        }
        record |= {
            "error": {"last_10": 9.25 + seed, "final": 9.0, "best": 8.0},
            "ended": "2026-01-02T03:04:05+00:00",
        }
        record |= {"git": {"commit": "0123456789abcdef", "dirty": seed == 1}, "versions": {"torch": "2.13.0"}}
        record |= {"device": {"type": "cpu", "name": f"Fast {HOSTILE}"}, "data_sha256": "f" * 64}
        (directory / "record.json").write_text(json.dumps(record))
    return read_records([tmp_path])


@pytest.fixture
def page(records):
    paired = Paired({0: -0.5, 1: -0.7}, "cross_entropy", holm_p=0.21)
    lines = (
        line("isda", {0: 9.5, 1: 8.5}, paired=paired, published=Published(7.0, 0.1, False)),
        line("cross_entropy", {0: 10.0}, unfinished=(1,)),
        line("focal", {}, deviations=(f"odd {HOSTILE}",)),
    )
    tables = [
        Table("demo", f"A table {HOSTILE}", "last_10", "a paper", lines),
        Table("imagenet", "", "last_10", "", (line("isda", {}),)),
    ]
    evidence = (Evidence(HOSTILE, HOLDS, "1 < 2", True), Evidence("elsewhere", OPEN, "", False, known=False))
    claims = [Claim("It works.", "If so.", evidence), Claim("Bad.", "", (Evidence("x", FAILS, "", True),))]
    own = {
        "demo": Table(
            "demo",
            "t",
            "last_10",
            "",
            tuple(TableRow(cell, line("isda", {}).at, True) for cell in set(records["cell"])),
        )
    }
    return report("Results", tables, claims, gallery(own, records), records)


def test_it_refers_to_nothing_outside_itself(page):
    parsed = Page(page)
    ids = {value for _, name, value in parsed.attributes if name == "id"}
    for tag, name, value in parsed.attributes:
        if name in LOADS:
            assert value.startswith("#") and value[1:] in ids, (tag, name, value)
        assert "://" not in value
        for target in re.findall(r"url\(([^)]*)\)", value):
            assert target.startswith("#") and target[1:] in ids
    assert not {"link", "img", "iframe", "object", "embed", "base", "audio", "video"} & set(parsed.tags)
    assert not re.search(r"@import|//[a-z]|url\(\s*[^#)]|fetch|XMLHttp|import\(", page)
    assert "default-src 'none'" in page
    assert len(ids) == sum(name == "id" for _, name, _ in parsed.attributes)


def test_what_it_tells(page):
    rows = Page(page).rows
    assert [
        "isda",
        "9.00 ± 0.71 (2)",
        "7.00 ± 0.10†",
        "+2.00",
        "-0.60 ± 0.14 (2)",
        "[-1.87, +0.67]",
        "0.105",
        "0.210",
    ] in rows
    assert any("10.00 (1 of 2, 1 unfinished)" in row for row in rows)
    assert "no significant difference, 2 seeds, -0.6 [-1.9, 0.7] points" in page
    assert "1 more planned, none run" in page and "(experiment=imagenet)" in page
    assert "2 finished runs in 1 cell, 2 min 2 s of training; the newest ended 2026-01-02 03:04 UTC" in page
    assert "test error 9.75 ± 0.71 (2)" in page
    assert any("0123456789 with changes" in row for row in rows), "its code differs from the other run's"
    assert "versions: torch 2.13.0" in page and "time: 1 min 1 s" in page
    assert "_target_: isda_bench.models.resnet.ResNet" in page
    for verdict, kind in (("holds", "holds"), ("does not hold", "fails")):
        assert re.search(rf'class="claim {kind}">\s*<p>.*<span class="verdict">{verdict}</span>', page)
    assert "not enough runs in 1 more setting<" in page
    assert page.count('data-panel="') == 2, "the curves, and the final errors beside them"


def test_text_is_not_markup(page):
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;b&gt;" in page
    assert Page(page).tags.count("script") == 1


def test_the_policy_allows_the_page_s_own_style_and_script_and_nothing_inline(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "unsafe" not in policy and "default-src 'none'" in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    attributes = Page(page).attributes
    assert not [name for _, name, _ in attributes if name == "style" or name.startswith("on")]


def page_of(name, records):
    """A page in which everything that can have a name has this one."""
    row = line(name, {0: 1.0}, deviations=(name,))
    tables = [Table(name, name, "last_10", name, (row,)), Table("x", name, "last_10", "", (row,))]
    figure = Figure()
    axis = figure.subplots()
    axis.plot([1, 2], [1, 2], label=name)
    axis.set(title=name, xlabel=f"${name}$")
    axis.legend()
    named = records.assign(cell=name)
    for record in named["record"]:
        record["cell"] = record["run_id"] = name
    claims = [Claim(name, name, (Evidence(name, HOLDS, name, True),))]
    return report(name, tables, claims, [Picture(name, name, figure)], named)


_made: list[Page] = []


@pytest.fixture
def plain_page(records):
    """The page with plain names, made once: it does not depend on the folder of the records."""
    if not _made:
        _made.append(Page(page_of("plain", records)))
    return _made[0]


@pytest.mark.parametrize("name", NASTY)
def test_names_become_no_markup_and_no_id(records, plain_page, name):
    page = page_of(name, records)
    parsed, plain = Page(page), plain_page
    assert set(parsed.tags) == set(plain.tags) and parsed.tags.count("script") == 1
    assert {name for _, name, _ in parsed.attributes} == {name for _, name, _ in plain.attributes}
    ids = [value for _, n, value in parsed.attributes if n == "id"]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-z]+(-\d+)*", value) for value in ids)
    assert not [c for c in page if not c.isprintable() and c != "\n"]


def test_the_generator_of_a_run_is_listed_where_there_is_one(records):
    assert "generator: " not in report("Results", [], [], [], records)
    records["record"].iloc[1]["generator"] = {"run": "digits-cgan-s0", "sha256": "0"}
    page = report("Results", [], [], [], records)
    assert '"button">generator<' in page and "<td>digits-cgan-s0</td>" in page


def test_the_same_records_give_the_same_page(records):
    assert len({report("Results", [], [], [], records) for _ in range(2)}) == 1


@pytest.mark.slow
def test_sorting_in_a_browser(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here")
    clicks = "document.querySelectorAll('#table-1 th button')[1].click();"
    for times, order in ((1, ["9.00", "10.00"]), (2, ["10.00", "9.00"])):
        script = clicks * times
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        allowed = page.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
        (tmp_path / "page.html").write_text(allowed.replace("</body>", f"<script>{script}</script></body>"))
        command = [browser, "--headless=new", "--no-sandbox", f"--user-data-dir={tmp_path}/user"]
        done = Started([*command, "--dump-dom", f"file://{tmp_path}/page.html"]).wait().check()
        body = done.stdout.partition('id="table-1"')[2].partition("</table>")[0]
        cells = [row[1].split()[0] for row in Page(body).rows[1:]]
        assert cells == order
