"""The record of a sample's results, run.json: what made them, and counts of what came out."""

import argparse
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, Required, TypedDict

import pandas as pd

from virnucflow import __version__
from virnucflow.cli import log
from virnucflow.files.device_time import device_minutes
from virnucflow.files.kinds import FILES, STATUSES
from virnucflow.packs.encoders import ENCODERS
from virnucflow.scoring.prevalence import Prevalence

# Of what computes results, besides this workflow; run.json has their versions.
PACKAGES = (
    "torch",
    "fair-esm",
    "tokenizers",
    "safetensors",
    "numpy",
    "pandas",
    "pyarrow",
    "biopython",
    "dnaio",
    "pysam",
)


class Made(TypedDict, total=False):
    """What a table of scores says of what made it."""

    model: str
    trained: bool
    frames: str
    calibration: dict[str, Any] | None
    attention: str
    classifier_sha256: str
    pack_sha256: dict[str, str]
    dnabert_s: dict[str, str]
    esm2: dict[str, str]
    chunks: Required[int]


SHARED = tuple(key for key in Made.__annotations__ if key not in (*ENCODERS, "chunks"))  # the same for all shards


class InputFile(TypedDict):
    """An input file as it was split; of BAM the records that were left out, by their flags."""

    path: str
    sha256: str
    bytes: int
    left_out: NotRequired[dict[str, int]]


class Drawn(TypedDict):
    """The reads or pairs that were drawn, of how many, and how."""

    reads: int
    of: int
    seed: int
    largest_hash: int


class Split(TypedDict, total=False):
    """What the table of sequences says of what was split."""

    inputs: list[InputFile]
    rna: str
    rna_records: int
    subsample: Drawn


class Gate(TypedDict):
    """What of divergence_gate.py's decision is needed here."""

    decision: Literal["accept", "validate", "refuse", "nothing to compare"]
    attention: Literal["flash", "standard"]
    message: str
    run_frames: NotRequired[int]


def of_encoder(encoder: str, made: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The distinct ways in which an encoder ran; shards may have been on different devices."""
    runs = [{key: value for key, value in one.get(encoder, {}).items() if key != "names_sha256"} for one in made]
    if len({(one.get("precision"), one.get("kernel")) for one in runs}) > 1:
        log.warning("%s ran with different precisions or kernels in different shards; run.json has them", encoder)
    return list({json.dumps(one, sort_keys=True): one for one in runs}.values())


def left_out(summary: pd.DataFrame) -> int:
    """How many sequences are called virus and not published as viral."""
    return int(((summary["call"] == "virus") & (summary["file"] != FILES[0])).sum())


def taken_in(summary: pd.DataFrame) -> int:
    """How many sequences are not called virus, and published as viral."""
    return int(((summary["call"] != "virus") & (summary["file"] == FILES[0])).sum())


def provenance_of(
    arguments: argparse.Namespace,
    made: list[Made],
    split: Split,
    gate: Gate | None,
    prevalence: Prevalence | None,
    summary: pd.DataFrame,
    regions: int | None,
) -> dict[str, Any]:
    """What run.json says; `regions` is None where they were not looked for."""
    status = summary["status"].value_counts()
    commit, dirty, _ = (arguments.commit or "").partition("-dirty")
    return {
        "sample": arguments.sample,
        "started": arguments.started,
        "ended": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "device_minutes": device_minutes(arguments.device_time) or None,
        "inputs": split.get("inputs"),
        "subsample": split.get("subsample"),
        "settings": dict(sorted((arguments.settings | {"rna": split.get("rna")}).items())),
        "counts": {
            "sequences": len(summary),
            "chunks": int(summary["chunks"].sum()),
            "scored_chunks": int(summary["scored_chunks"].sum()),
            "frames": int(summary["frames"].sum()),
            "rna_sequences": split.get("rna_records"),
            "status": {name: int(status.get(name, 0)) for name in STATUSES},
            "virus": int((summary["call"] == "virus").sum()),
            "virus_by_one_chunk": int(((summary["call"] == "virus") & (summary["scored_chunks"] == 1)).sum()),
            "files": {name: int((summary["file"] == name).sum()) for name in FILES},
            "left_out": left_out(summary),
            "taken_in": taken_in(summary),
            "regions": regions,
        },
        "prevalence": prevalence._asdict() if prevalence else None,
        **{key: made[0].get(key) for key in SHARED},
        **{encoder: of_encoder(encoder, made) for encoder in ENCODERS},
        "divergence": gate,
        "workflow": {"version": __version__, "commit": commit or None, "changed": bool(dirty) if commit else None},
        "container": {"image": arguments.image, "sha256": arguments.image_sha256} if arguments.image else None,
        "versions": {"python": platform.python_version(), "snakemake": arguments.snakemake}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }
