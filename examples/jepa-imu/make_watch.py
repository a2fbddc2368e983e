"""Make watch_imu.npz of what the package seglearn brings, under its BSD licence.

    pip download --no-deps seglearn==1.2.5
    python make_watch.py seglearn-1.2.5-py3-none-any.whl watch_imu.npz

The data lie in the wheel as a pickle, which could run any code. So its digest is compared first,
and seglearn itself is not needed. Values are kept as float16, off by 0.007 at most.
"""

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

DATA = "seglearn/data/watch_dataset.npy"
SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"


def main(wheel: Path, output: Path) -> None:
    """Read the wheel and write the arrays that the source `watch_imu` reads."""
    with zipfile.ZipFile(wheel) as archive:
        raw = archive.read(DATA)
    found = hashlib.sha256(raw).hexdigest()
    if found != SHA256:
        sys.exit(f"{wheel}: {DATA} has the SHA-256 {found}, wanted: {SHA256}")
    data = np.load(io.BytesIO(raw), allow_pickle=True).item()
    np.savez_compressed(
        output,
        x=np.concatenate(data["X"]).astype(np.float16),
        offsets=np.cumsum([0, *map(len, data["X"])]),
        y=data["y"],
        subject=data["subject"],
        classes=np.array(data["y_labels"]),
        rate=np.array(50),
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
