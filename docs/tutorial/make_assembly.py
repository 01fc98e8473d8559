"""Make the tutorial's assembly: the genomes of resources/example in contigs as assemblers leave them, with the truth.

Genomes of up to 10 kb are one contig, as small viruses often are. Longer ones are cut: into a few long and many short
contigs of at least 500 bases, with gaps of up to 300 bases between them. Contigs lie on either strand and come in any
order. The same files come out each time: assembly.fasta, truth.tsv, a table of labels, and samples.tsv, which names
both.
"""

import argparse
import csv
import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from Bio import SeqIO
from Bio.Seq import Seq

EXAMPLE = Path(__file__).resolve().parents[2] / "resources" / "example"
VIRUSES = ("hiv_1.fasta", "phage_lambda.fasta.gz", "phage_phix174.gb")
OTHERS = ("escherichia_coli.fasta", "fruit_fly.fasta", "human_mitochondrion.fasta")
SHORTEST, WHOLE, MOST_GAP = 500, 10_000, 300  # bases


class Contig(NamedTuple):
    """A piece of a genome, from `start` (1 is the first base) to `end`; its sequence is as its strand has it."""

    label: str
    source: str
    start: int
    end: int
    strand: str
    sequence: Seq


def read_genome(path: Path) -> Seq:
    """The sequence of a file with one record."""
    kind = "genbank" if path.suffix == ".gb" else "fasta"
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return SeqIO.read(file, kind).seq


def cut(length: int, draw: random.Random) -> Iterator[tuple[int, int]]:
    """First and last base, from 1, of the contigs of a genome; lengths are log-normal, as those of assemblies."""
    start = 1
    while length - start + 1 >= SHORTEST:
        end = length if length <= WHOLE else start + max(SHORTEST, int(draw.lognormvariate(7.5, 0.9))) - 1
        if end <= length:
            yield start, end
        start = end + 1 + draw.randint(0, MOST_GAP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files are written")
    folder: Path = parser.parse_args().folder
    draw, contigs = random.Random(0), []
    for label, files in (("virus", VIRUSES), ("others", OTHERS)):
        for file in files:
            genome = read_genome(EXAMPLE / file)
            for start, end in cut(len(genome), draw):
                piece, strand = genome[start - 1 : end], draw.choice("+-")
                sequence = piece if strand == "+" else piece.reverse_complement()
                contigs.append(Contig(label, file.split(".")[0], start, end, strand, sequence))
    draw.shuffle(contigs)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "assembly.fasta").open("w") as fasta, (folder / "truth.tsv").open("w", newline="") as truth:
        table = csv.writer(truth, delimiter="\t", lineterminator="\n")
        table.writerow(["sequence_id", *Contig._fields[:-1]])
        for number, contig in enumerate(contigs, start=1):
            fasta.write(f">contig_{number}\n{contig.sequence}\n")
            table.writerow([f"contig_{number}", *contig[:-1]])
    (folder / "samples.tsv").write_text(
        f"sample\tfasta\tlabels\nassembly\t{folder / 'assembly.fasta'}\t{folder / 'truth.tsv'}\n"
    )


if __name__ == "__main__":
    main()
