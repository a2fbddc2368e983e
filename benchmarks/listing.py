"""Seconds until a list of as many files as ImageNet's training set is there: first time, again.

    python benchmarks/listing.py --output benchmarks/results/listing

Makes 1,000 class folders of empty files (nothing reads their content), lists them with an empty
cache, and again with the cache that the first time left, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

CODE = """
import json, resource, sys, time
from pathlib import Path
from jepa.core.data.folder import ClassFolders
from jepa.core.data.source import Place

root, cache = map(Path, sys.argv[1:])
began = time.perf_counter()
place = Place(root=root, split=None, extensions=frozenset({".jpg"}), cache=cache)
source = ClassFolders(ClassFolders.Config(), place=place)
opened = time.perf_counter() - began
source.fingerprint(), source.labels(), source.item(len(source) // 2)
print(json.dumps({
    "files": len(source),
    "seconds": opened,
    "with_fingerprint_s": time.perf_counter() - began,
    "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_300_000)
    parser.add_argument("--folders", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        root, cache = Path(temporary) / "train", Path(temporary) / "cache"
        for number in range(args.folders):
            folder = root / f"n{number:08d}"
            folder.mkdir(parents=True)
            for file in range(args.files // args.folders):
                (folder / f"{folder.name}_{file}.jpg").touch()
        time.sleep(3)  # a folder that changed a moment ago is listed again for safety
        for which in ("first time", "again", "again"):
            command = [sys.executable, "-c", CODE, str(root), str(cache)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            results.append({"which": which, **json.loads(done.stdout)})
    rows = [
        [r["which"], f"{r['files']:,}", f"{r['seconds']:.2f}", f"{r['with_fingerprint_s']:.2f}",
         f"{r['memory_mib']:.0f}"]
        for r in results
    ]  # fmt: skip
    head = ["", "files", "seconds", "with fingerprint and labels", "peak MiB"]
    common.report("listing", head, rows, results, args.output)


if __name__ == "__main__":
    main()
