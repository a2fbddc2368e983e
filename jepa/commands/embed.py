"""`jepa embed`: features of every sample of a source, as a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jepa.commands.arguments import add_run_arguments, count, name

if TYPE_CHECKING:
    from jepa.core.data.source import Source
    from jepa.evaluation.embedding import Embedder
    from jepa.evaluation.feature_files import Finished
    from jepa.evaluation.partial import Partial

HELP = "write the features of every sample of a folder or source, with their names"

_EPILOG = """\
It streams: memory does not grow with the number of samples. What is done lies in OUTPUT.partial,
and the same command goes on from there after Ctrl-C or a kill. OUTPUT appears when it is whole;
just before, the disk holds the features twice.

SOURCE is the first of these that fits: a file or folder; a source (NAME, NAME:SPLIT, or a mapping
'{name: NAME, setting: value, split: SPLIT, root: PATH}'); a split of the run's own source."""

_SUFFIXES = (".npz", ".npy", ".parquet")
_SHOWN = 5


def _features_file(text: str) -> Path:
    path = Path(name(text))
    if path.suffix not in _SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"found '{text}', allowed: a file that ends in {', '.join(_SUFFIXES)}"
        )
    return path


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser)
    parser.add_argument("--data", metavar="SOURCE", help="samples [the run's own]")
    parser.add_argument(
        "--output",
        type=_features_file,
        metavar="FILE",
        required=True,
        help=f"file to write ({', '.join(_SUFFIXES)})",
    )
    parser.add_argument(
        "--per-token", action="store_true", help="features of every token, not their mean"
    )
    parser.add_argument(
        "--layers", type=count, default=1, metavar="N", help="the last N, concatenated [1]"
    )
    parser.add_argument(
        "--pool",
        choices=("mean", "mean_std"),
        default="mean",
        help="over the tokens; mean_std: their deviations follow their means [mean]",
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument(
        "--batch", type=count, default=128, metavar="N", help="samples at a time [128]"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace FILE, and drop what another command left in FILE.partial",
    )


def run(args: argparse.Namespace) -> int:
    """Embed, write, and say what was written."""
    from jepa.core.data.workers import resolve_workers
    from jepa.core.training.host import return_large_blocks, tune_host
    from jepa.evaluation.embedding import Embedder, Options
    from jepa.evaluation.feature_files import Finished, check_writable, publish
    from jepa.evaluation.loading import device_of, find_checkpoint, load_backbone
    from jepa.evaluation.partial import Partial
    from jepa.evaluation.sources import read_source

    output: Path = args.output.absolute()
    check_writable(output.suffix)
    _refuse_existing(output, args.overwrite)
    checkpoint = find_checkpoint(args.run_folder).path
    frozen = load_backbone(checkpoint, args.overrides)
    device = device_of(frozen.config)
    tune_host(device, deterministic=False)
    return_large_blocks()
    options = Options(
        per_token=args.per_token,
        layers=args.layers,
        pool=args.pool,
        dtype=args.dtype,
        batch=args.batch,
    )
    embedder = Embedder(frozen, device, options)
    source = read_source(args.data, frozen.config, frozen.modality, None, where="--data")
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Partial.beside(output, embedder.recipe(checkpoint, source), args.overwrite)
    try:
        _fill(partial, embedder, source, resolve_workers(frozen.config.data.workers))
        finished = Finished.of(partial, source)
        publish(finished, output)
    except KeyboardInterrupt:
        print(
            f"\njepa: features of {partial.samples_done:,} of {len(source):,} samples are in "
            f"{partial.path}; the same command goes on with them",
            file=sys.stderr,
        )
        raise
    _tell(finished, checkpoint, output)
    partial.remove()
    return 0


def _refuse_existing(output: Path, overwrite: bool) -> None:
    """Refuse to write over a file, unless asked to.

    Raises:
        ConfigError: it exists, or one of those that go beside it.
    """
    from jepa.core.errors import ConfigError
    from jepa.evaluation.feature_files import companions
    from jepa.evaluation.partial import partial_folder

    # A process that was killed as it finished may have left companions in their places.
    beside = () if partial_folder(output).exists() else companions(output)
    found = [path for path in (output, *beside) if path.exists()]
    if found and not overwrite:
        raise ConfigError(f"{found[0]} exists; --overwrite replaces it", "--output")


def _fill(partial: Partial, embedder: Embedder, source: Source, workers: int) -> None:
    """Make the rows that are missing."""
    from jepa.commands.ticker import Ticker
    from jepa.evaluation.partial import Shard

    done, total = partial.samples_done, len(source)
    if done:
        print(f"going on: {done:,} of {total:,} samples are done", file=sys.stderr)
    ticker, shard = Ticker(total, done), Shard(partial.recipe)
    for rows in embedder.rows(source, workers, done):
        shard.add(rows)
        done += len(rows.indices) + len(rows.bad)
        ticker.tell(done)
        if shard.full or done == total:
            partial.add(shard)
            shard.clear()


def _tell(finished: Finished, checkpoint: Path, output: Path) -> None:
    shape = ", ".join(map(str, finished.shape))
    print(f"checkpoint   {checkpoint}")
    print(f"features     {output}: [{shape}] {finished.dtype}")
    bad = finished.partial.bad()
    if bad:
        listed = output.with_suffix(".left_out.txt")
        print(
            f"jepa: {len(bad):,} samples cannot be decoded and have no row; all are listed in "
            f"{listed}. The first:",
            *(f"  {left_out.name}: {left_out.reason}" for left_out in bad[:_SHOWN]),
            sep="\n",
            file=sys.stderr,
        )
