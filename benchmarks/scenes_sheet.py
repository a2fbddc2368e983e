"""A sheet of scenes to count by eye, and the true counts apart from it.

    python benchmarks/scenes_sheet.py
    python benchmarks/scenes_sheet.py --answers /tmp/scenes_sheet_answers.json
    python benchmarks/scenes_sheet.py --counted 7,5,8,... --by "who counted"

The first draws the first 20 scenes of the test split, 64 x 64 pixels enlarged four times, into
benchmarks/results/scenes_sheet.png. Who counts sees nothing else. The second writes the true counts
where the counter does not look. The third compares, and writes benchmarks/results/scenes_count.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import common
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jepa.core.data.source import Place
from jepa.modalities.image.scenes import Scenes

RESULTS = Path(__file__).parent / "results"
SCENES, COLUMNS, ENLARGED = 20, 5, 4
BORDER, HEAD = 12, 28


def sheet(source: Scenes) -> Image.Image:
    """Numbered scenes, row after row, from 1."""
    side = ENLARGED * len(source.item(0).content)
    wide, high = side + BORDER, side + BORDER + HEAD
    page = Image.new("RGB", (BORDER + COLUMNS * wide, BORDER + SCENES // COLUMNS * high), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(20)
    for number in range(SCENES):
        left, top = BORDER + number % COLUMNS * wide, BORDER + number // COLUMNS * high
        picture = Image.fromarray(np.asarray(source.item(number).content))
        draw.text((left, top), str(number + 1), fill="black", font=font)
        page.paste(picture.resize((side, side), Image.Resampling.BICUBIC), (left, top + HEAD))
    return page


def compare(counted: list[int], true: list[int], by: str) -> None:
    """A table of what was counted and what is there."""
    right = sum(c == t for c, t in zip(counted, true, strict=True))
    rows = [
        [str(number), str(c), str(t), "yes" if c == t else "no"]
        for number, (c, t) in enumerate(zip(counted, true, strict=True), 1)
    ]
    rows.append(["**all**", "", "", f"**{right} of {len(true)}**"])
    results = {"counted": counted, "true": true, "right": right, "by": by}
    path = RESULTS / "scenes_count"
    common.report("scenes_count", ["scene", "counted", "true", "right"], rows, results, path)
    with path.with_suffix(".md").open("a") as page:
        page.write(f"\nThe sheet is `benchmarks/results/scenes_sheet.png`. Counted by: {by}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=Path, help="write the true counts there, draw nothing")
    parser.add_argument("--counted", help=f"{SCENES} numbers with commas between: compare")
    parser.add_argument("--by", default="not said", help="who counted, and what they knew")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        place = Place(root=None, split="test", extensions=frozenset(), cache=Path(cache))
        source = Scenes(Scenes.Config(test_samples=SCENES), place)
        true = source.quantity("count").astype(int).tolist()
        if args.counted:
            counted = [int(number) for number in args.counted.split(",")]
            if len(counted) != SCENES:
                parser.error(f"--counted: found {len(counted)} numbers, allowed: {SCENES}")
            compare(counted, true, args.by)
        elif args.answers:
            args.answers.write_text(json.dumps(true) + "\n")
        else:
            path = RESULTS / "scenes_sheet.png"
            sheet(source).save(path, optimize=True)
            print(path)


if __name__ == "__main__":
    main()
