"""Split the sequences of one sample into chunks, and list every sequence.

Writes the chunk list in contiguous slices of about equal bases, one to each file named by --chunks (a slice may be
empty), and a table with one row an input record, in input order: sequence_id, length, chunks, status.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from virnucflow.chunks import chunk_coordinates, chunk_name
from virnucflow.cli import InputError, log, run, staged
from virnucflow.fasta import Record, write_record
from virnucflow.records import read_records
from virnucflow.tables import SEQUENCE_COLUMNS, TSV

NAMES_SHOWN = 5  # of many duplicates, an error names this many


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--fasta", type=Path, nargs="+", required=True, help="FASTA or GenBank files, plain or compressed; read twice"
    )
    parser.add_argument("--chunk-length", type=int, required=True, help="bases a chunk")
    parser.add_argument("--chunks", type=Path, nargs="+", required=True, help="FASTA files of chunks, to be written")
    parser.add_argument("--sequences", type=Path, required=True, help="table of the sequences, to be written")
    parser.add_argument(
        "--duplicate-ids",
        choices=["error", "rename"],
        default="error",
        help="what to do with a sequence name that was there before: stop, or append _2, _3, ... and report it",
    )
    return parser.parse_args()


def read_all(paths: list[Path], check_letters: bool) -> Iterator[tuple[Path, Record]]:
    for path in paths:
        for record in read_records(path, check_letters):
            yield path, record


def unique_ids(places: list[tuple[Path, int]], names: list[str], duplicate_ids: str) -> list[str]:
    """The sequences' ids: their names, made unique with `rename`; InputError for duplicates otherwise."""
    count = Counter(names)
    duplicates = [name for name, times in count.items() if times > 1]
    if duplicates and duplicate_ids == "error":
        shown = "; ".join(
            f"{name!r} in " + ", ".join(f"{p} line {n}" for (p, n), other in zip(places, names) if other == name)
            for name in duplicates[:NAMES_SHOWN]
        )
        more = f"; and {len(duplicates) - NAMES_SHOWN} more" if len(duplicates) > NAMES_SHOWN else ""
        raise InputError(f"duplicate sequence names: {shown}{more}; rename them or use duplicate_ids: rename")
    taken, seen, ids = set(names), Counter(), []
    for (path, line), name in zip(places, names):
        seen[name] += 1
        new = name
        if seen[name] > 1:
            while (new := f"{name}_{seen[name]}") in taken:
                seen[name] += 1
            taken.add(new)
            log.warning("%s, line %d: duplicate name %r is renamed to %r", path, line, name, new)
        ids.append(new)
    return ids


def split(fasta: list[Path], ids: list[str], chunk_length: int, total: int, outputs: list[Path]) -> None:
    """Write the chunks; the shard of a chunk is where its first base lies among all `total` bases of all chunks."""
    done, shard = 0, 0
    file = outputs[0].open("w", encoding="utf-8", newline="\n")
    for sequence_id, (_, record) in zip(ids, read_all(fasta, check_letters=False), strict=True):
        for number, (start, end) in enumerate(chunk_coordinates(len(record.sequence), chunk_length), start=1):
            while shard < done * len(outputs) // total:
                file.close()
                shard += 1
                file = outputs[shard].open("w", encoding="utf-8", newline="\n")
            write_record(file, chunk_name(sequence_id, number), record.sequence[start:end])
            done += end - start
    file.close()
    for output in outputs[shard + 1 :]:
        output.touch()


def main() -> None:
    arguments = parse_arguments()
    if arguments.chunk_length < 3:
        raise InputError(f"--chunk-length {arguments.chunk_length}: a chunk holds at least one codon, 3 bases")
    outputs = {path.resolve() for path in (*arguments.chunks, arguments.sequences)}
    for path in arguments.fasta:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a regular file; the input is read twice, so give a file and not a pipe")
        if path.resolve() in outputs:
            raise InputError(f"{path}: the input is also named as an output; give another output")
    # First pass: everything that can be wrong with the input comes out here, before anything is written.
    places, names, lengths, rna = [], [], [], Counter()
    for path, record in read_all(arguments.fasta, check_letters=True):
        rna[path] += "U" in record.sequence or "u" in record.sequence
        places.append((path, record.line))
        names.append(record.name)
        lengths.append(len(record.sequence))
    for path, number in rna.items():
        if number:
            log.warning("%s: U in %d sequences; a codon with U gives no residue: replace U by T", path, number)
    ids = unique_ids(places, names, arguments.duplicate_ids)
    chunks, total = [], 0
    for length in lengths:
        coordinates = list(chunk_coordinates(length, arguments.chunk_length))
        chunks.append(len(coordinates))
        total += sum(end - start for start, end in coordinates)
    with staged(*arguments.chunks, arguments.sequences) as (*partial_chunks, partial_sequences):
        split(arguments.fasta, ids, arguments.chunk_length, total, partial_chunks)
        with partial_sequences.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, **TSV)
            table.writerow(SEQUENCE_COLUMNS)
            for sequence_id, length, number in zip(ids, lengths, chunks, strict=True):
                table.writerow([sequence_id, length, number, "ok" if length else "empty"])
    log.info("%d sequences, %d chunks in %d files", len(ids), sum(chunks), len(arguments.chunks))


if __name__ == "__main__":
    run(main)
