"""`jepa eval`: one or more protocols on labelled samples, beside random init and raw content."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jepa.commands.arguments import add_run_arguments, count, folder, name, run_folder_of

if TYPE_CHECKING:
    from jepa.core.parts import Part
    from jepa.evaluation.candidates import Splits
    from jepa.evaluation.comparison import Candidate, Comparison
    from jepa.evaluation.loading import Frozen

HELP = "score a trained encoder by a protocol: k-NN, linear, attentive, few labels, fine-tuning"

_EPILOG = """\
SOURCE is a split of the run's own source (train), a folder, a source (NAME or NAME:SPLIT), or a
mapping such as '{name: NAME, setting: value}'. A source that knows its own splits serves both.

key=value sets the protocol (k=10), or where the run's samples lie now (data.root=/data); with
several protocols the name goes first (knn.k=10). `jepa plugins` lists the protocols.

Every score stands beside those of the same network untrained and of the plain content, with 95%
intervals. The table is written as JSON too. Pooled features are kept in RUN/eval/features, so that
the next protocol starts at once."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser, "key=value", "settings, see below")
    parser.add_argument(
        "--protocol",
        action="append",
        type=name,
        required=True,
        metavar="NAME",
        help="what to score by; may be given several times",
    )
    parser.add_argument("--train", type=name, metavar="SOURCE", help="samples to fit on [train]")
    parser.add_argument("--test", type=name, metavar="SOURCE", help="samples to score on [test]")
    add_limits(parser)
    parser.add_argument(
        "--trained-only",
        action="store_true",
        help="score the trained encoder alone, without random init and plain content",
    )
    parser.add_argument("--seed", type=int, default=0, help="of what protocols draw [0]")
    parser.add_argument("--output", type=folder, metavar="DIR", help="where to write [RUN/eval]")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Declare how much is evaluated: `jepa report` takes the same."""
    parser.add_argument(
        "--train-samples", type=count, default=10000, metavar="N", help="at most [10000]"
    )
    parser.add_argument(
        "--test-samples", type=count, default=2000, metavar="N", help="at most [2000]"
    )
    parser.add_argument(
        "--random-inits", type=count, default=1, metavar="N", help="seeds of random weights [1]"
    )


def run(args: argparse.Namespace) -> int:
    """Score, print the table, write it, and say where."""
    import json

    import attrs
    from rich.console import Console

    from jepa.core.files import write_atomic
    from jepa.core.settings import unstructure
    from jepa.core.training import launch
    from jepa.core.training.host import tune_host
    from jepa.evaluation.candidates import candidates
    from jepa.evaluation.comparison import compare
    from jepa.evaluation.comparison_table import TABLE_WIDTH, table
    from jepa.evaluation.loading import device_of, find_checkpoint, load_backbone

    launch.die_with_parent()
    _check(args)
    of_data = [text for text in args.overrides if text.startswith("data.")]
    of_protocols = [text for text in args.overrides if text not in of_data]
    protocols = read_protocols(args.protocol, of_protocols)
    checkpoint = find_checkpoint(args.run_folder)
    frozen = load_backbone(checkpoint.path, of_data)
    splits = _splits(args, frozen)
    device = device_of(frozen.config)
    tune_host(device, deterministic=False)
    output = args.output or run_folder_of(args.run_folder) / "eval"
    output.mkdir(parents=True, exist_ok=True)

    found = candidates(
        frozen,
        checkpoint.path,
        splits,
        device,
        train_samples=args.train_samples,
        test_samples=args.test_samples,
        random_inits=args.random_inits,
        trained_only=args.trained_only,
        cache=output / "features",
    )
    made = {part.name: part.cls(part.config) for part in protocols}
    comparison = compare(found, made, args.seed)

    console = Console(highlight=False)
    console.print(f"checkpoint   {checkpoint.path}", soft_wrap=True)
    for note in [*_notes(args, splits, comparison), *_notes_on_raw(found)]:
        console.print(note, soft_wrap=True)
    # A terminal may be too narrow: wrapped lines can be read, cut numbers can't.
    Console(highlight=False, width=max(console.width, TABLE_WIDTH)).print(table(comparison))
    told = {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.step,
        "protocols": {part.name: unstructure(part.config) for part in protocols},
        "train": _told(args.train, splits.train),
        "test": _told(args.test, splits.test),
        "asked": {
            "train": args.train,
            "test": args.test,
            "train_samples": args.train_samples,
            "test_samples": args.test_samples,
            "random_inits": args.random_inits,
        },
        "seed": args.seed,
        **attrs.asdict(comparison),
    }
    path = output / _file_name(args)
    write_atomic(path, json.dumps(told, indent=2) + "\n")
    console.print(f"numbers      {path}", soft_wrap=True)
    return 0


def _check(args: argparse.Namespace) -> None:
    from jepa.core.errors import ConfigError

    if args.trained_only and args.random_inits != 1:
        raise ConfigError("--trained-only leaves random inits out; leave --random-inits out too")


def read_protocols(names: Sequence[str], settings: Sequence[str] = ()) -> list[Part]:
    """The protocols of these names, under `key=value` settings.

    Args:
        names: of plugins.
        settings: texts; with several names each begins with the name that it is for.

    Raises:
        ConfigError: an unknown protocol or setting, a name given twice, or a setting for none.
    """
    from jepa.core.config import apply_overrides
    from jepa.core.errors import ConfigError, did_you_mean
    from jepa.core.settings import ProtocolPart, structure

    twice = {each for each in names if names.count(each) > 1}
    if twice:
        raise ConfigError(f"--protocol: found '{min(twice)}' twice, allowed: each once")
    given: dict[str, list[str]] = {each: [] for each in names}
    for text in settings:
        head, _, rest = text.partition(".")
        if len(names) == 1:
            given[names[0]].append(text)
        elif head in given:
            given[head].append(rest)
        else:
            raise ConfigError(
                f"found {text}, allowed with several protocols: NAME.key=value, NAME one of "
                f"{', '.join(names)}{did_you_mean(head, names)}"
            )
    return [
        structure({"name": each, **apply_overrides({}, texts)}, ProtocolPart, f"--protocol {each}")
        for each, texts in given.items()
    ]


def _splits(args: argparse.Namespace, frozen: Frozen) -> Splits:
    from jepa.evaluation.candidates import Splits
    from jepa.evaluation.sources import read_source

    def opened(text: str | None, split: str) -> Any:
        return read_source(
            text, frozen.config, frozen.modality, split, labelled=True, where=f"--{split}"
        )

    return Splits(train=opened(args.train, "train"), test=opened(args.test, "test"))


def _notes(args: argparse.Namespace, splits: Splits, comparison: Comparison) -> list[str]:
    """What a reader of the scores must know of the samples."""
    from jepa.evaluation.features import choose, choose_wholes
    from jepa.evaluation.identity import identity

    notes = []
    for split, chosen, used in (
        ("train", choose(splits.train, args.train_samples), comparison.train_parts),
        ("test", choose_wholes(splits.test, args.test_samples), comparison.test_parts),
    ):
        asked = len(chosen)
        if used < asked:
            notes.append(f"left out     {asked - used} of {asked} {split} samples: not decodable")
    if identity(splits.train) == identity(splits.test):
        notes.append(
            "note         --train and --test are the same samples: scores say nothing about others"
        )
    return notes


def _notes_on_raw(found: Sequence[Candidate]) -> list[str]:
    """That the raw baseline has no tokens to offer, where the networks have several."""
    from jepa.evaluation.candidates import RAW

    grids = {candidate.name: candidate.train[0].grid for candidate in found}
    if RAW not in grids or not grids[RAW].size < grids[found[0].name].size:
        return []
    return [
        "note         tokens have no plain content of their own here, so protocols that look at "
        f"tokens get the whole sample's baseline as the only token of '{RAW}'"
    ]


def _told(text: str | None, source: Any) -> dict[str, str | int]:
    return {"source": text or "", "samples": len(source), "fingerprint": source.fingerprint()}


def _file_name(args: argparse.Namespace) -> str:
    """`knn.json`; what is not the default adds a digest, so that no result replaces another's."""
    limits = [args.train_samples, args.test_samples, args.random_inits, args.seed]
    checkpoint = args.run_folder.resolve()
    named = checkpoint.name if checkpoint != run_folder_of(args.run_folder) else ""
    special = [named, args.train, args.test, *args.overrides]
    special += ["--trained-only"] if args.trained_only else []
    stem = "+".join(args.protocol)
    if any(special) or limits != [10000, 2000, 1, 0]:
        told = "\0".join(map(str, [*special, *limits]))
        stem += f"-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return f"{stem}.json"
