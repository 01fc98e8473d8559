"""Reference values of a pack that is made here: what `standard` gives in float32 for the frames of random chunks."""

import torch
from tokenizers import Tokenizer

from virnucflow.encoders import dnabert_s, esm2
from virnucflow.packs.encoders import TOKEN_BUDGET
from virnucflow.packs.reference import Reference
from virnucflow.scoring.classifier import MLPClassifier, score
from virnucflow.sequences.frames import stop_free_frames

CHUNKS, BASES = 8, 90


def reference_values(
    protein_encoder: esm2.ESM2,
    nucleotide_encoder: dnabert_s.DnabertS,
    tokenizer: Tokenizer,
    classifier: MLPClassifier,
) -> Reference:
    """Reference values by modules on the CPU in float32, which have the weights that the pack will have.

    The chunks are drawn from PyTorch's global random numbers.
    """
    chunks = ("".join("ACGT"[i] for i in row) for row in torch.randint(4, (CHUNKS, BASES)).tolist())
    frames = [frame for chunk in chunks for frame in stop_free_frames(chunk)]
    nucleotides, proteins = [frame.nucleotide for frame in frames], [frame.protein for frame in frames]
    embeddings = {
        "dnabert_s": dnabert_s.embed_standard(nucleotide_encoder, tokenizer, nucleotides),
        "esm2": esm2.embed_standard(protein_encoder, proteins, TOKEN_BUDGET["standard"]),
    }
    scores = score(classifier, torch.cat([*embeddings.values()], dim=1))
    values = {name: tensor.numpy() for name, tensor in (embeddings | {"scores": scores}).items()}
    names = [f"frame_{number}" for number in range(1, len(frames) + 1)]
    return Reference(names, nucleotides, proteins, "what this computer gave when the pack was built", values)
