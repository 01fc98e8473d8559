"""Labelled sequences, as the training of the lite pack takes them.

A header is NAME|label=1|group=...|family=...|organism=...|source=...|representative=1; label 1 is viral, and
representative 0 a near copy of another sequence. Letters are codes of frames.LETTER_CODE, uint8.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from virnucflow.cli import InputError
from virnucflow.sequences.fasta import read_fasta
from virnucflow.sequences.frames import COMPLEMENT_BIT, OTHER_LETTER, letter_codes

FIELDS = ("label", "group", "family", "organism", "source", "representative")
GENES = "metaphlan2"  # source of genes alone; the others are genomes and transcripts
TRANSCRIPTS = "protozoa"  # group of that source whose entries are whole transcripts
NO_SPACER, MEAN_SPACER, LONGEST_SPACER = 0.25, 80, 400  # share, bases, bases
SHUFFLED, SHUFFLED_LENGTH = 16_000, 600
BLOCKS = (2, 4, 5)  # letters that stay together when DNA is shuffled: no multiple of a codon


def read_labelled_fasta(paths: list[Path]) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """One row per sequence (file, name, header fields, length), and the letters of each."""
    rows, letters = [], []
    for path in paths:
        for record in read_fasta(path):
            name, *pairs = record.header.split("|")
            fields = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            if fields.get("label") not in ("0", "1"):
                raise InputError(f"{path}, line {record.line}: no label=0 or label=1 between '|' in the header; add it")
            row = {field: fields.get(field, "") for field in FIELDS}
            rows.append({"file": path.name, "name": name, **row, "length": len(record.sequence)})
            letters.append(letter_codes(record.sequence.upper()))
        if not rows or rows[-1]["file"] != path.name:
            raise InputError(f"{path}: no sequence; give a FASTA file with some, or leave it out")
    table = pd.DataFrame(rows)
    return table.assign(label=table["label"].astype(int), genes=table["source"] == GENES), letters


def reverse_complement(letters: np.ndarray) -> np.ndarray:
    """The other strand; any other letter than A, C, G and T stays."""
    reverse = letters[::-1]
    return np.where(reverse < OTHER_LETTER, reverse ^ COMPLEMENT_BIT, reverse)


def join_genes(table: pd.DataFrame, letters: list[np.ndarray], seed: int) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Make one sequence of all genes of a genome, as a genome has them: on either strand, with spacers between them.

    Fragments of genes alone are coding from end to end, so that one frame is always open; most fragments of a real
    genome that have no open frame lie across the end of a gene. A spacer is a piece of one of the genes read backwards
    without the complement, which has its composition and codes for nothing.
    """
    random = np.random.default_rng(seed)
    joined = (table["genes"] & (table["group"] != TRANSCRIPTS)).to_numpy()
    rows, sequences = [], []
    for _, members in table[joined].groupby(["label", "group", "family", "organism"], sort=False):
        pieces = []
        for row in random.permutation(members.index.to_numpy()):
            gene = letters[row]
            pieces.append(gene if random.random() < 0.5 else reverse_complement(gene))
            if random.random() >= NO_SPACER:
                length = min(int(random.geometric(1 / MEAN_SPACER)), LONGEST_SPACER)
                like = letters[random.choice(members.index.to_numpy())]
                start = random.integers(0, max(1, len(like) - length))
                pieces.append(like[start : start + length][::-1])
        sequences.append(np.concatenate(pieces))
        rows.append(
            members.iloc[0].to_dict() | {"name": "genes of " + (members["family"] + members["organism"]).iloc[0]}
        )
    kept = np.flatnonzero(~joined)
    whole = pd.concat([table.iloc[kept], pd.DataFrame(rows, columns=table.columns)], ignore_index=True)
    sequences = [letters[row] for row in kept] + sequences
    return whole.assign(length=[len(sequence) for sequence in sequences]), sequences


def shuffle(table: pd.DataFrame, letters: list[np.ndarray], seed: int) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Fragments of all groups, of viruses and of others, whose blocks of a few letters are in random order.

    They have the composition of what they come from and code for nothing: synthetic others, so that no composition
    alone makes a virus.
    """
    random = np.random.default_rng(seed)
    long = table[table["length"] >= SHUFFLED_LENGTH]
    if long.empty:
        raise InputError(f"no sequence of {SHUFFLED_LENGTH} bases or more to train on; give --fasta longer ones")
    even = 1 / long.groupby(["label", "group"])["length"].transform("sum") * long["length"]
    chosen = random.choice(long.index.to_numpy(), SHUFFLED, p=even / even.sum())
    starts = (random.random(SHUFFLED) * (long["length"].loc[chosen].to_numpy() - SHUFFLED_LENGTH + 1)).astype(int)
    fragments = np.stack([letters[row][start : start + SHUFFLED_LENGTH] for row, start in zip(chosen, starts)])
    sequences: list[np.ndarray] = []
    for part, block in zip(np.array_split(fragments, len(BLOCKS)), BLOCKS):
        blocks = part.reshape(len(part), -1, block)
        order = random.random(blocks.shape[:2]).argsort(axis=1)
        sequences += list(np.take_along_axis(blocks, order[..., None], axis=1).reshape(len(part), -1))
    rows = {
        "file": "", "name": [f"shuffled_{i}" for i in range(SHUFFLED)], "label": 0, "group": "shuffled", "family": "",
        "organism": "shuffled " + long["group"].loc[chosen].to_numpy().astype(object), "source": "shuffled",
        "representative": "1", "length": SHUFFLED_LENGTH, "genes": False,
    }  # fmt: skip
    return pd.DataFrame(rows), sequences


def gc_contents(letters: list[np.ndarray]) -> np.ndarray:
    """Share of G and C among the letters of each sequence, float64 (sequences)."""
    # T, C, A, G are 0 to 3: C and G are odd.
    return np.array(
        [np.count_nonzero((s & 1) & (s < OTHER_LETTER)) / max(1, np.count_nonzero(s < OTHER_LETTER)) for s in letters]
    )
