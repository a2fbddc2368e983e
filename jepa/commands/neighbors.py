"""`jepa neighbors`: what a trained run finds alike, as a sheet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jepa.commands.arguments import add_run_arguments, count, name, picture

if TYPE_CHECKING:
    from jepa.core.data.source import Source
    from jepa.evaluation.embedding import Embedder
    from jepa.evaluation.neighbour_search import Neighbour, Query, Searched
    from jepa.evaluation.neighbour_sheet import Cell

HELP = "draw queries beside the samples that a trained run finds most alike"

_EPILOG = """\
Queries are files (--query), samples of SOURCE by number (--index), or some of it drawn at random
(--queries). A query is never its own neighbour. SOURCE is as in `jepa embed`."""

_QUERIES = 6


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser)
    parser.add_argument("--data", metavar="SOURCE", help="what is searched [the run's own samples]")
    parser.add_argument(
        "--query", type=name, action="append", default=[], metavar="FILE", help="repeatable"
    )
    parser.add_argument(
        "--index", type=int, action="append", default=[], metavar="I", help="from 0; repeatable"
    )
    parser.add_argument(
        "--queries",
        type=count,
        metavar="N",
        help=f"at random [{_QUERIES}, where no query is named]",
    )
    parser.add_argument("--k", type=count, default=8, help="neighbours of each query [8]")
    parser.add_argument(
        "--features",
        type=name,
        metavar="FILE",
        help="an .npz that `jepa embed` wrote of this run and SOURCE, to save the time",
    )
    parser.add_argument(
        "--layers", type=count, default=1, metavar="N", help="the last N, concatenated [1]"
    )
    parser.add_argument(
        "--output", type=picture, metavar="FILE", required=True, help="picture to write"
    )
    parser.add_argument("--json", type=name, metavar="FILE", help="write the table there")


def run(args: argparse.Namespace) -> int:
    """Search, draw, print."""
    import json

    from jepa.core.files import write_atomic
    from jepa.core.training.host import tune_host
    from jepa.evaluation.embedding import Embedder, Options
    from jepa.evaluation.loading import device_of, find_checkpoint, load_backbone
    from jepa.evaluation.neighbour_search import file_query, find_neighbours, row_query
    from jepa.evaluation.neighbour_sheet import neighbour_sheet
    from jepa.evaluation.sources import read_source

    checkpoint = find_checkpoint(args.run_folder).path
    frozen = load_backbone(checkpoint, args.overrides)
    device = device_of(frozen.config)
    tune_host(device, deterministic=False)
    embedder = Embedder(frozen, device, Options(layers=args.layers))
    source = read_source(args.data, frozen.config, frozen.modality, None, where="--data")
    for path in filter(None, (args.output, args.json)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    # What is wrong with a query is said before the source is embedded, which takes a while.
    queries = [file_query(embedder, Path(text)) for text in args.query]
    _check_indices(args.index, source)
    workers = frozen.config.data.workers
    searched = _search(args, embedder, checkpoint, source, workers)
    drawn = args.queries or (0 if args.query or args.index else _QUERIES)
    rows = [*map(searched.row, args.index), *searched.some_rows(drawn)]
    queries += [row_query(searched, embedder, row) for row in rows]
    found = find_neighbours(searched, queries, args.k)

    about = f"cosine similarity among {len(searched.names):,} samples, {checkpoint.name}"
    cells = [
        _cells(searched, embedder, query, near) for query, near in zip(queries, found, strict=True)
    ]
    neighbour_sheet(cells, about).savefig(args.output)
    table = [_told(searched, query, near) for query, near in zip(queries, found, strict=True)]
    print(_text(table))
    print(f"picture      {args.output}")
    if args.json is not None:
        write_atomic(Path(args.json), json.dumps(table, indent=2) + "\n")
        print(f"numbers      {args.json}")
    return 0


def _check_indices(indices: list[int], source: Source) -> None:
    """Refuse numbers that no sample has.

    Raises:
        ConfigError: there is one.
    """
    from jepa.core.errors import ConfigError

    wrong = [index for index in indices if not 0 <= index < len(source)]
    if wrong:
        raise ConfigError(f"found {wrong[0]}, allowed: 0 to {len(source) - 1}", "--index")


def _search(
    args: argparse.Namespace,
    embedder: Embedder,
    checkpoint: Path,
    source: Source,
    workers: int | str,
) -> Searched:
    """Features of the source: from a file, or made now."""
    from jepa.commands.ticker import Ticker
    from jepa.core.data.workers import resolve_workers
    from jepa.evaluation.neighbour_search import embed_source, read_features

    if args.features is not None:
        return read_features(Path(args.features), source, embedder.recipe(checkpoint, source))
    ticker = Ticker(len(source))
    searched = embed_source(embedder, source, resolve_workers(workers), ticker.tell)
    if searched.bad:
        print(
            f"jepa: {len(searched.bad):,} samples cannot be decoded and are left out; the first, "
            f"{searched.bad[0].name}: {searched.bad[0].reason}",
            file=sys.stderr,
        )
    return searched


def _cells(
    searched: Searched, embedder: Embedder, query: Query, near: tuple[Neighbour, ...]
) -> list[Cell]:
    """One row of the sheet."""
    import torch

    from jepa.core.pictures import pictured
    from jepa.evaluation.neighbour_search import input_of
    from jepa.evaluation.neighbour_sheet import Cell

    inputs = [query.picture, *(input_of(searched, embedder, n.row) for n in near)]
    pictures = pictured(embedder.modality, torch.stack(inputs), embedder.grid)
    cells = [
        Cell(picture=pictures[0], head=_class(searched, query.label) or "query", name=query.name)
    ]
    for neighbour, shown in zip(near, pictures[1:], strict=True):
        label = searched.label(neighbour.row)
        cells.append(
            Cell(
                picture=shown,
                head=f"{neighbour.similarity:.3f}  {_class(searched, label)}".rstrip(),
                name=searched.names[neighbour.row],
                same=None if None in (label, query.label) else label == query.label,
            )
        )
    return cells


def _class(searched: Searched, label: int | None) -> str:
    return "" if label is None else searched.source.classes[label]


def _told(searched: Searched, query: Query, near: tuple[Neighbour, ...]) -> dict[str, Any]:
    """A query and its neighbours, as JSON holds them."""
    return {
        "query": query.name,
        "class": _class(searched, query.label) or None,
        "neighbours": [
            {
                "name": searched.names[n.row],
                "index": int(searched.indices[n.row]),
                "similarity": n.similarity,
                "class": _class(searched, searched.label(n.row)) or None,
            }
            for n in near
        ],
    }


def _text(table: list[dict[str, Any]]) -> str:
    from jepa.evaluation.feature_files import one_line

    lines = []
    for row in table:
        lines.append(f"{one_line(row['query'])}  {row['class'] or ''}".rstrip())
        for n in row["neighbours"]:
            told = f"  {n['similarity']:6.3f}  {one_line(n['name'])}  {n['class'] or ''}"
            lines.append(told.rstrip())
    return "\n".join(lines)
