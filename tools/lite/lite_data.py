"""Labelled sequences on the device, cut anew for every batch of the training of the lite pack."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split
from tokenizers.trainers import BpeTrainer

from virnucflow.encoders.dnabert_s import SPECIAL_TOKENS, add_ends
from virnucflow.encoders.esm2 import ALPHABET, TOKEN
from virnucflow.sequences.frames import COMPLEMENT_BIT, LEAST_RESIDUES, LETTERS, OTHER_LETTER, RESIDUE, STOP

PIECE = 6  # letters a token at most: two codons
UNKNOWN, BEGIN, END, _, MASK = range(len(SPECIAL_TOKENS))
STOPPED = 255
PARTS = 8  # of a batch of longest stretches, by length


def words(length: int) -> list[str]:
    """All strings of so many letters, in the order of frames.LETTERS."""
    return ["".join(word) for word in product(LETTERS, repeat=length)]


def learn_tokenizer() -> Tokenizer:
    """Byte pairs of DNA that is cut into pieces of six letters, so that in a reading frame a token is two codons.

    Learned of all strings of one to six letters until each is one token: 5460, and five special.
    """
    pieces = [word for n in range(1, PIECE + 1) for word in words(n)]
    tokenizer = Tokenizer(BPE(unk_token=SPECIAL_TOKENS[UNKNOWN]))
    tokenizer.pre_tokenizer = Split(Regex(f".{{1,{PIECE}}}"), "isolated")
    trainer = BpeTrainer(
        vocab_size=len(pieces) + len(SPECIAL_TOKENS),
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
        initial_alphabet=list(LETTERS),
    )
    tokenizer.train_from_iterator(pieces, trainer)
    add_ends(tokenizer)
    return tokenizer


class Batch(NamedTuple):
    """Frames to train on: the fragment of each, its tokens; and the row and GC content of each fragment drawn.

    Tokens are in parts of one length each, which follow each other in the order of `fragment`.
    """

    fragment: torch.Tensor
    proteins: list[torch.Tensor]
    nucleotides: list[torch.Tensor]
    rows: torch.Tensor
    gc: torch.Tensor
    whole: bool  # frames without a stop, not longest stretches


class Genomes:
    """The sequences on a device: fragments of them, and the fragments' frames as tokens of both encoders."""

    def __init__(self, table: pd.DataFrame, letters: np.ndarray, tokenizer: Tokenizer, device: torch.device) -> None:
        self.device = device
        self.dna = torch.from_numpy(letters).to(device)
        length = torch.tensor(table["length"].to_numpy(copy=True))
        self.offset, self.length = (length.cumsum(0) - length).to(device), length.to(device)
        self.label = torch.tensor(table["label"].to_numpy(copy=True)).to(device)
        self.group, self.groups = self.codes(table["group"])
        self.family, self.families = self.codes(table["family"].where(table["label"] == 1, "").replace("", None))
        residues = RESIDUE[:OTHER_LETTER, :OTHER_LETTER, :OTHER_LETTER].reshape(-1)
        tokens = np.where(residues == STOP, STOPPED, TOKEN[residues]).astype(np.uint8)
        self.residue = torch.from_numpy(tokens).to(device)
        self.pieces = [torch.empty(0)]
        for n in range(1, PIECE + 1):
            encoded = tokenizer.encode_batch_fast(words(n), add_special_tokens=False)
            self.pieces.append(torch.tensor([encoding.ids[0] for encoding in encoded], device=device))

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

    def windows(self, letters: torch.Tensor, codons: int) -> tuple[torch.Tensor, torch.Tensor]:
        """All frames of (fragments, length) letters.

        (fragments, 6, 3 * codons + 1) letters, which end one letter after the last codon; and (fragments, 6, codons)
        residues. Fragments are 3 * codons + 4 letters: on either strand the first is none of the fragment's own.
        """
        strands = torch.stack([letters[:, 1:] & 3, (letters[:, :-1].flip(1) & 3) ^ COMPLEMENT_BIT], 1)
        windows = torch.stack([strands[:, :, f : f + 3 * codons + 1] for f in range(3)], 2).flatten(1, 2)
        return windows, self.translate(windows[..., : 3 * codons])

    def batch(self, cumulative: list[torch.Tensor], frames: int, codons: int, letter_more: bool, viral: float) -> Batch:
        """`frames` frames of `codons` codons, of fragments of 3 * codons + 2 letters, without waiting for the device.

        `letter_more`: one more letter after the codons, as the workflow's frames mostly have. Where a frame has none in
        the fragment the genome's next is taken. Drawn are 1.7 fragments a frame, more than enough.
        """
        rows, letters = self.draw(cumulative, int(1.7 * frames), 3 * codons + 4, viral)
        windows, proteins = self.windows(letters, codons)
        kept = ~(proteins == STOPPED).any(-1) & (letters < OTHER_LETTER).all(1)[:, None]
        chosen = torch.sort(kept.flatten().to(torch.uint8), descending=True, stable=True).indices[:frames]
        nucleotide = windows.flatten(0, 1)[chosen, : 3 * codons + letter_more]
        return Batch(
            fragment=chosen // 6,
            proteins=[self.protein_tokens(proteins.flatten(0, 1)[chosen])],
            nucleotides=[self.nucleotide_tokens(nucleotide.long())],
            rows=rows,
            gc=gc_content(letters[:, 1:-1]),
            whole=True,
        )

    def batch_longest(
        self, cumulative: list[torch.Tensor], frames: int, codons: int, letter_more: bool, viral: float
    ) -> Batch:
        """Longest stretches of fragments without a stop-free frame, and all the letters of the stretch's frame.

        At most `frames`, of 3.5 times as many fragments drawn. They are sorted by length and cut to PARTS lengths, each
        the shortest of its part.
        """
        rows, letters = self.draw(cumulative, int(3.5 * frames), 3 * codons + 4, viral)
        windows, proteins = self.windows(letters, codons)
        frame, start, number = longest_stretch(proteins)
        kept = (letters < OTHER_LETTER).all(1) & (number >= LEAST_RESIDUES) & (number < codons)
        chosen = kept.nonzero()[:frames, 0]
        chosen = chosen[torch.argsort(number[chosen])]
        frame, start, number = frame[chosen], start[chosen], number[chosen]
        parts = [part for part in torch.arange(len(chosen), device=self.device).tensor_split(PARTS) if len(part)]
        shortest = torch.stack([number[part[0]] for part in parts]).tolist()
        stretches = []
        for part, residues in zip(parts, shortest):
            spare = number[part] - residues
            first = start[part] + (torch.rand(len(part), device=self.device) * (spare + 1)).long()
            places = first[:, None] + torch.arange(residues, device=self.device)
            stretches.append(self.protein_tokens(proteins[chosen[part], frame[part]].gather(1, places)))
        nucleotide = windows[chosen, frame, : 3 * codons + letter_more]
        return Batch(
            fragment=chosen,
            proteins=stretches,
            nucleotides=[self.nucleotide_tokens(nucleotide.long())],
            rows=rows,
            gc=gc_content(letters[:, 1:-1]),
            whole=False,
        )

    def frames(self, letters: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """The workflow's frames of (fragments, length) letters that have no stop, by offset.

        Of each offset fragment, strand (0 forward, 1 reverse), protein and nucleotide tokens. Fragments with a letter
        other than A, C, G, T have none here.
        """
        length = letters.shape[1]
        pure = (letters < OTHER_LETTER).all(1)
        strands = torch.stack([letters & 3, (letters.flip(1) & 3) ^ COMPLEMENT_BIT], 1)
        for f in range(3):
            codons = (length - f) // 3
            proteins = self.translate(strands[:, :, f : f + 3 * codons])
            fragment, strand = (~(proteins == STOPPED).any(-1) & pure[:, None]).nonzero(as_tuple=True)
            nucleotide = strands[fragment, strand, f : f + 1 + 3 * codons].long()
            yield fragment, strand, self.protein_tokens(proteins[fragment, strand]), self.nucleotide_tokens(nucleotide)

    def longest(self, letters: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """The workflow's longest stretches of (fragments, length) letters without a stop-free frame.

        As frames() gives them, but by the number of residues and of tokens.
        """
        length = letters.shape[1]
        strands = torch.stack([letters & 3, (letters.flip(1) & 3) ^ COMPLEMENT_BIT], 1)
        proteins = []
        for f in range(3):
            codons = (length - f) // 3
            translated = self.translate(strands[:, :, f : f + 3 * codons])
            proteins.append(F.pad(translated, (0, length // 3 - codons), value=STOPPED))
        by_frame = torch.stack(proteins, 2).flatten(1, 2)  # (fragments, F1 F2 F3 R1 R2 R3, codons)
        open_frame = torch.stack([(p[..., : (length - f) // 3] != STOPPED).all(-1) for f, p in enumerate(proteins)], -1)
        frame, start, number = longest_stretch(by_frame)
        kept = (letters < OTHER_LETTER).all(1) & ~open_frame.flatten(1).any(1) & (number >= LEAST_RESIDUES)
        for residues in number[kept].unique().tolist():
            for f in range(3):
                rows = (kept & (number == residues) & (frame % 3 == f)).nonzero()[:, 0]
                if len(rows):
                    places = start[rows, None] + torch.arange(residues, device=self.device)
                    strand = frame[rows] // 3
                    nucleotide = strands[rows, strand, f : f + 1 + 3 * ((length - f) // 3)].long()
                    protein = self.protein_tokens(by_frame[rows, frame[rows]].gather(1, places))
                    yield rows, strand, protein, self.nucleotide_tokens(nucleotide)

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


def longest_stretch(proteins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each fragment's frames the longest run of residues without a stop: its frame, first residue and length.

    (fragments, frames, codons) tokens to three times (fragments) int64. The first of equal ones is taken.
    """
    frames, codons = proteins.shape[1:]
    place = torch.arange(codons, device=proteins.device, dtype=torch.int32)
    stop = torch.where(proteins == STOPPED, place, -1).cummax(-1).values
    # Numbers that no two have, as maxima of equal ones may be any of them.
    longest = ((place - stop) * codons + (codons - 1 - place)).amax(-1).long()
    number, last = longest // codons, codons - 1 - longest % codons
    frame = (number * frames + (frames - 1 - torch.arange(frames, device=proteins.device))).argmax(1)
    number = number.gather(1, frame[:, None])[:, 0]
    return frame, last.gather(1, frame[:, None])[:, 0] - number + 1, number


def gc_content(letters: torch.Tensor) -> torch.Tensor:
    """(fragments, length) letters to (fragments) shares of G and C."""
    return ((letters == LETTERS.index("G")) | (letters == LETTERS.index("C"))).float().mean(1)
