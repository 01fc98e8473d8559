"""What the training of the lite pack does to its batches, and that what it trains the workflow's encoders load."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lite_training
from lite_data import Genomes
from lite_model import LITE, LiteModel
from lite_training import RESIDUES, Settings, Trainer, exchange, exchange_table, gc_weights, label_loss, mask
from virnucflow.cli import InputError
from virnucflow.encoders import dnabert_s, esm2
from virnucflow.sequences.frames import LETTERS

pytestmark = pytest.mark.long

CPU = torch.device("cpu")


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
    loss = label_loss(d, One, truth, weight, 0.0)
    assert loss == pytest.approx((np.log1p(np.exp(-3)) + np.log1p(np.exp(1))) / 2, abs=1e-6)


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


def test_trained_encoders_are_those_that_the_workflow_runs(genomes: Genomes) -> None:
    """The training pass, in float32 without noise, equals the flash path's and the standard's."""
    torch.manual_seed(0)
    model = LiteModel(LITE, genomes, 0.1).eval()
    model.nucleotide.store_words()
    proteins, nucleotides = ["ACDEFGHIKLMNPQRSTVWY" * 3] * 2, ["ATGGCCAAGTACGTAC", "GTGGCCTAGTACGAAC"]
    tokens = torch.tensor([encoding.ids for encoding in genomes.tokenizer.encode_batch(nucleotides)])
    with torch.inference_mode():
        n = model.nucleotide_mean(tokens, torch.float32)
        p = model.protein_mean(esm2.tokenize(proteins, np.arange(2)), torch.float32)
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


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    genomes: Genomes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped once in either phase."""
    settings = Settings(pretraining_steps=2, steps=3, frames=16, masked_frames=8)
    monkeypatch.setattr(lite_training, "CHECKPOINT_STEPS", 1)
    write, left = Trainer.write_checkpoint, []

    def write_and_stop(trainer: Trainer, *state: object) -> None:
        write(trainer, *state)
        left.pop()
        if not left:
            raise KeyboardInterrupt

    def train(name: str) -> LiteModel:
        torch.manual_seed(0)
        model = LiteModel(LITE, genomes, 0.1)
        return Trainer(model, genomes, np.ones(len(genomes.length)), settings, tmp_path / name).run()

    whole = train("whole").pack_weights()
    monkeypatch.setattr(Trainer, "write_checkpoint", write_and_stop)
    for writes in (1, 3):
        left[:] = [None] * writes
        with pytest.raises(KeyboardInterrupt):
            train("stopped")
    monkeypatch.setattr(Trainer, "write_checkpoint", write)
    resumed = train("stopped").pack_weights()
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_checkpoint_of_another_run_is_not_gone_on_from(genomes: Genomes, tmp_path: Path) -> None:
    """Of other settings, sequences or shapes: its weights would pass for what these give. Nor is a damaged one."""
    weight, model = np.ones(len(genomes.length)), LiteModel(LITE, genomes, 0.1)
    path, settings = tmp_path / "checkpoint.pt", Settings(steps=10)
    writer = Trainer(model, genomes, weight, settings, path)
    writer.gc_weights = {True: torch.ones(2, 25), False: torch.ones(2, 25)}
    writer.write_checkpoint(model, {"phase": 0, "step": 1})
    assert Trainer(model, genomes, weight, settings, path).read_checkpoint(model)["step"] == 1
    narrow = LiteModel(replace(LITE, hidden=16), genomes, 0.1)
    for other, message in [
        (Trainer(model, genomes, weight, replace(settings, steps=5), path), "a run with other settings; give"),
        (Trainer(model, genomes, np.arange(len(weight)) * 1.0, settings, path), "a run with other sequences; give"),
        (Trainer(narrow, genomes, weight, settings, path), "a run with other shapes; give"),
    ]:
        with pytest.raises(InputError, match=message):
            other.read_checkpoint(other.model)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"checkpoint\.pt: not a checkpoint of train_lite\.py .*; remove it"):
        writer.read_checkpoint(model)
