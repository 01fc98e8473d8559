"""Labelled sequences as the training of the lite pack takes them: on the device, cut anew for every batch.

A header is NAME|label=1|group=...|family=...|organism=...|source=...|representative=1; label 1 is viral, and
representative 0 a near copy of another sequence.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split
from tokenizers.trainers import BpeTrainer

from virnucflow.cli import InputError
from virnucflow.encoders.dnabert_s import SPECIAL_TOKENS, add_ends
from virnucflow.encoders.esm2 import ALPHABET, TOKEN
from virnucflow.sequences.fasta import read_fasta
from virnucflow.sequences.frames import COMPLEMENT_BIT, LETTERS, OTHER_LETTER, RESIDUE, STOP, letter_codes

PIECE = 6  # letters a token at most: two codons
UNKNOWN, BEGIN, END, _, MASK = range(len(SPECIAL_TOKENS))
FIELDS = ("label", "group", "family", "organism", "source", "representative")
LEARNED_FROM = 60_000  # fragments for the vocabulary
STOPPED = 255


def read_labelled_fasta(paths: list[Path]) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """One row per sequence (file, name, header fields, length), and the letters as codes of frames.LETTER_CODE."""
    rows, letters = [], []
    for path in paths:
        for record in read_fasta(path):
            name, *pairs = record.header.split("|")
            fields = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            if fields.get("label") not in ("0", "1"):
                raise InputError(f"{path}, line {record.line}: no label=0 or label=1 between '|' in the header; add it")
            row = {field: fields.get(field, "") for field in FIELDS}
            rows.append({"file": str(path), "name": name, **row, "length": len(record.sequence)})
            letters.append(letter_codes(record.sequence.upper()))
        if not rows or rows[-1]["file"] != str(path):
            raise InputError(f"{path}: no sequence; give a FASTA file with some, or leave it out")
    table = pd.DataFrame(rows)
    return table.assign(label=table["label"].astype(int)), letters


def words(length: int) -> list[str]:
    """All strings of so many letters, in the order of frames.LETTERS."""
    return ["".join(word) for word in product(LETTERS, repeat=length)]


def learn_tokenizer(letters: list[np.ndarray], weight: np.ndarray, seed: int) -> Tokenizer:
    """Byte pairs of DNA that is cut into pieces of six letters, so that in a reading frame a token is two codons.

    Learned until every piece is one token, so each string of one to six letters has its own: 5460, and five special.
    """
    random = np.random.default_rng(seed)
    text = np.frombuffer(LETTERS.encode(), dtype=np.uint8)

    def texts() -> Iterator[str]:
        for n in range(1, PIECE + 1):
            yield from words(n)
        for i in random.choice(len(letters), LEARNED_FROM, p=weight / weight.sum()):
            length = min(int(random.integers(300, 501)), len(letters[i]))
            start = random.integers(0, len(letters[i]) - length + 1)
            yield text[letters[i][start : start + length] & 3].tobytes().decode()

    tokenizer = Tokenizer(BPE(unk_token=SPECIAL_TOKENS[UNKNOWN]))
    tokenizer.pre_tokenizer = Split(Regex(f".{{1,{PIECE}}}"), "isolated")
    every = sum(4**n for n in range(1, PIECE + 1)) + len(SPECIAL_TOKENS)
    trainer = BpeTrainer(
        vocab_size=every, special_tokens=SPECIAL_TOKENS, show_progress=False, initial_alphabet=list(LETTERS)
    )
    tokenizer.train_from_iterator(texts(), trainer)
    add_ends(tokenizer)
    return tokenizer


class Batch(NamedTuple):
    """Frames of one shape: the fragment of each, its tokens; and the row and GC content of each fragment."""

    fragment: torch.Tensor
    protein: torch.Tensor
    nucleotide: torch.Tensor
    rows: torch.Tensor
    gc: torch.Tensor


class Genomes:
    """The sequences on a device: fragments of them, and the fragments' frames as tokens of both encoders."""

    def __init__(
        self, table: pd.DataFrame, letters: list[np.ndarray], tokenizer: Tokenizer, device: torch.device
    ) -> None:
        self.device = device
        self.dna = torch.from_numpy(np.concatenate(letters)).to(device)
        length = torch.tensor(table["length"].to_numpy(copy=True))
        self.offset, self.length = (length.cumsum(0) - length).to(device), length.to(device)
        self.label = torch.tensor(table["label"].to_numpy(copy=True)).to(device)
        self.group, self.groups = self.codes(table["group"])
        self.family, self.families = self.codes(table["family"].where(table["label"] == 1, "").replace("", None))
        residues = RESIDUE[:OTHER_LETTER, :OTHER_LETTER, :OTHER_LETTER].reshape(-1)
        self.residue = torch.from_numpy(np.where(residues == STOP, STOPPED, TOKEN[residues]).astype(np.uint8)).to(
            device
        )
        self.pieces = [None]
        for n in range(1, PIECE + 1):
            encoded = tokenizer.encode_batch_fast(words(n), add_special_tokens=False)
            ids = [encoding.ids[0] for encoding in encoded]
            self.pieces.append(torch.tensor(ids, device=device))

    def codes(self, column: pd.Series) -> tuple[torch.Tensor, int]:
        """A number a value, -1 for none, and how many values there are."""
        numbers, values = pd.factorize(column)
        return torch.tensor(numbers.astype(np.int64), device=self.device), len(values)

    def cumulative(self, weight: np.ndarray, length: int) -> list[torch.Tensor]:
        """For each label the running sum of the weights of its sequences that are long enough to draw from."""
        weights = torch.tensor(weight, dtype=torch.float64, device=self.device)
        weights = torch.where(self.length >= length, weights, 0.0)
        return [torch.cumsum(weights * (self.label == label), 0) for label in (0, 1)]

    def draw(self, cumulative: list[torch.Tensor], count: int, length: int, viral: float) -> tuple:
        """Rows of (count) sequences, a share `viral` of them viruses, and (count, length) letters from within each."""
        u = torch.rand(3, count, dtype=torch.float64, device=self.device)
        others, viruses = (torch.searchsorted(sums, u[0] * sums[-1], right=True) for sums in cumulative)
        rows = torch.where(u[1] < viral, viruses, others).clamp_(max=len(self.length) - 1)
        start = (u[2] * (self.length[rows] - length + 1)).long()
        return rows, self.fragments(self.offset[rows] + start, length)

    def fragments(self, starts: torch.Tensor, length: int) -> torch.Tensor:
        """(fragments, length) letters from these places of all the DNA."""
        return self.dna[starts[:, None] + torch.arange(length, device=self.device)]

    def batch(self, cumulative: list[torch.Tensor], frames: int, codons: int, letter_more: bool, viral: float) -> Batch:
        """`frames` frames of `codons` codons, of fragments of 3 * codons + 2 letters, without waiting for the device.

        `letter_more`: one more letter after the codons, as the workflow's frames mostly have. Where a frame has none in
        the fragment the genome's next is taken. Drawn are 1.7 fragments a frame, more than enough.
        """
        count, length = int(1.7 * frames), 3 * codons + 2
        rows, letters = self.draw(cumulative, count, length + 2, viral)
        pure = (letters < OTHER_LETTER).all(1)
        strands = torch.stack([letters[:, 1:] & 3, (letters[:, :-1].flip(1) & 3) ^ COMPLEMENT_BIT], 1)
        windows = torch.stack([strands[:, :, f : f + 3 * codons + 1] for f in range(3)], 2).reshape(count, 6, -1)
        proteins = self.translate(windows[..., : 3 * codons])
        kept = ~(proteins == STOPPED).any(-1) & pure[:, None]
        chosen = torch.sort(kept.flatten().to(torch.uint8), descending=True, stable=True).indices[:frames]
        nucleotide = windows.reshape(count * 6, -1)[chosen, : 3 * codons + letter_more]
        inner = letters[:, 1:-1]
        return Batch(
            fragment=chosen // 6,
            protein=self.protein_tokens(proteins.reshape(count * 6, codons)[chosen]),
            nucleotide=self.nucleotide_tokens(nucleotide.long()),
            rows=rows,
            gc=gc_content(inner),
        )

    def frames(self, letters: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """The workflow's frames of (fragments, length) letters, by offset.

        Of each offset fragment, strand (0 forward, 1 reverse), protein and nucleotide tokens. Fragments with a letter
        other than A, C, G, T have none here.
        """
        length = letters.shape[1]
        pure = (letters < OTHER_LETTER).all(1)
        strands = torch.stack([letters & 3, (letters.flip(1) & 3) ^ COMPLEMENT_BIT], 1)
        found = []
        for f in range(3):
            codons = (length - f) // 3
            proteins = self.translate(strands[:, :, f : f + 3 * codons])
            fragment, strand = (~(proteins == STOPPED).any(-1) & pure[:, None]).nonzero(as_tuple=True)
            nucleotide = strands[fragment, strand, f : f + 1 + 3 * codons].long()
            tokens = self.protein_tokens(proteins[fragment, strand]), self.nucleotide_tokens(nucleotide)
            found.append((fragment, strand, *tokens))
        return found

    def translate(self, letters: torch.Tensor) -> torch.Tensor:
        """(..., 3 * codons) letters to (..., codons) residues as tokens of ESM-2, STOPPED for a stop."""
        first, second, third = letters.unflatten(-1, (-1, 3)).int().unbind(-1)
        return self.residue[16 * first + 4 * second + third]

    def protein_tokens(self, proteins: torch.Tensor) -> torch.Tensor:
        """Residues between <cls> and <eos>; a frame that has a stop is there only when too few have none."""
        tokens = F.pad(proteins.long().clamp_(max=ALPHABET.mask_idx), (1, 1))
        tokens[:, 0], tokens[:, -1] = ALPHABET.cls_idx, ALPHABET.eos_idx
        return tokens

    def nucleotide_tokens(self, letters: torch.Tensor) -> torch.Tensor:
        """What the tokenizer makes of A, C, G and T: pieces of six and what is left, between [CLS] and [SEP]."""
        whole = letters.shape[1] // PIECE * PIECE
        parts = [letters.new_full((len(letters), 1), BEGIN)]
        for piece in (letters[:, :whole].unflatten(1, (-1, PIECE)), letters[:, None, whole:]):
            if n := piece.shape[-1]:
                powers = 4 ** torch.arange(n - 1, -1, -1, device=self.device)
                parts.append(self.pieces[n][(piece * powers).sum(-1)])
        return torch.cat([*parts, letters.new_full((len(letters), 1), END)], 1)


def gc_content(letters: torch.Tensor) -> torch.Tensor:
    """(fragments, length) letters to (fragments) shares of G and C."""
    return ((letters == LETTERS.index("G")) | (letters == LETTERS.index("C"))).float().mean(1)
