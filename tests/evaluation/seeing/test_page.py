"""The page holds everything, loads nothing, and says what it is told without obeying it."""

import base64
import re
from html.parser import HTMLParser

from jepa.evaluation.seeing.report import Shown, page

SHEETS = [
    Shown("pca", "A & B <title>", 'Read "this".', b"\x89PNG first"),
    Shown("energy", "Errors", "Dark is good.", b"\x89PNG second"),
]
VOID = {"meta", "img", "br", "link", "input"}


class Reader(HTMLParser):
    """Refuses tags that are not closed in order, and keeps what it met."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links, self.tags, self.text = [], [], [], set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
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


def made(facts=None, left_out=None, config="train:\n  seed: 0\n"):
    return page("What a run sees", facts or {"step": "7"}, SHEETS, left_out or {}, config)


def test_every_sheet_is_embedded_and_described():
    reader = read(made())
    found = [image["src"] for image in reader.images]
    assert all(source.startswith("data:image/png;base64,") for source in found)
    assert [base64.b64decode(source.split(",")[1]) for source in found] == [s.png for s in SHEETS]
    assert [image["alt"] for image in reader.images] == [f"{s.title} {s.reading}" for s in SHEETS]
    assert "train:\n  seed: 0" in reader.text


def test_nothing_comes_from_outside():
    text = made()
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[^\"]*", "", text))
    reader = read(text)
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert not reader.tags & {"script", "link", "iframe", "object", "base", "form"}
    assert "default-src 'none'" in text.replace("&#x27;", "'")


def test_texts_are_escaped():
    evil = "<script>alert(1)</script>\"'&"
    text = page(evil, {evil: evil}, SHEETS, {"attention": evil}, evil)
    reader = read(text)
    assert "script" not in reader.tags
    assert reader.text.count("<script>alert(1)</script>\"'&") == 6
    assert "A & B <title>" in reader.text


def test_it_says_what_is_missing_and_why():
    assert "attention”: no such thing." in read(made(left_out={"attention": "no such thing"})).text
