"""The published results of a sample, read in parts: a sample may have more rows than memory has room for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from virnucflow.cli import InputError, reading
from virnucflow.files.json_files import read_published_json
from virnucflow.files.result_files import CHUNKS_TSV, PREDICTIONS_TXT, REGIONS_TSV, RUN_JSON, result_of
from virnucflow.sequences.chunks import chunk_identities

BLOCK = 1 << 24  # bytes of a table that are held at a time
ADVICE = "make it again with write_results.py"

# What is read of each table; others of its columns are left out.
SEQUENCES = {
    "sequence_id": pa.string(),
    "length": pa.int64(),
    "chunks": pa.int64(),
    "frames": pa.int64(),
    "viral_chunks": pa.int64(),
    "best_score": pa.float64(),
    "call": pa.string(),
    "status": pa.string(),
    "scored_chunks": pa.int64(),
    "viral_fraction": pa.float64(),
    "score": pa.float64(),
}
CHUNKS = {
    "sequence_id": pa.string(),
    "chunk": pa.int64(),
    "start": pa.int64(),
    "end": pa.int64(),
    "kind": pa.string(),
    "best_score": pa.float64(),
    "call": pa.string(),
    "status": pa.string(),
}
REGIONS = {
    "sequence_id": pa.string(),
    "length": pa.int64(),
    "start": pa.int64(),
    "end": pa.int64(),
    "scored_chunks": pa.int64(),
    "score": pa.float64(),
    "lower": pa.float64(),
    "upper": pa.float64(),
}
FRAMES = {"Sequence_ID": pa.string(), "Prediction": pa.string(), "score2": pa.float64()}
COMPARED = {
    "score_virus_fast": pa.float64(),
    "score_virus_reference": pa.float64(),
    "prediction_fast": pa.string(),
    "prediction_reference": pa.string(),
}


# Labels that a column may have; of all others but names, the numbers that it may have.
CALLS = ("virus", "others", "")
LABELS = dict.fromkeys(("Prediction", "prediction_fast", "prediction_reference"), CALLS[:2]) | {
    "call": CALLS,
    "kind": ("whole", "longest", ""),
}
SHARES = (
    *("best_score", "viral_fraction", "score", "lower", "upper", "score2"),
    *("score_virus_fast", "score_virus_reference"),
)
MOST = 1 << 40  # bases, chunks or frames

Number = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Minutes = Annotated[float, msgspec.Meta(ge=0, le=MOST)]


# Settings are values, lists of them, and sections of both.
Value = bool | int | float | str | None
Setting = Value | list[Value]


class Counts(TypedDict):
    """What run.json counts."""

    sequences: Number
    chunks: Number
    scored_chunks: Number
    frames: Number
    rna_sequences: Number | None
    status: dict[str, Number]
    virus: Number
    virus_by_one_chunk: Number
    regions: Number


class Agreement(TypedDict):
    """The share of frames with the same label in both attentions, with its 95 % interval."""

    estimate: Share | None
    lower: Share | None
    upper: Share | None


class Gate(TypedDict):
    """The gate's decision as run.json repeats it."""

    decision: str
    attention: str
    message: str
    frames: Number
    run_frames: Number
    frame_agreement: Agreement


class InputFile(TypedDict):
    """An input file as it was split."""

    path: str
    sha256: str
    bytes: Number


class Workflow(TypedDict):
    """The workflow that made the results."""

    version: str
    commit: str | None
    changed: bool | None


class Run(TypedDict):
    """What is read of run.json."""

    sample: str
    inputs: list[InputFile]
    settings: dict[str, Setting | dict[str, Setting]]
    counts: Counts
    device_minutes: NotRequired[dict[Literal["dnabert_s", "esm2"], Minutes] | None]
    model: str
    trained: bool
    calibration: dict[str, Any] | None
    attention: str
    pack_sha256: dict[str, str]
    dnabert_s: list[dict[str, str]]
    esm2: list[dict[str, str]]
    divergence: Gate | None
    workflow: Workflow
    container: NotRequired[dict[str, str | None] | None]
    versions: dict[str, str | None]


def read_run(folder: Path) -> Run:
    """The run.json of a sample, whose folder has its name. InputError when it is another sample's."""
    path = result_of(folder, RUN_JSON)
    run = read_published_json(path, Run, ADVICE)
    if run["sample"] != folder.name:
        raise InputError(f"{path}: is of sample {run['sample']!r}; {ADVICE}")
    if "rna" not in run["settings"]:
        raise InputError(f"{path}: does not say how RNA was read; {ADVICE}")
    return run


def read_parts(path: Path, columns: dict[str, pa.DataType]) -> Iterator[pd.DataFrame]:
    """Yield the rows of a tab-separated table in parts: these columns, each of its type; a number may be missing.

    Raises InputError when a column or a value is not as it should be.
    """
    parse = pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False)
    read = pyarrow.csv.ReadOptions(block_size=BLOCK)
    convert = pyarrow.csv.ConvertOptions(
        column_types=columns, include_columns=list(columns), null_values=[""], strings_can_be_null=False
    )
    with reading(path, "a table of results", ADVICE):
        reader = pyarrow.csv.open_csv(path, read, parse, convert)
    with reader:
        while True:
            with reading(path, "a table of results", ADVICE):
                batch = next(reader, None)
            if batch is None:
                return
            part = batch.to_pandas()
            for column in part:
                check_values(path, part[column])
            yield part


def check_values(path: Path, values: pd.Series) -> None:
    """InputError when a column has a value that it cannot have. A share may be missing."""
    name = str(values.name)
    if name in LABELS:
        good = values.isin(LABELS[name])
    elif name in SHARES:
        good = values.isna() | values.between(0, 1)
    elif pd.api.types.is_numeric_dtype(values):
        good = values.between(0, MOST)
    else:
        return
    if not good.all():
        raise InputError(f"{path}: {name} is {str(values[~good].iloc[0])!r}; {ADVICE}")


def read_table(path: Path, columns: dict[str, pa.DataType]) -> pd.DataFrame:
    """All rows of a table that is known to be small."""
    return pd.concat([_empty(columns), *read_parts(path, columns)])


def _empty(columns: dict[str, pa.DataType]) -> pd.DataFrame:
    return pa.schema(list(columns.items())).empty_table().to_pandas()


def read_chunks_of(folder: Path, sequence_ids: set[str]) -> pd.DataFrame:
    """The chunks of some sequences, with all of CHUNKS."""
    return _read_rows_of(result_of(folder, CHUNKS_TSV), CHUNKS, sequence_ids)


def read_regions_of(folder: Path, sequence_ids: set[str]) -> pd.DataFrame:
    """The regions of some sequences, with all of REGIONS."""
    return _read_rows_of(result_of(folder, REGIONS_TSV), REGIONS, sequence_ids)


def _read_rows_of(path: Path, columns: dict[str, pa.DataType], sequence_ids: set[str]) -> pd.DataFrame:
    parts = (part[part["sequence_id"].isin(sequence_ids)] for part in read_parts(path, columns))
    return pd.concat([_empty(columns), *parts])


def read_frames_of(folder: Path, sequence_ids: set[str]) -> pd.DataFrame:
    """The whole frames of some sequences: sequence_id, chunk, frame, score, prediction."""
    path, parts = result_of(folder, PREDICTIONS_TXT), []
    for part in read_parts(path, FRAMES):
        with reading(path, "v1's table of frames", ADVICE):
            sequence_ids_of_part, chunks = chunk_identities(pa.array(part["Sequence_ID"].str[:-2], pa.string()))
        frames = pd.DataFrame(
            {
                "sequence_id": sequence_ids_of_part.to_pandas(),
                "chunk": chunks.to_pandas(),
                "frame": part["Sequence_ID"].str[-2:],
                "score": part["score2"],
                "prediction": part["Prediction"],
            }
        )
        parts.append(frames[frames["sequence_id"].isin(sequence_ids)])
    return pd.concat(parts) if parts else pd.DataFrame(columns=["sequence_id", "chunk", "frame", "score", "prediction"])
