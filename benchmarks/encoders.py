"""ESM-2 on one GPU: fair-esm and every kernel of the flash path, as tokens a second, in one run with random weights.

The yardstick is the rate of the model's matrix products alone, one after another as the model runs them. Tokens are
residues with <cls> and <eos>, without padding. Prints a table in Markdown.
"""

import argparse
import random
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from virnucflow import esm2
from virnucflow.embed_program import TOKEN_BUDGET
from virnucflow.esm2_packed import embed_packed
from virnucflow.model_pack import Esm2Shape

GPU = torch.device("cuda")
RUNS = 3


def parse_arguments() -> argparse.Namespace:
    shape = {"type": int, "nargs": 3, "metavar": ("LAYERS", "WIDTH", "HEADS")}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esm2", **shape, default=[36, 2560, 40], help="shape; default: ESM-2 3B")
    parser.add_argument("--frames", type=int, default=3000, help="proteins for the flash path")
    parser.add_argument("--few", type=int, default=200, help="proteins for fair-esm in fp32, and for the cosines")
    return parser.parse_args()


def random_proteins(number: int) -> list[str]:
    """80 % of 165 or 166 residues, the rest from 20 to 166: about what chunks of 500 bases give."""
    letters = random.Random(0)
    lengths = [
        letters.choice((165, 166)) if letters.random() < 0.8 else letters.randint(20, 166) for _ in range(number)
    ]
    return ["".join(letters.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]


def seconds(work: Callable[[], object]) -> float:
    """The median of some runs, after one to warm up."""
    work()
    times = []
    for _ in range(RUNS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return sorted(times)[RUNS // 2]


def matrix_products(model: esm2.FlashModel, tokens: int) -> Callable[[], None]:
    """All matrix products of one pass, without anything between them."""
    x, qkv, hidden = (
        torch.randn(tokens, times * model.embed_tokens.shape[1], device=GPU).half() for times in (1, 3, 4)
    )

    def run() -> None:
        for layer in model.layers:
            torch.mm(x, layer.qkv[0].t(), out=qkv)
            torch.mm(x, layer.out[0].t())
            torch.mm(x, layer.fc1[0].t(), out=hidden)
            torch.mm(hidden, layer.fc2[0].t())

    return run


@torch.inference_mode()
def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(0)
    shape = Esm2Shape(*arguments.esm2)
    standard = esm2.fair_esm_model(shape, device="cuda").eval()
    flash = esm2.flash_model(standard, torch.float16, GPU)
    proteins, few = random_proteins(arguments.frames), random_proteins(arguments.few)
    tokens, few_tokens = (sum(len(protein) + 2 for protein in some) for some in (proteins, few))
    flop = 2 * 12 * shape.num_layers * shape.embed_dim**2  # a token, in the matrix products
    budget = TOKEN_BUDGET["flash"]

    products = budget / seconds(matrix_products(flash, budget))
    rows = [("matrix products alone, fp16", products, None)]
    reference = esm2.embed_standard(standard, few, 2048)
    rows.append(("fair-esm fp32", few_tokens / seconds(lambda: esm2.embed_standard(standard, few, 2048)), reference))
    standard.half()
    for size in (2048, 16384):
        rate = tokens / seconds(lambda size=size: esm2.embed_standard(standard, proteins, size))
        rows.append((f"fair-esm fp16, {size} tokens a batch", rate, esm2.embed_standard(standard, few, size)))
    standard = None
    for kernel in ("sdpa", "triton", "varlen", "flash_attn"):
        if kernel == "flash_attn" and find_spec("flash_attn") is None:
            continue

        def embed(some: list[str], kernel: str = kernel) -> torch.Tensor:
            if kernel == "sdpa":
                return esm2.embed_flash(flash, some, budget)
            return embed_packed(flash, kernel, some, budget)

        rows.append((f"flash fp16, {kernel}", tokens / seconds(lambda e=embed: e(proteins)), embed(few)))

    name = torch.cuda.get_device_name()
    print(f"\n{name}, torch {torch.__version__}, ESM-2 of {shape}, {tokens} tokens in {len(proteins)} proteins\n")
    print("| | tokens/s | TFLOP/s | of the products' rate | least cosine to fp32 |\n| --- | --: | --: | --: | --: |")
    for label, rate, result in rows:
        cosine = "" if result is None else f"{F.cosine_similarity(result.double(), reference.double()).min():.7f}"
        print(f"| {label} | {rate:,.0f} | {rate * flop / 1e12:.0f} | {rate / products:.1%} | {cosine} |")


if __name__ == "__main__":
    main()
