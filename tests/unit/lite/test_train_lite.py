"""The training of the lite pack: it sees the workflow's frames, and what it trains the workflow's encoders load."""

import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import error_line, run_program

from lite_data import Genomes, learn_tokenizer, read_labelled_fasta
from lite_model import LITE, LiteModel
from lite_training import LENGTHS, RESIDUES, exchange, exchange_table, gc_weights, label_loss, mask
from train_lite import LOGITS, SCORERS, evaluate, score
from virnucflow.encoders import dnabert_s, esm2
from virnucflow.encoders.load import load_dnabert_s, load_esm2
from virnucflow.packs.pack import read_model_pack
from virnucflow.scoring.classifier import viral_logit
from virnucflow.sequences.chunks import chunk_coordinates
from virnucflow.sequences.frames import LETTERS, stop_free_frames

CPU = torch.device("cpu")
CODONS = {
    "phage": ["GCA", "GTC", "CAA", "CTT"],
    "euk_virus": ["GAC", "CTT", "ACA", "GTC"],
    "bacteria": ["GCA", "GTG", "CAT", "CTT", "GCC", "CAA", "TTG"],  # a little more GC
}


def text(letters: torch.Tensor) -> str:
    return "".join((LETTERS + "N")[code] for code in letters.tolist())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random sequences with few stops, some with N, of two groups of viruses and one of others."""
    folder = tmp_path_factory.mktemp("lite")
    letters = random.Random(0)
    for name, number in (("train", 150), ("test", 30)):
        with (folder / f"{name}.fa").open("w") as file:
            for i in range(number):
                group, label = [("phage", 1), ("euk_virus", 1), ("bacteria", 0)][i % 3]
                sequence = "".join(letters.choices(CODONS[group], k=letters.randint(200, 800)))
                if i % 7 == 0:
                    sequence = sequence[:100] + "N" + sequence[100:]
                fields = f"label={label}|group={group}|family=f{i % 4}|organism=o{i % 5}|source=s|representative=1"
                file.write(f">{name}{i}|{fields}\n{sequence}\n")
    return folder


@pytest.fixture(scope="module")
def genomes(folder: Path) -> Genomes:
    table, letters = read_labelled_fasta([folder / "train.fa"])
    weight = np.ones(len(table))
    found = Genomes(table, letters, learn_tokenizer(letters, weight, 0), CPU)
    found.tokenizer = learn_tokenizer(letters, weight, 0)
    return found


def wanted(genomes: Genomes, sequence: str) -> set:
    """The workflow's frames of a fragment, as tokens of both encoders."""
    token = esm2.ALPHABET.tok_to_idx
    return {
        (
            (token["<cls>"], *(token[letter] for letter in frame.protein), token["<eos>"]),
            tuple(genomes.tokenizer.encode(frame.nucleotide).ids),
        )
        for frame in stop_free_frames(sequence)
    }


def test_every_string_up_to_six_letters_is_one_token(genomes: Genomes) -> None:
    tokenizer = genomes.tokenizer
    assert tokenizer.get_vocab_size() == LITE.dnabert_s.vocab_size
    assert tokenizer.encode("ATGNNNACGTACGTACG").tokens == [
        "[CLS]", "ATG", "[UNK]", "[UNK]", "[UNK]", "ACGTAC", "GTACG", "[SEP]",
    ]  # fmt: skip


@pytest.mark.parametrize("length", [300, 301, 302, 333, 500])
def test_frames_are_those_of_the_workflow(length: int, genomes: Genomes) -> None:
    torch.manual_seed(length)
    _, letters = genomes.draw(genomes.cumulative(np.ones(len(genomes.length)), length), 60, length, 0.5)
    found: dict[int, set] = {}
    for fragment, _, protein, nucleotide in genomes.frames(letters):
        for i, p, n in zip(fragment.tolist(), protein.tolist(), nucleotide.tolist()):
            found.setdefault(i, set()).add((tuple(p), tuple(n)))
    assert len(found) > 20
    for i, fragment in enumerate(letters):
        sequence = text(fragment)
        assert found.get(i, set()) == (set() if "N" in sequence else wanted(genomes, sequence))


@pytest.mark.parametrize(("codons", "letter_more"), [length[:2] for length in LENGTHS])
def test_a_batch_has_all_frames_of_its_fragments(codons: int, letter_more: bool, genomes: Genomes) -> None:
    cumulative = genomes.cumulative(np.ones(len(genomes.length)), 3 * codons + 4)
    torch.manual_seed(7)
    batch = genomes.batch(cumulative, 20, codons, letter_more, 0.5)
    torch.manual_seed(7)
    rows, letters = genomes.draw(cumulative, 34, 3 * codons + 4, 0.5)
    assert torch.equal(rows, batch.rows) and batch.protein.shape == (20, codons + 2)
    for fragment in set(batch.fragment.tolist()) - {batch.fragment[-1].item()}:  # the last may be cut
        expected = wanted(genomes, text(letters[fragment, 1:-1]))
        proteins = {tuple(p) for p in batch.protein[batch.fragment == fragment].tolist()}
        assert proteins == {protein for protein, _ in expected}
        if letter_more and codons % 2 == 0:  # then frames that have it in the workflow have a token more
            nucleotides = {tuple(n) for n in batch.nucleotide[batch.fragment == fragment].tolist()}
            whole = {n for _, n in expected if len(n) == batch.nucleotide.shape[1]}
            assert whole <= nucleotides


def test_a_chunks_scores_are_of_its_frames(folder: Path, genomes: Genomes) -> None:
    """Each scorer's best, and that of either strand, held against the workflow's own frames; and what strata go by."""
    table, letters = read_labelled_fasta([folder / "train.fa"])
    torch.manual_seed(0)
    model = LiteModel(LITE, genomes, 0.1).eval()
    long = np.flatnonzero(table["length"] >= 300)[:12]
    found = score(model, genomes, table, long, 300)
    expected = []
    for row in long:
        sequence = text(torch.from_numpy(letters[row]))
        chunks = [sequence[a:b] for a, b in chunk_coordinates(len(sequence), 300) if b - a == 300]
        expected += [(row, chunk) for chunk in chunks]
    assert list(found["sequence"]) == [row for row, _ in expected]
    both = 0
    for (row, chunk), given in zip(expected, found.itertuples()):
        frames = [] if "N" in chunk else list(stop_free_frames(chunk))
        assert given.frames == len(frames) and given.label == table["label"][row]
        assert given.gc == pytest.approx(sum(letter in "GC" for letter in chunk) / 300)
        best = {"F": -np.inf, "R": -np.inf}
        for frame in frames:
            nucleotide = torch.tensor([genomes.tokenizer.encode(frame.nucleotide).ids])
            with torch.inference_mode():
                means = model.means(nucleotide, esm2.tokenize([frame.protein], np.arange(1)), torch.float32)
                logit = viral_logit(model.classifier(torch.cat(means, 1))).item()
            best[frame.frame[0]] = max(best[frame.frame[0]], logit)
        assert [given.forward, given.reverse] == pytest.approx(list(best.values()), abs=1e-5)
        assert given.both == max(given.forward, given.reverse)
        both += np.isfinite(list(best.values())).all() and abs(best["F"] - best["R"]) > 1e-4
    assert both > 3


def test_the_figures_leave_out_what_has_no_frame_and_prophages() -> None:
    columns = {name: [1.0, -2.0, 3.0, -np.inf, 0.0] for name in ("both", "nucleotide alone", "protein alone")}
    columns |= {"forward": [1.0, -np.inf, 3.0, -np.inf, 0.0], "reverse": [-np.inf, -2.0, 1.0, -np.inf, 0.0]}
    chunks = pd.DataFrame(columns).assign(
        label=[1, 0, 1, 1, 0], group=["phage", "plant", "prophage", "phage", "plant"], frames=[1, 1, 2, 0, 6],
        gc=[0.3, 0.3, 0.5, 0.5, 0.7], sequence=range(5),
    )  # fmt: skip
    found, bins = evaluate({("test", 500): chunks}, 2.0, 0.5)
    assert list(found)[:5] == ["set", "length", "scorer", "by", "value"] and set(found["length"]) == {500}
    assert list(bins["set"]) == ["test"] * 3 and list(bins["number"]) == [1, 1, 1]
    assert list(bins["mean_score"]) == pytest.approx([1 / (1 + np.exp(-d)) for d in (-3.5, 0.5, 2.5)])
    assert list(bins["share_viral"]) == [0, 0, 1]
    assert np.allclose(found["without_frame"], 0.2)
    number = found[found["scorer"] == "both"].set_index(["by", "value"])["number"]
    assert number["all", "all"] == 3 and number["group", "prophage"] == 3 and number["group", "phage"] == 3
    assert dict(number["gc"]) == {"below 40 %": 2, "60 % and more": 1}
    assert dict(number["frames"]) == {"1": 2, "3 and more": 1}
    assert dict(number["strand"]) == {"forward": 2, "reverse": 2}
    assert set(found[found["scorer"] != "both"]["by"]) == {"all", "group"}
    assert found.query("by == 'strand' and value == 'forward'")["accuracy"].item() == 0.5, "0.5 is viral for a plant"


def test_figures_without_a_chunk_that_has_a_frame_are_empty() -> None:
    """And a set of viruses alone, without a prophage, has figures."""
    chunks = pd.DataFrame(dict.fromkeys(LOGITS, [-np.inf] * 2)).assign(
        label=[1, 0], group=["phage", "plant"], frames=0, gc=0.5, sequence=range(2)
    )
    viruses = chunks.assign(label=1, group="phage", frames=1, **{key: [1.0, 2.0] for key in SCORERS})
    found, bins = evaluate({("none", 500): chunks, ("viruses", 500): viruses}, 2.0, 0.5)
    none = found[found["set"] == "none"]
    assert set(none["value"]) == {"all"} and (none["number"] == 0).all() and (none["without_frame"] == 1).all()
    assert none[["auroc", "accuracy", "calibration_error"]].isna().all(axis=None)
    assert set(bins["set"]) == {"viruses"}
    assert (found[(found["set"] == "viruses") & (found["value"] == "phage")]["accuracy"] == 1).all()


def test_sequences_without_a_chunk_of_full_length_have_no_scores(folder: Path, genomes: Genomes) -> None:
    table, _ = read_labelled_fasta([folder / "train.fa"])
    model = LiteModel(LITE, genomes, 0.1).eval()
    found = score(model, genomes, table, np.arange(3), 10_000)
    assert len(found) == 0 and {*LOGITS, "frames", "gc", "label", "sequence"} <= set(found)


def test_noise_is_where_it_says() -> None:
    torch.manual_seed(0)
    protein = torch.randint(*RESIDUES, (200, 102))
    protein[:, 0], protein[:, -1] = 0, 2
    noisy, chosen = mask(protein, 0.15, esm2.ALPHABET.mask_idx, *RESIDUES)
    changed = noisy != protein
    assert chosen.shape == (200, 15) and not changed[:, [0, -1]].any()
    assert not changed.scatter(1, chosen, False).any()
    assert 0.75 < (noisy == esm2.ALPHABET.mask_idx).sum() / chosen.numel() < 0.85
    exchanged = exchange(protein, 0.3, exchange_table(CPU))
    changed = exchanged != protein
    assert not changed[:, [0, -1]].any() and exchanged.min() == 0
    assert 0.4 < (~changed.any(1)).float().mean() < 0.6 and changed.float().mean(1).max() < 0.5
    likely = exchange_table(CPU)[0][esm2.TOKEN[ord("I")]].diff(prepend=torch.zeros(1)).argmax()
    assert "ARNDCQEGHILKMFPSTWYV"[likely] == "V"


def test_a_fragments_loss_is_its_best_frames() -> None:
    class One:
        fragment = torch.tensor([0, 0, 2])

    d, truth, weight = torch.tensor([-5.0, 3.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 0.0, 1.0])
    found = label_loss(d, One, truth, weight, 0.0)
    assert found == pytest.approx((np.log1p(np.exp(-3)) + np.log1p(np.exp(1))) / 2, abs=1e-6)


def test_gc_weights_make_labels_alike(genomes: Genomes) -> None:
    cumulative = genomes.cumulative(np.ones(len(genomes.length)), 306)
    torch.manual_seed(0)
    weights = gc_weights(genomes, lambda: genomes.batch(cumulative, 200, 100, True, 0.5), 8)
    gc = {0: [], 1: []}
    for _ in range(8):
        batch = genomes.batch(cumulative, 200, 100, True, 0.5)
        for i in batch.fragment.unique():
            gc[genomes.label[batch.rows[i]].item()].append(batch.gc[i].item())
    plain = np.mean(gc[1]) - np.mean(gc[0])
    weighted = [
        np.average(values, weights=[weights[label, min(int(value * 25), 24)].item() for value in values])
        for label, values in gc.items()
    ]
    assert plain < -0.01 and abs(weighted[1] - weighted[0]) < 0.5 * abs(plain)


@pytest.mark.long
def test_the_program_writes_a_pack_that_the_workflow_loads(folder: Path, tmp_path: Path) -> None:
    pack_directory = tmp_path / "small"
    said = run_program(
        "train_lite", "--fasta", folder / "train.fa", "--test-fasta", folder / "test.fa", "--device", "cpu",
        "--pretraining-steps", 2, "--steps", 20, "--frames", 48, "--hidden", 32, "--averaging", 0.5,
        "--model", pack_directory,
    )  # fmt: skip
    assert "30 to test" in said
    pack = read_model_pack(pack_directory, 500)
    assert pack.trained and pack.chunk_lengths == (500, 300) and '"settings"' in pack.provenance
    figures = pd.read_csv(pack_directory / "evaluation.tsv", sep="\t")
    assert set(figures["set"]) == {"known families", "test"} and set(figures["length"]) == {500, 300}
    assert {"all", "phage", "bacteria", "forward", "reverse"} <= set(figures["value"])
    bins = pd.read_csv(pack_directory / "reliability.tsv", sep="\t").groupby(["set", "length"])["number"].sum()
    every = figures.query("by == 'all' and scorer == 'both'").set_index(["set", "length"])["number"]
    assert bins.to_dict() == every.to_dict() and (pack_directory / "reliability.svg").stat().st_size
    embed, _ = load_esm2(pack, "flash", "auto", "fp32", CPU, 2048)
    assert embed(["MAGIC", "ACDEFGHIK"]).shape == (2, 128)
    embed, _ = load_dnabert_s(pack, "standard", "auto", "fp32", CPU, 2048)
    assert embed(["ATGGCCAAGT"]).shape == (1, 256)
    assert json.loads((pack_directory / "pack.json").read_text())["quality"]
    assert "passed: small on cpu" in run_program("check_models", "--model", pack_directory, "--device", "cpu")


def test_trained_encoders_are_those_that_the_workflow_runs(genomes: Genomes) -> None:
    """The training pass, in float32 without noise, equals the flash path's and the standard's."""
    torch.manual_seed(0)
    model = LiteModel(LITE, genomes, 0.1).eval()
    model.nucleotide.store_words()
    proteins, nucleotides = ["ACDEFGHIKLMNPQRSTVWY" * 3] * 2, ["ATGGCCAAGTACGTAC", "GTGGCCTAGTACGAAC"]
    tokens = torch.tensor([encoding.ids for encoding in genomes.tokenizer.encode_batch(nucleotides)])
    with torch.inference_mode():
        n, p = model.means(tokens, esm2.tokenize(proteins, np.arange(2)), torch.float32)
        flash = esm2.flash_model(model.protein.esm2, torch.float32, CPU)
        assert torch.allclose(p, esm2.embed_flash(flash, proteins, 2048), atol=1e-5)
        assert torch.allclose(p, esm2.embed_standard(model.protein.esm2, proteins, 2048), atol=1e-5)
        encoder = model.nucleotide.dnabert_s
        assert torch.allclose(n, dnabert_s.embed_standard(encoder, genomes.tokenizer, nucleotides), atol=1e-5)


def test_tokens_of_six_letters_are_their_codons(genomes: Genomes) -> None:
    """The first codon's vector is in all tokens that begin with it, and a shorter token has its own."""
    nucleotide = LiteModel(LITE, genomes, 0.1).nucleotide
    before = nucleotide.words().detach()
    with torch.no_grad():
        nucleotide.codons[0, (LETTERS.index("A") * 4 + LETTERS.index("T")) * 4 + LETTERS.index("G")] += 1
    vocabulary = genomes.tokenizer.get_vocab()
    after = nucleotide.words().detach()
    changed = (after != before).any(1).nonzero()[:, 0].tolist()
    assert changed == sorted(i for token, i in vocabulary.items() if len(token) == 6 and token.startswith("ATG"))
    nucleotide.store_words()
    assert torch.equal(nucleotide.dnabert_s.words.weight, after)


def test_what_cannot_be_evaluated_is_refused_before_the_training(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "short.fa").write_text(f">a|label=1|group=phage\n{'ACG' * 160}\n>b|label=0|group=plant\nACGT\n")
    lines = (folder / "train.fa").read_text().split(">")
    (tmp_path / "viruses.fa").write_text(">".join(line for line in lines if "label=0" not in line))
    (tmp_path / "empty.fa").write_text("")
    for options, message in [
        (
            (folder / "train.fa", "--test-fasta", tmp_path / "short.fa"),
            "--test-fasta: no sequence of 500 bases or more;",
        ),
        ((tmp_path / "short.fa",), "--fasta (known families): no sequence of 500 bases or more;"),
        ((tmp_path / "viruses.fa",), "--fasta (known families): no sequence of 500 bases or more with label=0;"),
        ((tmp_path / "empty.fa",), "empty.fa: no sequence; give"),
        ((folder / "train.fa", "--test-fasta", tmp_path / "empty.fa"), "empty.fa: no sequence; give"),
    ]:
        said = run_program("train_lite", "--fasta", *options, "--device", "cpu", "--model", tmp_path / "pack", code=2)
        assert message in error_line(said) and "step" not in said


def test_a_header_without_a_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_text(">a|label=1|group=phage\nACGT\n>b|group=phage\nACGT\n")
    said = run_program("train_lite", "--fasta", tmp_path / "x.fa", "--model", tmp_path / "pack", code=2)
    assert "x.fa, line 3: no label=0 or label=1" in error_line(said)
