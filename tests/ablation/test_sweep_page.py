"""`report.html`: it holds everything, loads nothing, obeys no label, and opens in a browser."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser

import attrs
import made_up
import pytest

from jepa.ablation import masks_sheet
from jepa.ablation.masks_sheet import draw_masks_sheets
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import shell
from jepa.ablation.results import write_results
from jepa.core.yamlfile import parse_yaml

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EVIL = '<script>alert("1")</script>\n| $\\frac$ __x__'
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Refuses tags that are not closed in order, and keeps what it met."""

    def __init__(self):
        super().__init__()
        self.open, self.pictures, self.links, self.tags, self.text = [], [], [], set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a sweep whose labels are evil, with curves and masks, one run failed."""
    folder = tmp_path_factory.mktemp("sweep") / "evil"
    masks = {"masks.0": [{"name": "multiblock", "min_keep": n} for n in (4, 5)]}
    made = made_up.sweep(folder, [EVIL, "_hidden"], seeds=[0, 1], vary=masks)
    made = attrs.evolve(made, overrides=("optim.lr=0.123",))
    found = made_up.outcomes(made, {EVIL: [0.5, 0.6], "_hidden": [0.4, 0.45]})
    last = found[-1].run
    found[-1] = Outcome(run=last, status="failed", reason="<b>no disk</b> & no hope", step=0)
    for outcome in found[:-1]:
        made_up.write_metrics(outcome.run, [40.0] * 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks_sheet, "_STEPS", 5)
        draw_masks_sheets(made)
    write_results(made, found)
    return made, folder / "report.html"


def test_everything_is_there(report):
    made, path = report
    reader = read(path.read_text("utf-8"))
    assert len(reader.pictures) == 1 + 2 + 2 * 2  # intervals, loss and k-NN, masks and maps
    assert all(picture["alt"] for picture in reader.pictures)
    assert all(p["src"].startswith("data:image/png;base64,") for p in reader.pictures)
    for run in made.runs:
        assert shell(run.train_command) in reader.text
        assert shell(run.eval_command) in reader.text
    assert "<b>no disk</b> & no hope" in reader.text
    assert "Losses of these variants cannot be compared: they differ in masks" in reader.text
    text = re.search(r"<pre>(base: .*?)</pre>", path.read_text("utf-8"), re.DOTALL)[1]
    told = parse_yaml(html.unescape(text), "the page")
    assert told["base"] == "image/quickstart"
    assert told["overrides"] == [*made.config.overrides, "optim.lr=0.123"]
    assert "To make a run anew, change its --output" in reader.text
    assert "random init" in reader.text
    assert {anchor[1:] for anchor in reader.links if anchor.startswith("#")} == set(
        re.findall(r'<section id="(\w+)"', path.read_text("utf-8"))
    )


def test_nothing_comes_from_outside_and_no_label_is_obeyed(report):
    _, path = report
    text = path.read_text("utf-8")
    bare = re.sub(r"base64,[^\"]*", "", text)
    assert not re.search(r"https?:|@import|url\(|src=\"(?!data:)", bare)
    reader = read(text)
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert not reader.tags & {"script", "link", "iframe", "object", "base", "form", "b"}
    assert EVIL in reader.text
    assert "default-src 'none'" in html.unescape(text)


def test_variants_of_the_same_masks_and_losses(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0])
    found = made_up.outcomes(made, {"a": [0.5], "b": [0.6]})
    made_up.write_metrics(made.runs[0], [40.0] * 3)
    write_results(made, found)
    text = read((tmp_path / "report.html").read_text("utf-8")).text
    assert "They were not drawn." in text
    assert "A lower loss is no better model" in text
    draw_masks_sheets(made)
    write_results(made, found)
    text = read((tmp_path / "report.html").read_text("utf-8")).text
    assert "All variants share these masks" in text


def test_letters_that_the_font_lacks_are_no_warning(tmp_path, recwarn):
    label = "\u65e5\u672c"
    made = made_up.sweep(tmp_path, [label, "b"], seeds=[0, 1])
    found = made_up.outcomes(made, {label: [0.5, 0.6], "b": [0.4, 0.5]})
    made_up.write_metrics(made.runs[0], [40.0] * 3)
    write_results(made, found)
    assert [str(each.message) for each in recwarn] == []
    assert label in read((tmp_path / "report.html").read_text("utf-8")).text


# --- in a browser -------------------------------------------------------------------------------

# Another page looks at ours, which itself may run nothing.
LOOKER = """<body><iframe id="page" src="report.html" style="width: {width}px; height: 900px"
 onload="look()"></iframe><pre id="told"></pre><script>
function look() {{
  const page = document.getElementById("page").contentDocument;
  const widths = [...page.images].map(i => i.complete ? i.naturalWidth : 0);
  const seen = [...page.images].map(i => Math.round(i.getBoundingClientRect().width));
  document.getElementById("told").textContent = JSON.stringify(
    {{widths, seen, wide: page.documentElement.scrollWidth, title: page.title,
      scripts: page.scripts.length}});
}}</script></body>"""


@pytest.mark.parametrize("width", [400, 1400])
def test_it_opens_in_a_browser_and_fits(report, tmp_path, width):
    import json

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed (apt install chromium)")
    _, path = report
    looker = path.with_name(f"looker{width}.html")
    looker.write_text(LOOKER.format(width=width))
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *("--allow-file-access-from-files", f"--user-data-dir={tmp_path}"),
            *("--virtual-time-budget=5000", "--dump-dom", looker.as_uri()),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    told = json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', done.stdout)[1]))
    assert len(told["widths"]) == 7
    assert min(told["widths"]) > 200
    assert min(told["seen"]) > 250
    assert max(told["seen"]) <= width
    assert told["wide"] <= width
    assert told["title"] == "Ablation evil"
    assert told["scripts"] == 0
    assert "CONSOLE" not in done.stderr
