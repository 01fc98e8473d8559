"""Check an installation on known answers: embed a model pack's reference frames and compare.

The frames are computed as VirNucPro v1 computed them (standard, fp32), and by the fast path. Says for each encoder, and
for the scores, how far off they are, and fails when one is farther than its precision allows.
"""

import argparse
from pathlib import Path

import torch

from virnucflow.cli import Failure, InputError, argument_parser, log, run
from virnucflow.devices.choose import prepare_device
from virnucflow.devices.precision import PRECISIONS, Liberties, choose_precision
from virnucflow.encoders.attention_kernels import KERNELS
from virnucflow.encoders.load import LOADERS
from virnucflow.packs.encoders import ENCODERS, TOKEN_BUDGET
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER
from virnucflow.packs.reference import Reference, compare_embedding, compare_scores, load_reference
from virnucflow.scoring.classifier import load_classifier, score


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="directory of a model pack")
    parser.add_argument("--precision", choices=PRECISIONS["flash"], default="auto", help="of flash")
    parser.add_argument(
        "--attention-kernel", choices=KERNELS, default="auto", help="of ESM-2, flash; auto: the fastest"
    )
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="CPU threads; default all cores")
    return parser.parse_args()


def check(
    pack: ModelPack, reference: Reference, attention: str, kernel: str, precision: str, device: torch.device
) -> list[str]:
    """Compare one way of computing with the reference; gives what is too far off."""
    features, comparisons = [], []
    for name, encoder in ENCODERS.items():
        own = encoder.precision(precision)
        embed, used = LOADERS[name](pack, attention, encoder.kernel(kernel), own, device, TOKEN_BUDGET["standard"])
        features.append(embed(reference.sequences(name)))
        if name in reference.values:
            comparison = compare_embedding(reference, name, features[-1], own)
            comparisons.append((f"{name}, {attention} {own} ({used})", comparison))
        else:
            log.info("%s: the pack has no reference values", name)
    if "scores" in reference.values and CLASSIFIER in pack.sha256:
        scores = score(load_classifier(pack), torch.cat(features, dim=1))
        comparisons.append((f"scores, {attention} {precision}", compare_scores(reference, scores, precision)))
    for what, comparison in comparisons:
        log.info("%s: %s", what, comparison)
    return [f"{what} {comparison}" for what, comparison in comparisons if not comparison.passed]


def main() -> None:
    arguments = parse_arguments()
    device = prepare_device(arguments.device, arguments.threads, Liberties())
    pack = read_model_pack(arguments.model)
    if not (reference := load_reference(pack)):
        raise InputError(f"{arguments.model}: the pack has no reference values; make it again to have some")
    precision = choose_precision(arguments.precision, "flash", device)
    ways = [("standard", "auto", "fp32"), ("flash", arguments.attention_kernel, precision)]
    log.info("%d frames, against %s", len(reference.names), reference.source)
    wrong = [line for way in ways for line in check(pack, reference, *way, device)]
    if wrong:
        raise Failure(f"{arguments.model}: {'; '.join(wrong)}; check driver, versions and precision, or fetch it again")
    log.info("passed: %s on %s computes what it should", pack.name, device)


if __name__ == "__main__":
    run(main)
