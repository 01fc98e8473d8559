"""The page over all samples: what it shows, how numbers look on it, and the template that has its words."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

import jinja2
import msgspec
import numpy as np
import pandas as pd
from markupsafe import Markup

from virnucflow.cli import InputError, one_line, reading
from virnucflow.files.foreign import read_yaml
from virnucflow.files.result_files import (
    CHUNKS_TSV,
    DIVERGENCE_TSV,
    FASTA,
    REGIONS_BED,
    REGIONS_TSV,
    RUN_JSON,
    SEQUENCES_TSV,
    result_of,
)
from virnucflow.overview.figures import draw_agreement, draw_lengths, draw_scores, draw_sequence
from virnucflow.overview.results import (
    ADVICE,
    COMPARED,
    read_chunks_of,
    read_frames_of,
    read_regions_of,
    read_table,
)
from virnucflow.overview.tally import Tally, joined_dots, per_minute, ranked, ranked_regions
from virnucflow.packs.encoders import ENCODERS

TEMPLATE = Path(__file__).with_name("page.html")
# What the page has at most, however large the run; it says so, and where the rest is.
MOST_SAMPLES = 1000  # rows
MOST_SEQUENCES = 200  # rows
MOST_SEQUENCES_DRAWN = 12
MOST_AROUND_DRAWN = 6  # sequences that are not called virus and have a region
MOST_SAMPLES_DRAWN = 24  # scores
MOST_GATES_DRAWN = 6
MOST_INPUTS = 100  # files
FILES_OF_SAMPLE = {
    "sequences": SEQUENCES_TSV,
    "chunks": CHUNKS_TSV,
    "regions": REGIONS_TSV,
    "regions_bed": REGIONS_BED,
    "viral": FASTA["viral"],
    "run": RUN_JSON,
    "compared_frames": DIVERGENCE_TSV,
}  # that it names
NO_VALUE = "\N{EN DASH}"

Quantity = TypeVar("Quantity", int, float)


class Author(TypedDict):
    """Who is cited."""

    name: str


class Reference(TypedDict):
    """What of an entry of a CITATION.cff is shown."""

    title: str
    authors: list[Author]
    version: NotRequired[str]
    journal: NotRequired[str]
    volume: NotRequired[str]
    start: NotRequired[str]
    year: NotRequired[str]
    doi: NotRequired[str]
    url: NotRequired[str]


class Citation(Reference):
    """A CITATION.cff: the software, and what else is to be cited."""

    references: list[Reference]


def write_page(tallies: Sequence[Tally], measure: str, citation: Path, path: Path) -> None:
    """Write the page over these samples; the same results give the same bytes."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, finalize=printable, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"whole": whole, "share": share, "score": score, "number": number, "text": text}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    path.write_text(template.render(content(tallies, measure, citation)), encoding="utf-8")


def printable(value: object) -> object:
    """A text from elsewhere as one printable line; whatever else is on the page as it is."""
    return one_line(value) if type(value) is str else value


def content(tallies: Sequence[Tally], measure: str, citation: Path) -> dict[str, Any]:
    """All that the template takes."""
    top = ranked(pd.concat([pd.DataFrame(), *(one.top for one in tallies)]), measure).head(MOST_SEQUENCES)
    within = ranked_regions(pd.concat([pd.DataFrame(), *(one.within for one in tallies)])).head(MOST_SEQUENCES)
    along_them = pd.concat([top.head(MOST_SEQUENCES_DRAWN), around(within, tallies)])
    drawn = sorted(tallies, key=lambda one: -one.calls["virus"])[:MOST_SAMPLES_DRAWN]
    gated = sorted((one for one in tallies if compared(one)), key=lambda one: agreement(one)["estimate"])
    dots = joined_dots(pd.concat([pd.DataFrame(), *(one.dots for one in tallies)]))
    return {
        "measure": measure,
        "samples": tallies[:MOST_SAMPLES],
        "number_of_samples": len(tallies),
        "totals": totals(tallies),
        "warnings": [(one.name, warning) for one in tallies for warning in one.warnings],
        "drawn_samples": [
            (one, Markup(draw_scores(one.histogram, measure))) for one in drawn if one.histogram.any(axis=None)
        ],
        "lengths": Markup(draw_lengths(bubbles(dots), measure)) if len(dots) else None,
        "sequences_in_lengths": int(dots["number"].sum()) if len(dots) else 0,
        "top": top.to_dict("records"),
        "within": within.to_dict("records"),
        "drawn_sequences": drawn_sequences(along_them, {one.name: one.folder for one in tallies}),
        "gated": gated,
        "timed": timed(tallies),
        "drawn_gates": [draw_gate(one) for one in gated[:MOST_GATES_DRAWN]],
        "methods": methods(tallies),
        "inputs": [(one.name, file) for one in tallies for file in one.run["inputs"]][:MOST_INPUTS],
        "number_of_inputs": sum(len(one.run["inputs"]) for one in tallies),
        "citations": citations(citation),
        "files": {name: result_of(Path("results/SAMPLE"), file) for name, file in FILES_OF_SAMPLE.items()},
    }


def totals(tallies: Sequence[Tally]) -> dict[str, Any]:
    """The sums over all samples."""
    names = ["sequences", "bases", "chunks", "frames", "scored_chunks", "chunks_by_longest", "virus_by_one_chunk"]
    names += ["regions", "regions_within"]
    sums: dict[str, Any] = {name: sum(getattr(one, name) for one in tallies) for name in names}
    for name in ("calls", "uncalled", "of_chunks"):
        sums[name] = added(getattr(one, name) for one in tallies)
    sums["scored_share"] = sums["scored_chunks"] / sums["chunks"] if sums["chunks"] else np.nan
    return sums


def timed(tallies: Sequence[Tally]) -> dict[str, Any] | None:
    """The minutes of devices, by encoder and together, over the samples that say them, whose bases a minute has; None
    where none does."""
    known = [one for one in tallies if one.minutes_by_encoder]
    if not known:
        return None
    by_encoder = added(one.minutes_by_encoder for one in known)
    minutes = sum(by_encoder.values())
    return {
        "samples": len(known),
        "by_encoder": by_encoder,
        "minutes": minutes,
        "bases_per_minute": per_minute(sum(one.bases for one in known), minutes),
        "devices": sorted({device for one in known for device in one.devices}),
    }


def added(numbers: Iterable[Mapping[str, Quantity]]) -> dict[str, Quantity]:
    """Numbers by name, added up."""
    sums: dict[str, Quantity] = {}
    for some in numbers:
        for name, its in some.items():
            sums[name] = sums[name] + its if name in sums else its
    return sums


def bubbles(dots: pd.DataFrame) -> pd.DataFrame:
    """Where the dots of joined_dots() are drawn: in the middle of those that each stands for."""
    places = {"bases": 10 ** (dots["logarithm"] / dots["number"]), "score": dots["score"] / dots["number"]}
    return dots[["call", "number"]].assign(**places)


def around(within: pd.DataFrame, tallies: Sequence[Tally]) -> pd.DataFrame:
    """The sequences that are drawn for regions within them, and are not called virus: those of the surest regions."""
    others = pd.concat([pd.DataFrame(), *(one.around for one in tallies)])
    if others.empty:
        return others
    places = ["sample", "sequence_id"]
    return within[places].drop_duplicates().merge(others, on=places).head(MOST_AROUND_DRAWN)


def drawn_sequences(top: pd.DataFrame, folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The rows of some sequences, each with its chunks and frames and a figure of them."""
    if top.empty:
        return []
    chunks, frames, regions = {}, {}, {}
    for sample, rows in top.groupby("sample", sort=False):
        sequence_ids = set(rows["sequence_id"])
        chunks[sample] = read_chunks_of(folders[sample], sequence_ids)
        frames[sample] = read_frames_of(folders[sample], sequence_ids)
        regions[sample] = read_regions_of(folders[sample], sequence_ids)
    return [
        row | along(row, *(tables[row["sample"]] for tables in (chunks, frames, regions, folders)))
        for row in top.to_dict("records")
    ]


def along(
    row: Mapping[str, Any], chunks: pd.DataFrame, frames: pd.DataFrame, regions: pd.DataFrame, folder: Path
) -> dict[str, Any]:
    """What is along a sequence."""
    of_chunks = chunks[chunks["sequence_id"] == row["sequence_id"]]
    if len(of_chunks) != row["chunks"]:
        raise InputError(f"{result_of(folder, CHUNKS_TSV)}: has not the chunks of {row['sequence_id']!r}; {ADVICE}")
    of_frames = frames[frames["sequence_id"] == row["sequence_id"]]
    of_frames = of_frames.merge(of_chunks[["chunk", "start", "end"]], on="chunk")
    of_regions = regions[regions["sequence_id"] == row["sequence_id"]]
    return {
        "whole_frames": len(of_frames),
        "regions": len(of_regions),
        "chunks_by_longest": int((of_chunks["kind"] == "longest").sum()),
        "figure": Markup(draw_sequence(of_chunks, of_frames, of_regions)),
    }


def compared(one: Tally) -> bool:
    """Whether the sample's frames were compared by the gate."""
    gate = one.run["divergence"]
    return gate is not None and gate["frame_agreement"]["estimate"] is not None


def agreement(one: Tally) -> Mapping[str, Any]:
    """The agreement of both attentions' labels of a sample that was compared."""
    gate = one.run["divergence"]
    assert gate is not None
    return gate["frame_agreement"]


def draw_gate(one: Tally) -> dict[str, Any]:
    """A compared sample's frames, as a figure and in figures."""
    frames = read_table(result_of(one.folder, DIVERGENCE_TSV), COMPARED)
    fast, reference = frames["score_virus_fast"], frames["score_virus_reference"]
    varied = len(frames) > 1 and fast.std() > 0 and reference.std() > 0
    return {
        "sample": one.name,
        "frames": len(frames),
        "flipped": int((frames["prediction_fast"] != frames["prediction_reference"]).sum()),
        "correlation": float(np.corrcoef(fast, reference)[0, 1]) if varied else None,
        "figure": Markup(draw_agreement(frames)),
    }


def methods(tallies: Sequence[Tally]) -> dict[str, list[str]]:
    """What run.json says of how the results were made: by its key each value that some sample has, as text."""
    said: dict[str, dict[str, None]] = {}
    for one in tallies:
        run: Mapping[str, Any] = one.run
        kept = ("model", "attention", "workflow", "settings", "versions", "container", "pack_sha256", *ENCODERS)
        for name, value in flat({name: run.get(name) for name in kept}):
            said.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in said.items()}


def flat(value: Any, name: str = "") -> Iterable[tuple[str, str]]:  # noqa: ANN401
    """The values of nested JSON by their keys, joined by points; those of lists under the list's key."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from flat(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for part in value:
            yield from flat(part, name)
    elif value is not None:
        yield name, str(value)


def citations(path: Path) -> list[str]:
    """The references of a CITATION.cff, the software first, each as a line."""
    text = read_yaml(path, "a citation file", "restore it")
    with reading(path, "a citation file", "restore it"):
        cited = msgspec.convert(text, Citation)
    return [in_a_line(cited), *map(in_a_line, cited["references"])]


def in_a_line(entry: Reference) -> str:
    """Authors, title, and where it was published."""
    authors = ", ".join(author["name"] for author in entry["authors"]).rstrip(".")
    version = [f"version {entry['version']}"] if "version" in entry else []
    volume = ":".join(filter(None, [entry.get("volume"), entry.get("start")]))
    journal = [" ".join(filter(None, [entry.get("journal"), volume]))]
    address = [f"doi:{entry['doi']}"] if "doi" in entry else [entry.get("url", "")]
    return ". ".join(filter(None, [authors, entry["title"], *version, *journal, entry.get("year"), *address]))


def data(name: str, value: object, shown: str) -> Markup:
    """A number of the page, exactly and as it is shown; `name` says what it is of."""
    return Markup('<data data-of="{}" value="{}">{}</data>').format(*map(printable, (name, value, shown)))


def whole(name: str, value: int) -> Markup:
    """A whole number."""
    return data(name, value, f"{value:,}")


def share(name: str, value: float | None, digits: int = 1) -> Markup:
    """A share, in percent; a dash where there is none."""
    return data(name, "", NO_VALUE) if value is None or np.isnan(value) else data(name, value, f"{value:.{digits}%}")


def score(name: str, value: float | None, digits: int = 3) -> Markup:
    """A score; a dash where there is none."""
    return number(name, value, digits)


def number(name: str, value: float | None, digits: int = 0) -> Markup:
    """A number that is not whole; a dash where there is none."""
    return data(name, "", NO_VALUE) if value is None or np.isnan(value) else data(name, value, f"{value:,.{digits}f}")


def text(name: str, values: Mapping[str, list[str]]) -> Markup:
    """What run.json has under a key, of all samples; a dash where none has it."""
    return Markup(" and ").join(data(name, value, value) for value in values.get(name, [])) or Markup(NO_VALUE)
