"""Scores of the chunks of labelled sequences, cut and translated as the workflow does it."""

import numpy as np
import pandas as pd
import torch

from lite_data import Genomes, gc_content
from lite_model import LiteModel
from virnucflow.files.kinds import KINDS
from virnucflow.measures.discrimination import STRANDS
from virnucflow.scoring.classifier import viral_logit
from virnucflow.sequences.chunks import chunk_coordinates

SCORERS = ("both", "nucleotide alone", "protein alone")
LOGITS = [*SCORERS, *STRANDS]  # a strand's is by both encoders
FRAGMENTS = 1 << 15  # at a time
FIELDS = ("label", "group", "family", "unit", "genes")


@torch.inference_mode()
def score_chunks(
    model: LiteModel, genomes: Genomes, table: pd.DataFrame, rows: np.ndarray, length: int
) -> pd.DataFrame:
    """One row per chunk of full length of some sequences, by their rows in `table`.

    The best logit of its frames by each scorer, and of the first scorer over the frames of either strand (-inf where
    there are none); frames without a stop, kind (whole, longest, or nothing for a chunk without a score), gc, and the
    sequence's row and fields.
    """
    lengths = table["length"].to_numpy()
    offsets = np.cumsum(lengths) - lengths
    starts, owners = [], []
    for row in rows:
        chunks = [a for a, b in chunk_coordinates(int(lengths[row]), length) if b - a == length]
        starts += [offsets[row] + a for a in chunks]
        owners += [row] * len(chunks)
    parts = []
    for part in torch.tensor(starts, dtype=torch.long, device=genomes.device).split(FRAGMENTS):
        letters = genomes.fragments(part, length)
        best = torch.full((len(part), len(LOGITS)), -torch.inf, device=genomes.device)
        number = torch.zeros(2, len(part), device=genomes.device)
        for kind, frames in enumerate((genomes.frames(letters), genomes.longest(letters))):
            for fragment, strand, protein, nucleotide in frames:
                if len(fragment):
                    n, p = model.nucleotide_mean(nucleotide, torch.float32), model.protein_mean(protein, torch.float32)
                    joint = viral_logit(model.classifier(torch.cat([n, p], 1)))
                    logits = [joint, *(head(x)[:, 0] for head, x in zip(model.alone, (n, p)))]
                    logits += [joint.masked_fill(strand != one, -torch.inf) for one in range(len(STRANDS))]
                    places = fragment[:, None].expand(-1, len(logits))
                    best.scatter_reduce_(0, places, torch.stack(logits, 1), "amax")
                    number[kind] += torch.bincount(fragment, minlength=len(part))
        parts.append(torch.cat([best, number.T, gc_content(letters)[:, None]], 1).cpu())
    empty = torch.empty(0, len(LOGITS) + 3)
    scores = pd.DataFrame(torch.cat([empty, *parts]).numpy(), columns=[*LOGITS, "frames", "longest", "gc"])
    kind = np.select([scores["frames"] > 0, scores.pop("longest") > 0], KINDS, "")
    fields = {name: table[name].to_numpy()[owners] for name in FIELDS}
    return scores.assign(kind=kind, sequence=owners, **fields)
