"""How the lite pack is trained: masked tokens first, then labels, on fragments that are cut anew for every batch."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from Bio.Align import substitution_matrices
from torch import nn

from lite_data import MASK, Batch, Genomes
from lite_model import LiteModel, MaskedTokenHead
from virnucflow.cli import InputError, log, reading, staged
from virnucflow.encoders.dnabert_s import SPECIAL_TOKENS
from virnucflow.encoders.esm2 import ALPHABET, TOKEN
from virnucflow.scoring.classifier import viral_logit

AMINO_ACIDS = "ARNDCQEGHILKMFPSTWYV"
RESIDUES = (TOKEN[ord("L")], TOKEN[ord("C")] + 1)  # the tokens of the twenty amino acids
GC_BINS = 25
CHECKPOINT_STEPS = 500
NO_FRAME = -1e4  # the logit of a fragment of which the batch has no frame; its weight is 0


class Kind(NamedTuple):
    """Batches of one kind: codons a frame, whether one letter more follows, whole or longest, and how often."""

    codons: int
    letter_more: bool
    whole: bool
    share: float


# As frames of 500, 398 and 300 bases have them, and of what is left at the end of a sequence.
KINDS = (
    Kind(166, True, True, 0.18), Kind(166, False, True, 0.07), Kind(132, True, True, 0.08),
    Kind(100, False, True, 0.10), Kind(99, True, True, 0.14), Kind(66, False, True, 0.03), Kind(41, True, True, 0.02),
    Kind(166, True, False, 0.16), Kind(166, False, False, 0.07), Kind(132, True, False, 0.04),
    Kind(100, False, False, 0.05), Kind(99, True, False, 0.06),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Of one run; `frames` a step. Weights of the losses are relative to the fragments' own."""

    pretraining_steps: int = 400
    steps: int = 6000
    frames: int = 4096
    pretraining_rate: float = 2e-3
    rate: float = 1e-3
    weight_decay: float = 0.05
    averaging: float = 0.998
    dropout: float = 0.12
    masked: float = 0.15  # share of the tokens
    exchanged: float = 0.3  # at most this share of the residues, in half of the proteins
    viral: float = 0.44  # share of the fragments drawn for whole frames, which fewer others have
    viral_longest: float = 0.58  # share of those drawn for longest stretches, which fewer viruses need
    masked_frames: int = 1024  # of a step with labels, for the loss of masked nucleotides
    nucleotide_alone: float = 0.3  # how often the classifier is given one encoder's embedding alone
    protein_alone: float = 0.05
    frame_loss: float = 0.5
    alone_loss: float = 0.3
    group_loss: float = 0.2
    masked_loss: float = 0.1
    seed: int = 0


def exchange_table(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token the running probabilities of the residues that it is exchanged for, and these residues' tokens.

    By BLOSUM62 (Henikoff and Henikoff 1992, doi:10.1073/pnas.89.22.10915), which is in half bits.
    """
    odds = 2 ** (np.asarray(substitution_matrices.load("BLOSUM62").select(AMINO_ACIDS)) / 2)
    np.fill_diagonal(odds, 0)
    tokens = TOKEN[np.frombuffer(AMINO_ACIDS.encode(), dtype=np.uint8)]
    table = np.ones((len(ALPHABET.all_toks), 20), dtype=np.float32)
    table[tokens] = (odds / odds.sum(1, keepdims=True)).cumsum(1)
    return torch.from_numpy(table).to(device), torch.from_numpy(tokens).to(device)


def exchange(protein: torch.Tensor, most: float, table: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Exchange residues as evolution does, in half of the proteins, each at a rate of its own up to `most`."""
    probabilities, tokens = table
    u = torch.rand(*protein.shape, 1, device=protein.device)
    new = tokens[(u > probabilities[protein]).sum(-1).clamp_(max=len(tokens) - 1)]
    rate = (most * (2 * torch.rand(len(protein), 1, device=protein.device) - 1)).clamp_(min=0)
    hit = (torch.rand(protein.shape, device=protein.device) < rate) & torch.isin(protein, tokens)
    return torch.where(hit, new, protein)


def mask(tokens: torch.Tensor, share: float, masked: int, first: int, last: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens with noise (Devlin et al. 2019), and where: of these 80 % are masked, 10 % random, 10 % as they were."""
    inside = tokens.shape[1] - 2
    chosen = (
        torch.rand(len(tokens), inside, device=tokens.device).topk(max(1, round(share * inside)), dim=1).indices + 1
    )
    kind = torch.rand(chosen.shape, device=tokens.device)
    random = torch.randint(first, last, chosen.shape, device=tokens.device)
    new = torch.where(kind < 0.8, masked, torch.where(kind < 0.9, random, tokens.gather(1, chosen)))
    return tokens.scatter(1, chosen, new), chosen


def masked_loss(
    hidden: torch.Tensor, tokens: torch.Tensor, chosen: torch.Tensor, head: MaskedTokenHead, embedding: torch.Tensor
) -> torch.Tensor:
    """Cross entropy of the tokens at the `chosen` places, (frames, places), of (frames, length) `tokens`."""
    vectors = hidden.gather(1, chosen[..., None].expand(-1, -1, hidden.shape[-1])).flatten(0, 1)
    return F.cross_entropy(head(vectors, embedding), tokens.gather(1, chosen).flatten())


class Noisy(NamedTuple):
    """Means of both encoders over noisy tokens, (frames, width) float32, and the loss of what was masked."""

    nucleotide: torch.Tensor
    protein: torch.Tensor
    masked_loss: torch.Tensor


def noisy_means(
    model: LiteModel, batch: Batch, proteins: list[torch.Tensor], share: float, most: int, dtype: torch.dtype
) -> Noisy:
    """Both encoders over noisy tokens; what was masked in nucleotides, whose vocabulary is large, of `most` frames."""
    vocabulary = len(model.masked_nucleotide.bias)
    frames = len(batch.fragment)
    means: dict[str, list[torch.Tensor]] = {"nucleotide": [], "protein": []}
    loss = torch.zeros((), device=batch.gc.device)
    for tokens in proteins:
        noisy, chosen = mask(tokens, share, ALPHABET.mask_idx, *RESIDUES)
        hidden = model.protein(noisy, dtype)
        means["protein"].append(hidden[:, 1:-1].mean(1, dtype=torch.float32))
        part = masked_loss(hidden, tokens, chosen, model.masked_protein, model.protein.esm2.embed_tokens.weight)
        loss = loss + part * len(tokens) / frames
    words = model.nucleotide.words()
    for tokens in batch.nucleotides:
        noisy, chosen = mask(tokens, share, MASK, len(SPECIAL_TOKENS), vocabulary)
        hidden = model.nucleotide(noisy, dtype)
        means["nucleotide"].append(hidden.mean(1, dtype=torch.float32))
        asked = slice(math.ceil(most * len(tokens) / frames))
        part = masked_loss(hidden[asked], tokens[asked], chosen[asked], model.masked_nucleotide, words)
        loss = loss + part * len(tokens) / frames
    return Noisy(torch.cat(means["nucleotide"]), torch.cat(means["protein"]), loss)


def label_loss(
    d: torch.Tensor, batch: Batch, truth: torch.Tensor, weight: torch.Tensor, frame_loss: float
) -> torch.Tensor:
    """Of fragments, whose logit is their best frame's, and of frames; `d` (frames) are virus logits less the others."""
    best = torch.full_like(truth, NO_FRAME).scatter_reduce(0, batch.fragment, d, "amax")
    of_fragments = F.binary_cross_entropy_with_logits(best, truth, weight, reduction="sum") / weight.sum()
    number = torch.zeros_like(truth).index_add_(0, batch.fragment, torch.ones_like(d))
    each = (weight / number.clamp(min=1))[batch.fragment]
    of_frames = F.binary_cross_entropy_with_logits(d, truth[batch.fragment], each, reduction="sum") / each.sum()
    return of_fragments + frame_loss * of_frames


def gc_bin(gc: torch.Tensor) -> torch.Tensor:
    """The number of the bin that each share of G and C is in."""
    return (gc * GC_BINS).long().clamp_(max=GC_BINS - 1)


def gc_weights(genomes: Genomes, draw: Callable[[], Batch], batches: int = 16) -> torch.Tensor:
    """(2, bins) weights of fragments by label and GC content, under which both labels have the same GC content."""
    counts = torch.full((2, GC_BINS), 5.0, device=genomes.device)
    for _ in range(batches):
        batch = draw()
        rows = torch.unique(batch.fragment)
        at = genomes.label[batch.rows[rows]] * GC_BINS + gc_bin(batch.gc[rows])
        counts += torch.bincount(at, minlength=2 * GC_BINS).view(2, GC_BINS)
    shares = counts / counts.sum(1, keepdim=True)
    weights = (shares.mean(0) / shares).clamp(0.25, 4)
    return weights / (weights * shares).sum(1, keepdim=True)


class Phase(NamedTuple):
    """So many steps with one loss, at the end of a twentieth of which the rate is highest."""

    name: str
    loss: Callable[[Batch], torch.Tensor]
    steps: int
    rate: float


class Trainer:
    """One run: the model, the batches that it is given, and both of its phases; it goes on from `checkpoint`."""

    def __init__(
        self, model: LiteModel, genomes: Genomes, weight: np.ndarray, settings: Settings, checkpoint: Path
    ) -> None:
        self.model, self.genomes, self.settings, self.checkpoint = model, genomes, settings, checkpoint
        self.dtype = torch.bfloat16 if genomes.device.type == "cuda" else torch.float32
        self.random = np.random.default_rng(settings.seed)
        self.cumulative = [genomes.cumulative(weight, 3 * kind.codons + 4) for kind in KINDS]
        self.exchange = exchange_table(genomes.device)
        self.described = {  # what a checkpoint must be of, to go on from it
            "settings": asdict(settings),
            "sequences": sha256(weight.tobytes()).hexdigest(),
            "shapes": {name: list(tensor.shape) for name, tensor in model.state_dict().items()},
        }
        # It makes a plan for each new length, which takes longer than a step.
        torch.backends.cuda.enable_cudnn_sdp(False)

    def draw(self, which: int | None = None) -> Batch:
        """A batch of one of KINDS."""
        if which is None:
            shares = np.array([kind.share for kind in KINDS])
            which = self.random.choice(len(KINDS), p=shares / shares.sum())
        kind, settings = KINDS[which], self.settings
        batch, viral = (
            (self.genomes.batch, settings.viral) if kind.whole else (self.genomes.batch_longest, settings.viral_longest)
        )
        return batch(self.cumulative[which], settings.frames, kind.codons, kind.letter_more, viral)

    def pretraining_loss(self, batch: Batch) -> torch.Tensor:
        """The loss of masked tokens alone."""
        settings = self.settings
        return noisy_means(self.model, batch, batch.proteins, settings.masked, settings.frames, self.dtype).masked_loss

    def loss(self, batch: Batch) -> torch.Tensor:
        """Of labels, by the classifier and by each encoder alone; of groups and families; and of masked tokens."""
        settings, model, genomes = self.settings, self.model, self.genomes
        proteins = [exchange(tokens, settings.exchanged, self.exchange) for tokens in batch.proteins]
        n, p, of_masked = noisy_means(model, batch, proteins, settings.masked, settings.masked_frames, self.dtype)
        p = p.detach()  # labels would teach so small a protein encoder the families by heart, and little of others
        label = genomes.label[batch.rows]
        present = torch.zeros_like(batch.gc).index_fill_(0, batch.fragment, 1.0)
        weight = self.gc_weights[batch.whole][label, gc_bin(batch.gc)] * present
        u = torch.rand(len(n), 1, device=genomes.device)
        given = torch.cat([n * (u >= settings.protein_alone), p * (u < 1 - settings.nucleotide_alone)], 1)
        differences = [
            viral_logit(model.classifier(given)),
            *(head(x)[:, 0] for head, x in zip(model.alone, (n, p))),
        ]
        joint, *alone = (label_loss(d, batch, label.float(), weight, settings.frame_loss) for d in differences)
        both, rows = torch.cat([n, p], 1), batch.rows[batch.fragment]
        of_groups = F.cross_entropy(model.groups(both), genomes.group[rows])
        family = genomes.family[rows]
        of_families = F.cross_entropy(model.families(both), family, ignore_index=-1, reduction="sum")
        of_families = of_families / (family >= 0).sum().clamp(min=1)
        return (
            joint
            + settings.alone_loss * sum(alone) / 2
            + settings.group_loss * (of_groups + of_families / 2)
            + settings.masked_loss * of_masked
        )

    def run(self) -> LiteModel:
        """Both phases. Returns the model with the running mean of its weights."""
        settings = self.settings
        phases = [
            Phase("masked tokens", self.pretraining_loss, settings.pretraining_steps, settings.pretraining_rate),
            Phase("labels", self.loss, settings.steps, settings.rate),
        ]
        longest_frames = {True: 0, False: [kind.whole for kind in KINDS].index(False)}  # the first of either kind
        self.gc_weights = {
            whole: gc_weights(self.genomes, partial(self.draw, which)) for whole, which in longest_frames.items()
        }
        averaged = deepcopy(self.model).requires_grad_(False)
        resumed = self.read_checkpoint(averaged)
        for phase in phases[resumed["phase"] if resumed else 0 :]:
            optimizer, schedule = self.optimizer(phase)
            done = 0
            if resumed:
                optimizer.load_state_dict(resumed["optimizer"])
                schedule.load_state_dict(resumed["schedule"])
                done, resumed = resumed["step"], None
            elif phase is phases[-1]:
                averaged.load_state_dict(self.model.state_dict())
            for step in range(done + 1, phase.steps + 1):
                value = self.step(phase, optimizer, schedule)
                if phase is phases[-1]:
                    self.average(averaged)
                if step % max(1, phase.steps // 100) == 0:
                    log.info("%s: step %d of %d, loss %.4f", phase.name, step, phase.steps, value.item())
                if step % CHECKPOINT_STEPS == 0:
                    states = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
                    self.write_checkpoint(averaged, {"phase": phases.index(phase), "step": step, **states})
        averaged.nucleotide.store_words()
        self.renew_batch_statistics(averaged)
        return averaged.eval()

    def optimizer(self, phase: Phase) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """AdamW, and its rate, which rises over a twentieth of the steps and then falls as a cosine."""
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.settings.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        fused = self.genomes.device.type == "cuda"
        optimizer = torch.optim.AdamW(groups, lr=phase.rate, betas=(0.9, 0.98), fused=fused)
        steps = phase.steps
        return optimizer, torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min(1, 20 * (step + 1) / steps) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))),
        )

    def step(
        self, phase: Phase, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
    ) -> torch.Tensor:
        """One step on one batch. Returns its loss."""
        self.model.train()
        value = phase.loss(self.draw())
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return value.detach()

    def average(self, averaged: LiteModel) -> None:
        """Move the running mean of the weights towards those of now."""
        means, values = (
            [tensor.detach() for tensor in model.state_dict().values() if tensor.is_floating_point()]
            for model in (averaged, self.model)
        )
        torch._foreach_lerp_(means, values, 1 - self.settings.averaging)

    def write_checkpoint(self, averaged: LiteModel, state: dict[str, Any]) -> None:
        """All that the next step depends on."""
        state |= {"model": self.model.state_dict(), "averaged": averaged.state_dict(), "torch": torch.get_rng_state()}
        state |= {"numpy": self.random.bit_generator.state, "gc_weights": self.gc_weights, "run": self.described}
        if self.genomes.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state()
        with staged(self.checkpoint) as (path,):
            torch.save(state, path)

    def read_checkpoint(self, averaged: LiteModel) -> dict[str, Any] | None:
        """The state to go on from, its weights already in both models; None where there is no checkpoint.

        Raises InputError for a checkpoint of another run, whose weights would pass for those of these settings.
        """
        if not self.checkpoint.exists():
            return None
        with reading(self.checkpoint, "a checkpoint of train_lite.py", "remove it"):
            state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            differing = [name for name, value in self.described.items() if state["run"][name] != value]
        if differing:
            raise InputError(
                f"{self.checkpoint}: of a run with other {' and '.join(differing)}; give another --run, or remove it"
            )
        self.model.load_state_dict(state["model"])
        averaged.load_state_dict(state["averaged"])
        self.gc_weights = {whole: weights.to(self.genomes.device) for whole, weights in state["gc_weights"].items()}
        self.random.bit_generator.state = state["numpy"]
        torch.set_rng_state(state["torch"])
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"])
        log.info("goes on after step %d of phase %d", state["step"], state["phase"] + 1)
        return state

    @torch.inference_mode()
    def renew_batch_statistics(self, model: LiteModel, batches: int = 30) -> None:
        """The classifier's, over clean frames: those of the mean weights are not the mean of those."""
        model.eval()
        batch_norm = model.classifier.bn1
        hidden = []
        for _ in range(batches):
            batch = self.draw()
            n = torch.cat([model.nucleotide_mean(tokens, self.dtype) for tokens in batch.nucleotides])
            p = torch.cat([model.protein_mean(tokens, self.dtype) for tokens in batch.proteins])
            hidden.append(model.classifier.hidden_layer(torch.cat([n, p], 1)))
        batch_norm.running_var.copy_(torch.cat(hidden).var(0))
        batch_norm.running_mean.copy_(torch.cat(hidden).mean(0))
