"""Fragments and frames of the training of the lite pack are the workflow's."""

import numpy as np
import pytest
import torch
from plain_frames import kept_frames

from lite_data import STOPPED, Genomes, longest_stretch
from lite_evaluation import LOGITS, score_chunks
from lite_model import LITE, LiteModel
from lite_training import KINDS
from virnucflow.encoders import esm2
from virnucflow.scoring.classifier import viral_logit
from virnucflow.sequences.chunks import chunk_coordinates
from virnucflow.sequences.frames import LETTERS, Frame, stop_free_frames


def text(letters: torch.Tensor) -> str:
    return "".join((LETTERS + "N")[code] for code in letters.tolist())


def tokens(genomes: Genomes, frames: list[Frame]) -> set:
    """Frames as tokens of both encoders."""
    token = esm2.ALPHABET.tok_to_idx
    return {
        (
            (token["<cls>"], *(token[letter] for letter in frame.protein), token["<eos>"]),
            tuple(genomes.tokenizer.encode(frame.nucleotide).ids),
        )
        for frame in frames
    }


def wanted(genomes: Genomes, sequence: str) -> set:
    """The workflow's frames of a fragment without a stop, as tokens of both encoders."""
    return tokens(genomes, list(stop_free_frames(sequence)))


def test_every_string_up_to_six_letters_is_one_token(genomes: Genomes) -> None:
    tokenizer = genomes.tokenizer
    assert tokenizer.get_vocab_size() == LITE.dnabert_s.vocab_size
    assert tokenizer.encode("ATGNNNACGTACGTACG").tokens == [
        "[CLS]", "ATG", "[UNK]", "[UNK]", "[UNK]", "ACGTAC", "GTACG", "[SEP]",
    ]  # fmt: skip


@pytest.mark.parametrize("length", [300, 301, 302, 333, 500])
def test_frames_are_those_of_the_workflow(length: int, genomes: Genomes) -> None:
    """Those without a stop, and of fragments that have none the longest stretch."""
    torch.manual_seed(length)
    _, letters = genomes.draw(genomes.cumulative(np.ones(len(genomes.length)), length), 60, length, 0.5)
    numbers = {"whole": 0, "longest": 0}
    by_kind: dict[str, dict[int, set]] = {}
    for kind, batches in (("whole", genomes.frames(letters)), ("longest", genomes.longest(letters))):
        by_kind[kind] = {}
        for fragment, _, protein, nucleotide in batches:
            for i, p, n in zip(fragment.tolist(), protein.tolist(), nucleotide.tolist()):
                by_kind[kind].setdefault(i, set()).add((tuple(p), tuple(n)))
    for i, fragment in enumerate(letters):
        sequence = text(fragment)
        kind, frames = kept_frames(sequence)
        expected = set() if "N" in sequence else tokens(genomes, frames)
        other = {"whole": "longest", "longest": "whole"}[kind]
        assert by_kind[kind].get(i, set()) == expected and i not in by_kind[other]
        numbers[kind] += bool(expected)
    assert min(numbers.values()) > 3


def test_the_longest_stretch_is_found_as_by_walking_from_codon_to_codon() -> None:
    """Of equal ones the first frame's is taken, and there the first; a fragment of stops alone has none."""
    torch.manual_seed(0)
    stopped = torch.rand(400, 6, 12) < torch.rand(400, 1, 1)
    stopped[:2], stopped[2:4] = True, False
    proteins = torch.randint(*esm2.TOKEN[[ord("L"), ord("C")]].tolist(), (400, 6, 12), dtype=torch.uint8)
    proteins[stopped] = STOPPED
    expected, ties = [], 0
    for frames in proteins.tolist():
        longest, number = (0, 0, 0), [0]
        for frame, residues in enumerate(frames):
            start = 0
            for place, residue in enumerate([*residues, STOPPED]):
                if residue == STOPPED:
                    number.append(place - start)
                    if place - start > longest[2]:
                        longest = (frame, start, place - start)
                    start = place + 1
        ties += number.count(longest[2]) > 1
        expected.append(longest)
    frame, start, number = (column.tolist() for column in longest_stretch(proteins))
    assert number == [longest[2] for longest in expected] and number[0] == 0 and number[2] == 12 and ties > 100
    some = [i for i, longest in enumerate(expected) if longest[2]]
    assert [(frame[i], start[i]) for i in some] == [expected[i][:2] for i in some]


@pytest.mark.parametrize(("codons", "letter_more"), [kind[:2] for kind in KINDS if kind.whole])
def test_a_batch_has_all_frames_of_its_fragments(codons: int, letter_more: bool, genomes: Genomes) -> None:
    cumulative = genomes.cumulative(np.ones(len(genomes.length)), 3 * codons + 4)
    torch.manual_seed(7)
    batch = genomes.batch(cumulative, 20, codons, letter_more, 0.5)
    (protein,), (nucleotide,) = batch.proteins, batch.nucleotides
    torch.manual_seed(7)
    rows, letters = genomes.draw(cumulative, 34, 3 * codons + 4, 0.5)
    assert torch.equal(rows, batch.rows) and protein.shape == (20, codons + 2)
    for fragment in set(batch.fragment.tolist()) - {batch.fragment[-1].item()}:  # the last may be cut
        expected = wanted(genomes, text(letters[fragment, 1:-1]))
        assert {tuple(p) for p in protein[batch.fragment == fragment].tolist()} == {p for p, _ in expected}
        if letter_more and codons % 2 == 0:  # then frames that have it in the workflow have a token more
            nucleotides = {tuple(n) for n in nucleotide[batch.fragment == fragment].tolist()}
            assert {n for _, n in expected if len(n) == nucleotide.shape[1]} <= nucleotides


def test_a_batch_of_longest_stretches_has_pieces_of_them(genomes: Genomes) -> None:
    """Each is part of its fragment's longest stretch, most of it, in the frame of which all letters are there."""
    codons = 100
    cumulative = genomes.cumulative(np.ones(len(genomes.length)), 3 * codons + 4)
    torch.manual_seed(3)
    batch = genomes.batch_longest(cumulative, 64, codons, True, 0.5)
    torch.manual_seed(3)
    _, letters = genomes.draw(cumulative, int(3.5 * 64), 3 * codons + 4, 0.5)
    proteins = [row for part in batch.proteins for row in part.tolist()]
    assert len(proteins) == len(batch.fragment) == len(batch.nucleotides[0]) > 20 and not batch.whole
    residues = esm2.ALPHABET.all_toks
    lengths = []
    for fragment, protein, nucleotide in zip(batch.fragment.tolist(), proteins, batch.nucleotides[0].tolist()):
        sequence = text(letters[fragment, 1:-1])
        kind, (longest,) = kept_frames(sequence)
        piece = "".join(residues[token] for token in protein[1:-1])
        assert kind == "longest" and piece in longest.protein
        lengths.append(len(piece) / len(longest.protein))
        expected = genomes.tokenizer.encode(longest.nucleotide[: 3 * codons]).ids
        assert nucleotide[: len(expected) - 2] == expected[:-2]
    assert np.mean(lengths) > 0.8


def test_a_chunks_scores_are_of_its_frames(genomes: Genomes) -> None:
    """Each scorer's best, and that of either strand, held against the workflow's own frames; and what strata go by."""
    table = genomes.table.assign(unit="u")
    torch.manual_seed(0)
    model = LiteModel(LITE, genomes, 0.1).eval()
    long = np.flatnonzero(table["length"] >= 300)[:8]
    chunks = score_chunks(model, genomes, table, long, 300)
    offsets = (table["length"].cumsum() - table["length"]).to_numpy()
    expected = []
    for row in long:
        sequence = text(genomes.dna[offsets[row] :][: table["length"][row]])
        expected += [(row, sequence[a:b]) for a, b in chunk_coordinates(len(sequence), 300) if b - a == 300]
    assert list(chunks["sequence"]) == [row for row, _ in expected]
    kinds = set()
    for (row, chunk), scored in zip(expected, chunks.itertuples()):
        kind, frames = ("", []) if "N" in chunk else kept_frames(chunk)
        assert scored.kind == (kind if frames else "") and scored.label == table["label"][row]
        assert scored.frames == (len(frames) if kind == "whole" else 0)
        assert scored.gc == pytest.approx(sum(letter in "GC" for letter in chunk) / 300)
        best = {"F": -np.inf, "R": -np.inf}
        for frame in frames:
            nucleotide = torch.tensor([genomes.tokenizer.encode(frame.nucleotide).ids])
            protein = esm2.tokenize([frame.protein], np.arange(1))
            with torch.inference_mode():
                n, p = model.nucleotide_mean(nucleotide, torch.float32), model.protein_mean(protein, torch.float32)
                logit = viral_logit(model.classifier(torch.cat([n, p], 1))).item()
            best[frame.frame[0]] = max(best[frame.frame[0]], logit)
        assert [scored.forward, scored.reverse] == pytest.approx(list(best.values()), abs=1e-5)
        assert scored.both == max(scored.forward, scored.reverse)
        kinds.add(scored.kind)
    assert {"whole", "longest"} <= kinds


def test_sequences_without_a_chunk_of_full_length_have_no_scores(genomes: Genomes) -> None:
    model = LiteModel(LITE, genomes, 0.1).eval()
    chunks = score_chunks(model, genomes, genomes.table.assign(unit="u"), np.arange(3), 10_000)
    assert len(chunks) == 0 and {*LOGITS, "frames", "kind", "gc", "label", "sequence"} <= set(chunks)
