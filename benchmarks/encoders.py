"""Both encoders on one GPU: v1's way, Hugging Face's and every kernel and precision of the flash path, in one run.

Weights are random. Tokens are residues with <cls> and <eos>, without padding. The yardstick for ESM-2 is the rate of
its matrix products alone, in fp16, one after another as the model runs them. Prints two tables in Markdown, row by row.
"""

import argparse
import copy
import random
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from shared import add_shapes, random_length  # shared.py puts programs and library on the path

from build_untrained_pack import build_tokenizer
from virnucflow.devices.precision import Liberties, allow
from virnucflow.encoders import dnabert_s, dnabert_s_packed, esm2, esm2_packed
from virnucflow.encoders.batches import equal_length_batches
from virnucflow.packs.encoders import TOKEN_BUDGET
from virnucflow.packs.pack import DnabertSShape, Esm2Shape

GPU = torch.device("cuda")
RUNS = 3
BUDGET, V1_BUDGET = TOKEN_BUDGET["flash"], TOKEN_BUDGET["standard"]
Embed = Callable[[list[str]], torch.Tensor]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shapes(parser)
    parser.add_argument("--batches", type=int, default=14, help="full batches of proteins, as in the midst of a shard")
    parser.add_argument("--few", type=int, default=200, help="frames for the slow ways, and for the cosines")
    return parser.parse_args()


def random_proteins(batches: int) -> list[str]:
    """As many as fill this many batches, which is how all but the last batch of a shard are."""
    letters, proteins, room = random.Random(0), [], 0
    while True:
        length = random_length(letters)
        if room < length + 2:
            if batches == 0:
                return proteins
            batches, room = batches - 1, BUDGET
        room -= length + 2
        proteins.append("".join(letters.choices("ACDEFGHIKLMNPQRSTVWY", k=length)))


def count_tokens(proteins: list[str]) -> int:
    return sum(len(protein) + 2 for protein in proteins)


def seconds(work: Callable[[], object], runs: int = RUNS) -> float:
    """The median of some runs, after one to warm up."""
    work()
    times = []
    for _ in range(runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return sorted(times)[runs // 2]


def matrix_products(model: esm2.FlashModel, tokens: int) -> Callable[[], None]:
    """All matrix products of one pass, without anything between them."""
    x, qkv, hidden, out = (torch.randn(tokens, times * model.width, device=GPU).half() for times in (1, 3, 4, 1))

    def run() -> None:
        for layer in model.layers:
            torch.mm(x, layer.attention.qkv.weight.t(), out=qkv)
            torch.mm(x, layer.attention.out.weight.t(), out=out)
            torch.mm(x, layer.mlp.fc1.weight.t(), out=hidden)
            torch.mm(hidden, layer.mlp.fc2.weight.t(), out=out)

    return run


def fp8_products(model: esm2.FlashModel, tokens: int) -> Callable[[], None]:
    """The same of a model in fp8, of rows that are scaled already."""
    x, hidden = (torch.randn(tokens, times * model.width, device=GPU).to(esm2_packed.FP8) for times in (1, 4))
    scales = torch.ones(tokens, 1, device=GPU)

    def run() -> None:
        for layer in model.layers:
            for linear in (layer.attention.qkv, layer.attention.out, layer.mlp.fc1):
                linear(x, scales)
            layer.mlp.fc2(hidden, scales)

    return run


def hugging_face(shape: Esm2Shape) -> Embed:
    """`EsmModel` with scaled_dot_product_attention, in batches of equal length, so that it pads nothing."""
    from transformers import EsmConfig, EsmModel

    config = EsmConfig(
        vocab_size=33, mask_token_id=32, pad_token_id=1, position_embedding_type="rotary",
        num_hidden_layers=shape.num_layers, hidden_size=shape.embed_dim, intermediate_size=4 * shape.embed_dim,
        num_attention_heads=shape.attention_heads, token_dropout=False, attn_implementation="sdpa",
    )  # fmt: skip
    with GPU:
        model = EsmModel(config, add_pooling_layer=False).half().eval()

    def embed(proteins: list[str]) -> torch.Tensor:
        lengths = esm2.np.array([len(protein) + 2 for protein in proteins])
        for batch in equal_length_batches(lengths, BUDGET):
            model(input_ids=esm2.tokenize(proteins, batch).to(GPU)).last_hidden_state[:, 1:-1].mean(1).cpu()

    return embed


def benchmark_esm2(shape: Esm2Shape, batches: int, number: int) -> float:
    """Print the table of ESM-2; gives the tokens a second of the default kernel."""
    standard = esm2.fair_esm_model(shape, device="cuda").eval()
    flash = esm2.flash_model(standard, torch.float16, GPU)
    proteins = random_proteins(batches)
    few = proteins[:number]
    flop = 2 * 12 * shape.num_layers * shape.embed_dim**2  # a token, in the matrix products
    products = BUDGET / seconds(matrix_products(flash, BUDGET))
    reference = esm2.embed_standard(standard, few, V1_BUDGET)
    print(f"\nESM-2 of {shape}, {count_tokens(proteins)} tokens in {len(proteins)} proteins\n")
    print("| | tokens/s | TFLOP/s | of the products' rate | memory, GB | least cosine to fp32 |")
    print("| --- | --: | --: | --: | --: | --: |")

    def show(label: str, rate: float, memory: str = "", result: torch.Tensor | None = None) -> None:
        cosine = "" if result is None else f"{F.cosine_similarity(result.double(), reference.double()).min():.7f}"
        figures = f"{rate:,.0f} | {rate * flop / 1e12:.0f} | {rate / products:.1%}"
        print(f"| {label} | {figures} | {memory} | {cosine} |", flush=True)

    def measure(label: str, embed: Embed, some: list[str], compare: bool = True) -> float:
        torch.cuda.reset_peak_memory_stats()
        rate = count_tokens(some) / seconds(lambda: embed(some))
        memory = f"{torch.cuda.max_memory_allocated() / 1e9:.1f}"
        show(label, rate, memory, embed(few) if compare else None)
        return rate

    show("matrix products alone, fp16", products)
    measure("fair-esm fp32 (v1)", lambda some: esm2.embed_standard(standard, some, V1_BUDGET), few)
    standard.half()
    for size in (V1_BUDGET, 16384):
        embed = partial(esm2.embed_standard, standard, token_budget=size)
        measure(f"fair-esm fp16, {size} tokens a batch", embed, proteins)
    embed = standard = None
    if find_spec("transformers"):
        measure("Hugging Face fp16, sdpa, nothing padded", hugging_face(shape), proteins, compare=False)
    kernels = ["varlen", *(["flash_attn"] if find_spec("flash_attn") else []), "triton", "sdpa"]
    rates = {}
    for kernel in kernels:
        label = f"flash fp16, {kernel}" + (" (the default)" if kernel == "triton" else "")
        packed = esm2_packed.packed_model(copy.deepcopy(flash), kernel, fp8=False)
        embed = partial(esm2_packed.embed_esm2, packed, token_budget=BUDGET)
        rates[kernel] = measure(label, embed, proteins)
    if torch.cuda.get_device_capability() >= (8, 9):
        packed = esm2_packed.packed_model(copy.deepcopy(flash), "triton", fp8=True)
        show("matrix products alone, fp8", BUDGET / seconds(fp8_products(packed.encoder, BUDGET)))
        measure("flash fp8, triton", lambda some: esm2_packed.embed_esm2(packed, some, BUDGET), proteins)
    show("matrix products alone, fp16, once more", BUDGET / seconds(matrix_products(flash, BUDGET)))
    return rates["triton"]


def benchmark_dnabert_s(layers: int, width: int, heads: int, number: int, esm2_rate: float) -> None:
    """Print the table of DNABERT-S, tokenization included."""
    tokenizer = build_tokenizer(4096)
    shape = DnabertSShape(4096, layers, width, heads, 4 * width, 1e-12)
    letters = random.Random(1)
    proteins = random_proteins(100)
    frames = ["".join(letters.choices("ACGT", k=3 * len(protein) + 1)) for protein in proteins]
    few = frames[:number]
    with GPU:
        standard = dnabert_s.DnabertS(shape).eval()
    reference = dnabert_s.embed_standard(standard, tokenizer, few)
    one_by_one = len(few) / seconds(lambda: dnabert_s.embed_standard(standard, tokenizer, few))
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch_fast(few)) / len(few)
    esm2_seconds = count_tokens(proteins) / len(proteins) / esm2_rate
    print(f"\nDNABERT-S of {shape}, {len(frames)} frames of {tokens:.0f} tokens\n")
    print("| | frames/s | of ESM-2's time | least cosine to fp32 |\n| --- | --: | --: | --: |")

    def show(label: str, rate: float, cosine: str = "") -> None:
        print(f"| {label} | {rate:,.0f} | {1 / rate / esm2_seconds:.1%} | {cosine} |", flush=True)

    show("one by one, fp32 (v1)", one_by_one)
    half = standard.half()
    embedders = {"sdpa": partial(dnabert_s.embed_flash, half, tokenizer, token_budget=BUDGET)}
    for kernel in (*(["flash_attn"] if find_spec("flash_attn") else []), "triton"):
        embedders[kernel] = partial(dnabert_s_packed.embed_dnabert_s, half, kernel, tokenizer, token_budget=BUDGET)
    for kernel, embed in embedders.items():
        label = f"flash fp16, {kernel}" + (" (the default)" if kernel == "triton" else "")
        rate = len(frames) / seconds(lambda e=embed: e(frames))
        show(label, rate, f"{F.cosine_similarity(embed(few).double(), reference.double()).min():.7f}")


@torch.inference_mode()
def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(0)
    allow(Liberties())
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    rate = benchmark_esm2(Esm2Shape(*arguments.esm2), arguments.batches, arguments.few)
    benchmark_dnabert_s(*arguments.dnabert_s, arguments.few, rate)


if __name__ == "__main__":
    main()
