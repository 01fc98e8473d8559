"""How the lite pack is trained: masked tokens first, then labels, on fragments that are cut anew for every batch."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lite_data import MASK, Batch, Genomes
from lite_model import LiteModel, MaskedTokenHead
from virnucflow.cli import log
from virnucflow.encoders.dnabert_s import SPECIAL_TOKENS
from virnucflow.encoders.esm2 import ALPHABET, TOKEN
from virnucflow.scoring.classifier import viral_logit

AMINO_ACIDS = "ARNDCQEGHILKMFPSTWYV"
# Henikoff and Henikoff 1992, doi:10.1073/pnas.89.22.10915, in half bits, the rows below the diagonal.
BLOSUM62 = """
-1
-2 0
-2 -2 1
0 -3 -3 -3
-1 1 0 0 -3
-1 0 0 2 -4 2
0 -2 0 -1 -3 -2 -2
-2 0 1 -1 -3 0 0 -2
-1 -3 -3 -3 -1 -3 -3 -4 -3
-1 -2 -3 -4 -1 -2 -3 -4 -3 2
-1 2 0 -1 -3 1 1 -2 -1 -3 -2
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1
-2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4
1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2
0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1
"""
RESIDUES = (TOKEN[ord("L")], TOKEN[ord("C")] + 1)  # the tokens of the twenty amino acids
GC_BINS = 25
NO_FRAME = -1e4  # the logit of a fragment of which the batch has no frame; its weight is 0

# Codons a frame, whether one letter more follows, and how often: as frames of 500, 398 and 300 bases have them.
LENGTHS = ((166, True, 0.33), (166, False, 0.12), (132, True, 0.13), (100, False, 0.17), (99, True, 0.25))


@dataclass(frozen=True)
class Settings:
    """Of one run; `frames` a step. Weights of the losses are relative to the fragments' own."""

    pretraining_steps: int = 500
    steps: int = 3300
    frames: int = 4096
    pretraining_rate: float = 2e-3
    rate: float = 1e-3
    weight_decay: float = 0.05
    averaging: float = 0.998
    dropout: float = 0.12
    masked: float = 0.15  # share of the tokens
    exchanged: float = 0.3  # at most this share of the residues, in half of the proteins
    viral: float = 0.44  # share of the fragments drawn, of which fewer others have a frame
    one_encoder: float = 0.15  # how often the classifier is given one encoder's embedding alone, for each of them
    frame_loss: float = 0.5
    alone_loss: float = 0.3
    group_loss: float = 0.2
    masked_loss: float = 0.1
    seed: int = 0


def exchange_table(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token the running probabilities of the residues that it is exchanged for, and these residues' tokens."""
    scores = np.zeros((20, 20))
    for row, line in enumerate(BLOSUM62.split("\n")[1:-1], start=1):
        scores[row, :row] = [int(score) for score in line.split()]
    odds = 2 ** ((scores + scores.T) / 2)
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


def noisy_means(
    model: LiteModel, batch: Batch, protein: torch.Tensor, share: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The means (frames, width) of both encoders over noisy tokens, and the loss of what was masked."""
    noisy_protein, in_protein = mask(protein, share, ALPHABET.mask_idx, *RESIDUES)
    vocabulary = len(model.masked_nucleotide.bias)
    noisy_nucleotide, in_nucleotide = mask(batch.nucleotide, share, MASK, len(SPECIAL_TOKENS), vocabulary)
    p, n = model.protein(noisy_protein, dtype), model.nucleotide(noisy_nucleotide, dtype)
    words = model.nucleotide.words()
    loss = masked_loss(p, protein, in_protein, model.masked_protein, model.protein.esm2.embed_tokens.weight)
    loss = loss + masked_loss(n, batch.nucleotide, in_nucleotide, model.masked_nucleotide, words)
    return n.mean(1, dtype=torch.float32), p[:, 1:-1].mean(1, dtype=torch.float32), loss


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


class Trainer:
    """One run: the model, the batches that it is given, and both of its phases."""

    def __init__(self, model: LiteModel, genomes: Genomes, weight: np.ndarray, settings: Settings) -> None:
        self.model, self.genomes, self.settings = model, genomes, settings
        self.dtype = torch.bfloat16 if genomes.device.type == "cuda" else torch.float32
        self.random = np.random.default_rng(settings.seed)
        self.cumulative = [genomes.cumulative(weight, 3 * codons + 4) for codons, _, _ in LENGTHS]
        self.exchange = exchange_table(genomes.device)

    def draw(self, which: int | None = None) -> Batch:
        """A batch of one of LENGTHS."""
        if which is None:
            which = self.random.choice(len(LENGTHS), p=[often for _, _, often in LENGTHS])
        codons, letter_more, _ = LENGTHS[which]
        return self.genomes.batch(
            self.cumulative[which], self.settings.frames, codons, letter_more, self.settings.viral
        )

    def pretraining_loss(self, batch: Batch) -> torch.Tensor:
        """The loss of masked tokens alone."""
        return noisy_means(self.model, batch, batch.protein, self.settings.masked, self.dtype)[2]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Of labels, by the classifier and by each encoder alone; of groups and families; and of masked tokens."""
        settings, model, genomes = self.settings, self.model, self.genomes
        protein = exchange(batch.protein, settings.exchanged, self.exchange)
        n, p, of_masked = noisy_means(model, batch, protein, settings.masked, self.dtype)
        label = genomes.label[batch.rows]
        present = torch.zeros_like(batch.gc).index_fill_(0, batch.fragment, 1.0)
        weight = self.gc_weights[label, gc_bin(batch.gc)] * present
        u = torch.rand(len(n), 1, device=genomes.device)
        given = torch.cat([n * (u >= settings.one_encoder), p * (u < 1 - settings.one_encoder)], 1)
        logits = model.classifier(given)
        differences = [
            viral_logit(logits),
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
        if settings.pretraining_steps:
            self.phase("masked tokens", self.pretraining_loss, settings.pretraining_steps, settings.pretraining_rate)
        self.gc_weights = gc_weights(self.genomes, lambda: self.draw(0))
        averaged = deepcopy(self.model).requires_grad_(False)
        pairs = [
            (mean, value.detach())
            for mean, value in zip(averaged.state_dict().values(), self.model.state_dict().values())
            if mean.is_floating_point()
        ]

        def average() -> None:
            torch._foreach_lerp_(*map(list, zip(*pairs)), 1 - settings.averaging)

        self.phase("labels", self.loss, settings.steps, settings.rate, average)
        averaged.nucleotide.store_words()
        self.renew_batch_statistics(averaged)
        return averaged.eval()

    def phase(
        self,
        name: str,
        loss: Callable[[Batch], torch.Tensor],
        steps: int,
        peak: float,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """`steps` steps of AdamW; the rate rises over a twentieth of them and then falls as a cosine."""
        parameters = list(self.model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": self.settings.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98), fused=self.genomes.device.type == "cuda")
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min(1, 20 * (step + 1) / steps) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))),
        )
        self.model.train()
        for step in range(1, steps + 1):
            found = loss(self.draw())
            optimizer.zero_grad()
            found.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            after()
            if step % max(1, steps // 20) == 0:
                log.info("%s: step %d of %d, loss %.4f", name, step, steps, found.item())

    @torch.inference_mode()
    def renew_batch_statistics(self, model: LiteModel, batches: int = 20) -> None:
        """The classifier's, over clean frames: those of the mean weights are not the mean of those."""
        model.eval()
        batch_norm = model.classifier.bn1
        hidden = []
        for _ in range(batches):
            batch = self.draw()
            features = torch.cat(model.means(batch.nucleotide, batch.protein, self.dtype), 1)
            hidden.append(model.classifier.hidden_layer(features))
        batch_norm.running_var.copy_(torch.cat(hidden).var(0))
        batch_norm.running_mean.copy_(torch.cat(hidden).mean(0))
