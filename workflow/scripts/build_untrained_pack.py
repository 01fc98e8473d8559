"""Build a model pack with seeded random weights, to try the workflow and to test it.

The pack has the architecture and the file formats of a real one, and its scores mean nothing. It names itself
`untrained`. The same arguments give the same bytes.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.trainers import BpeTrainer

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.encoders import dnabert_s, esm2
from virnucflow.files.kinds import WHOLE
from virnucflow.packs.encoders import TOKEN_BUDGET
from virnucflow.packs.pack import DnabertSShape, Esm2Shape, describe
from virnucflow.packs.pack_files import FILES
from virnucflow.packs.reference import save_reference
from virnucflow.packs.weights import save_weights
from virnucflow.published.reference_values import reference_values
from virnucflow.scoring import classifier
from virnucflow.sequences.frames import stop_free_frames

HIDDEN = 512  # the published classifier's hidden layer
CALIBRATION_CHUNKS = 400
LEARNING_CHUNKS = 1000
SPREAD = 4.0  # standard deviation of the logits' difference over random frames, so that scores use the whole range


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of the pack, to be written")
    parser.add_argument("--chunk-length", type=int, default=500, help="chunk length that the pack says it is for")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    for option, default, title, published in (
        ("--esm2", [3, 64, 4], "ESM-2", "36 2560 40"),
        ("--dnabert-s", [2, 48, 6], "DNABERT-S", "12 768 12"),
    ):
        words, text = ("LAYERS", "WIDTH", "HEADS"), f"shape of {title}; published: {published}"
        parser.add_argument(option, type=int, nargs=3, metavar=words, default=default, help=text)
    parser.add_argument("--vocabulary", type=int, default=256, help="tokens of DNABERT-S; published: 4096")
    arguments = parser.parse_args()
    for _, width, heads in (arguments.esm2, arguments.dnabert_s):
        if width % (2 * heads):
            raise InputError(f"width {width} and {heads} heads: the width must be a multiple of twice the heads")
    return arguments


def build_tokenizer(size: int) -> Tokenizer:
    """A byte-pair tokenizer of `size` tokens, learned from random DNA."""
    tokenizer = Tokenizer(BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    texts = ("".join("ACGT"[i] for i in row) for row in torch.randint(4, (LEARNING_CHUNKS, 500)).tolist())
    tokenizer.train_from_iterator(
        texts, BpeTrainer(vocab_size=size, special_tokens=dnabert_s.SPECIAL_TOKENS, show_progress=False)
    )
    dnabert_s.add_ends(tokenizer)
    return tokenizer


def random_features(
    protein_encoder: esm2.ESM2, nucleotide_encoder: dnabert_s.DnabertS, tokenizer: Tokenizer
) -> torch.Tensor:
    """(frames, features) of the frames of random chunks."""
    letters = torch.randint(4, (CALIBRATION_CHUNKS, 60)).tolist()
    frames = [frame for chunk in letters for frame in stop_free_frames("".join("ACGT"[i] for i in chunk))]
    nucleotides, proteins = [frame.nucleotide for frame in frames], [frame.protein for frame in frames]
    budget = TOKEN_BUDGET["standard"]
    embedded = dnabert_s.embed_flash(nucleotide_encoder, tokenizer, nucleotides, budget)
    model = esm2.flash_model(protein_encoder, torch.float32, torch.device("cpu"))
    return torch.cat([embedded, esm2.embed_flash(model, proteins, budget)], dim=1)


@torch.inference_mode()
def spread(module: classifier.MLPClassifier, features: torch.Tensor) -> None:
    """Give a classifier the batch statistics of `features`; it then calls half of them viral, with scores of 0 to 1."""
    hidden, norm = module.hidden_layer(features), module.bn1
    norm.load_state_dict(norm.state_dict() | {"running_mean": hidden.mean(0), "running_var": hidden.var(0)})
    difference = module(features).diff(dim=1)
    module.output_layer.weight.mul_(SPREAD / difference.std())
    module.output_layer.bias[classifier.VIRUS] -= module(features).diff(dim=1).median()


def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    layers, width, heads = arguments.esm2
    esm2_shape = Esm2Shape(num_layers=layers, embed_dim=width, attention_heads=heads)
    tokenizer = build_tokenizer(arguments.vocabulary)
    layers, width, heads = arguments.dnabert_s
    dnabert_s_shape = DnabertSShape(tokenizer.get_vocab_size(), layers, width, heads, 4 * width, layer_norm_eps=1e-12)
    protein_encoder = esm2.fair_esm_model(esm2_shape, device="cpu").eval()
    # Half precision is what the published checkpoint is in, its rotary frequencies included.
    protein_encoder.half().float()
    nucleotide_encoder = dnabert_s.DnabertS(dnabert_s_shape).eval()
    features = random_features(protein_encoder, nucleotide_encoder, tokenizer)
    mlp = classifier.MLPClassifier(features.shape[1], HIDDEN).eval()
    spread(mlp, features)
    description = {
        "name": "untrained",
        "trained": False,
        "chunk_lengths": [arguments.chunk_length],
        "frames": WHOLE,
        "esm2": asdict(esm2_shape),
        "dnabert_s": asdict(dnabert_s_shape),
        "provenance": f"random weights, seed {arguments.seed}, of build_untrained_pack.py",
        "licence": "MIT",
        "quality": None,
    }
    reference = reference_values(protein_encoder, nucleotide_encoder, tokenizer, mlp)
    with staged(*(arguments.model / name for name in (*FILES, "pack.json"))) as (*pack_files, description_file):
        esm2_file, dnabert_s_file, tokenizer_file, classifier_file, reference_file = pack_files
        save_weights(protein_encoder.half(), esm2_file)
        save_weights(nucleotide_encoder, dnabert_s_file)
        tokenizer.save(str(tokenizer_file))
        save_weights(mlp, classifier_file)
        save_reference(reference, reference_file)
        description_file.write_text(describe(description, dict(zip(FILES, pack_files))), encoding="utf-8")
    log.info("untrained pack in %s", arguments.model)


if __name__ == "__main__":
    run(main)
