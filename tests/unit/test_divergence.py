"""The gate: every fault that earlier fast paths had is caught when planted; the interval and the draw are right."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from helpers import rehash, run_program
from safetensors.torch import load_file, save_file

from virnucflow import dnabert_s, esm2
from virnucflow.classifier import LABELS, VIRUS, load_classifier, score
from virnucflow.divergence import (
    agreement,
    compare,
    compare_with_truth,
    distances,
    draw,
    judge_cosines,
    number_needed,
    stratify,
    weigh,
    wilson,
)
from virnucflow.frames import stop_free_frames
from virnucflow.model_pack import ModelPack, read_model_pack

CPU = torch.device("cpu")
Forward = Callable[[esm2.FlashModel, torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def sharp_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """A random pack whose attention is as uneven, and whose hidden layers as far from linear, as a trained one's."""
    directory = tmp_path_factory.mktemp("sharp") / "pack"
    run_program("build_untrained_pack", "--model", directory, "--esm2", 4, 64, 4)
    tensors = load_file(directory / esm2.FILE)
    for name, tensor in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor *= 4
        elif name.endswith(("fc1.weight", "fc2.weight", "v_proj.weight", "out_proj.weight")):
            tensor *= 3
    save_file(tensors, directory / esm2.FILE)
    rehash(directory)
    return read_model_pack(directory)


@pytest.fixture(scope="module")
def sampled() -> pd.DataFrame:
    """Frames of random chunks: many of full length, some short."""
    letters, rows = random.Random(4), []
    for number in range(600):
        length = 300 if number % 3 else letters.randint(12, 300)
        for frame in stop_free_frames("".join(letters.choices("ACGT", weights=(2, 3, 3, 2), k=length))):
            rows.append((f"s{number}", 1, frame.frame, frame.nucleotide, frame.protein))
    frames = pd.DataFrame(rows, columns=["sequence_id", "chunk", "frame", "nucleotide", "protein"])
    frames["name"] = frames["sequence_id"] + "_chunk_1" + frames["frame"]
    return frames


def embed_proteins(pack: ModelPack, attention: str, proteins: list[str], precision: str = "fp32") -> torch.Tensor:
    return esm2.load_esm2(pack, attention, "auto", precision, CPU, 1024)[0](proteins)


@pytest.fixture(scope="module")
def reference(sharp_pack: ModelPack, sampled: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Both encoders' embeddings by standard attention in fp32."""
    nucleotides = dnabert_s.load_dnabert_s(sharp_pack, "standard", "auto", "fp32", CPU, 2048)[0]
    return nucleotides(list(sampled["nucleotide"])), embed_proteins(sharp_pack, "standard", list(sampled["protein"]))


def findings(
    pack: ModelPack,
    sampled: pd.DataFrame,
    reference: tuple[torch.Tensor, torch.Tensor],
    proteins: torch.Tensor,
    precision: str = "fp32",
) -> dict:
    """What the gate is told when the fast path's ESM-2 embeddings are `proteins`."""
    nucleotides, proteins_reference = reference
    frames, classifier = sampled.copy(), load_classifier(pack)
    # As build_untrained_pack does it, for this pack's features: half of the frames viral, and scores from 0 to 1.
    with torch.inference_mode():
        features = torch.cat(reference, 1)
        hidden = classifier.hidden_layer(features)
        classifier.bn1.running_mean.copy_(hidden.mean(0))
        classifier.bn1.running_var.copy_(hidden.var(0))
        classifier.output_layer.weight.mul_(4 / classifier(features).diff(dim=1).std())
        classifier.output_layer.bias[VIRUS] -= classifier(features).diff(dim=1).median() - 0.01
    for path, part in (("fast", proteins), ("reference", proteins_reference)):
        scores = score(classifier, torch.cat([nucleotides, part.float()], 1)).numpy()
        frames[f"score_others_{path}"], frames[f"score_virus_{path}"] = scores[:, 1 - VIRUS], scores[:, VIRUS]
        frames[f"prediction_{path}"] = np.array(LABELS)[(scores[:, VIRUS] > scores[:, 1 - VIRUS]).astype(int)]
    frames["stratum"] = stratify(
        frames["protein"].str.len().to_numpy(), frames["score_virus_reference"].to_numpy(), 300
    )
    frames["weight"] = 1.0
    frames["dnabert_s_cosine"] = 1.0
    frames["esm2_cosine"] = distances(proteins.numpy(), proteins_reference.numpy())["cosine"]
    return compare(frames, whole=True, precisions={"dnabert_s": "fp32", "esm2": precision}) | {
        "run_frames": len(frames)
    }


def decision(found: dict, folder: Path, *options: object, code: int = 0) -> str:
    """The decision of divergence_gate.py, or its complaint."""
    (folder / "divergence.json").write_text(json.dumps(found))
    arguments = ["--divergence", folder / "divergence.json", "--gate", folder / "gate.json", *options]
    said = run_program("divergence_gate", *arguments, code=code)
    return said if code else json.loads((folder / "gate.json").read_text())["decision"]


def pooling(part: slice) -> Callable[[Forward], Forward]:
    """A fault in which rows go into the mean: every row becomes the mean that the fault gives."""

    def plant(forward: Forward) -> Forward:
        def wrong(model: esm2.FlashModel, tokens: torch.Tensor) -> torch.Tensor:
            hidden = forward(model, tokens)
            rows = hidden[:, part] if hidden[:, part].shape[1] else hidden
            return rows.mean(1, keepdim=True).expand_as(hidden)

        return wrong

    return plant


def padded_with_cls(forward: Forward) -> Forward:
    def wrong(model: esm2.FlashModel, tokens: torch.Tensor) -> torch.Tensor:
        return forward(model, F.pad(tokens, (0, 110 - tokens.shape[1])))[:, : tokens.shape[1]]

    return wrong


def across_sequences(forward: Forward) -> Forward:
    return lambda model, tokens: forward(model, tokens.reshape(1, -1)).reshape(*tokens.shape, -1)


def without_last_layer(forward: Forward) -> Forward:
    return lambda model, tokens: forward(model._replace(layers=model.layers[:-1]), tokens)


def positions(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable:
    def plant(_: Callable) -> Callable:
        def wrong(inv_freq: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
            angles = torch.outer(change(torch.arange(length)).float(), inv_freq).repeat(1, 2)
            return angles.cos(), angles.sin()

        return wrong

    return plant


def half_tables(_: Callable) -> Callable:
    def wrong(inv_freq: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        angles = torch.outer(torch.arange(length).bfloat16(), inv_freq.bfloat16()).repeat(1, 2)
        return angles.cos().float(), angles.sin().float()

    return wrong


def half_of_the_head(rotate: Callable) -> Callable:
    def wrong(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        size = x.shape[-1] // 2
        rotated = rotate(x[..., :size], cos[:, :size], sin[:, :size])
        return torch.cat([rotated, x[..., size:]], -1)

    return wrong


def second_batch_too_large(embed: Callable) -> Callable:
    def wrong(*arguments: object) -> torch.Tensor:
        result = embed(*arguments)
        late = torch.arange(len(result)) > len(result) // 3
        return torch.where(late[:, None], result.roll(1, 0) * 100, result)

    return wrong


def one_lost_one_doubled(embed: Callable) -> Callable:
    def wrong(*arguments: object) -> torch.Tensor:
        result = embed(*arguments)
        return torch.cat([result[:10], result[11:], result[-1:]])

    return wrong


def other_names_after_a_resume(embed: Callable) -> Callable:
    def wrong(*arguments: object) -> torch.Tensor:
        result = embed(*arguments)
        return torch.cat([result[: len(result) // 2], result[len(result) // 2 :].flip(0)])

    return wrong


# The faults by their numbers in the history of such ports: what is changed, and how. 8 and 13 are below.
FAULTS = {
    "1 <eos> in the mean": ("flash_forward", pooling(slice(1, None))),
    "2 no scaling by 0.88": ("TOKEN_DROPOUT", lambda _: 1.0),
    "3 tanh GELU": ("F.gelu", lambda gelu: lambda x: gelu(x, approximate="tanh")),
    "4 rotary tables in half precision": ("rotary_table", half_tables),
    "5 positions not reset": ("rotary_table", positions(lambda p: (p + 70) % 100)),
    "6 no rotary positions": ("rotate", lambda _: lambda x, cos, sin: x),
    "7 rotary of half the head": ("rotate", half_of_the_head),
    "9 padding with <cls>, attended": ("flash_forward", padded_with_cls),
    "10 batches read before they are there": ("embed_flash", second_batch_too_large),
    "11 one sequence lost, one doubled": ("embed_flash", one_lost_one_doubled),
    "12 other names after a resume": ("embed_flash", other_names_after_a_resume),
    "14 last residue left out": ("flash_forward", pooling(slice(1, -2))),
    "15 the layer before the last": ("flash_forward", without_last_layer),
    "16 attention across sequences": ("flash_forward", across_sequences),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_caught(fault: str, sharp_pack, sampled, reference, monkeypatch, tmp_path) -> None:
    path, plant = FAULTS[fault]
    target, name = (esm2.F, "gelu") if path == "F.gelu" else (esm2, path)
    good = getattr(target, name)
    monkeypatch.setattr(target, name, plant(good))
    fast = embed_proteins(sharp_pack, "flash", list(sampled["protein"]))
    monkeypatch.setattr(target, name, good)
    found = findings(sharp_pack, sampled, reference, fast)
    report(fault, found)
    found_decision = decision(found, tmp_path, "--on-divergence", "fallback")
    assert found_decision != "accept"


def report(fault: str, found: dict) -> None:
    agreed, cosines = found["frame_agreement"]["estimate"], found["embeddings"]["esm2"]
    caught = " and ".join(["labels"] * (agreed <= 0.99) + ["embeddings"] * (not cosines["passed"]))
    print(f"| {fault} | {agreed:.1%} | {1 - cosines['least_cosine']:.1e} | {caught} |")


def test_bf16_throughout_is_caught(sharp_pack, sampled, reference, tmp_path) -> None:
    fast = embed_proteins(sharp_pack, "flash", list(sampled["protein"]), "bf16")
    found = findings(sharp_pack, sampled, reference, fast, "bf16")
    report("8 bf16 throughout", found)
    assert decision(found, tmp_path, "--on-divergence", "fallback") != "accept"


def test_untouched_paths_are_accepted(sharp_pack, sampled, reference, tmp_path) -> None:
    for precision in ("fp32", "fp16"):
        fast = embed_proteins(sharp_pack, "flash", list(sampled["protein"]), precision)
        found = findings(sharp_pack, sampled, reference, fast, precision)
        report(f"none, {precision}", found)
        assert decision(found, tmp_path) == "accept"


@pytest.mark.parametrize("share", [0.9, 0.97, 0.995])
@pytest.mark.parametrize("number", [150, 1000])
def test_interval_holds_the_truth_in_95_of_100_samples(share: float, number: int) -> None:
    drawn = np.random.default_rng(1).binomial(number, share, size=4000)
    held = [low <= share <= high for low, high in (wilson(k / number, number) for k in drawn)]
    assert 0.92 <= np.mean(held) <= 0.985


@pytest.mark.parametrize(("where", "rate"), [("long/near", 0.2), ("long/far", 0.03)])
def test_interval_of_a_stratified_sample_holds_the_truth(where: str, rate: float) -> None:
    """Labels change near the decision line, where the sample is denser than the run, or far from it."""
    random_numbers = np.random.default_rng(2)
    score_virus = np.concatenate([random_numbers.uniform(0.45, 0.55, 2000), random_numbers.choice([0.01, 0.99], 18000)])
    strata = stratify(np.full(20000, 160), score_virus, 500)
    changed = (strata == where) & (random_numbers.random(20000) < rate)
    truth, held, estimates = 1 - changed.mean(), [], []
    for seed in range(300):
        rows = draw(strata, 1000, seed)
        weights = weigh(strata, rows)
        assert weights.sum() == pytest.approx(20000)
        found = agreement(~changed[rows], strata[rows], weights, whole=False)
        estimates.append(found["estimate"])
        held.append(found["lower"] <= truth <= found["upper"])
    assert abs(np.mean(estimates) - truth) < 0.001
    assert np.mean(held) >= 0.94


def test_number_needed_is_the_least_that_does() -> None:
    for accept in (0.9, 0.95, 0.99, 0.999):
        number = number_needed(accept)
        assert wilson(1.0, number)[0] > accept >= wilson(1.0, number - 1)[0]


def test_draw_takes_every_stratum_small_runs_whole_and_the_seed() -> None:
    strata = np.array(["a"] * 10000 + ["b"] * 3 + ["c"] * 500)
    rows = draw(strata, 100, 0)
    assert set(strata[rows]) == {"a", "b", "c"} and 97 <= len(rows) <= 100 and (np.diff(rows) > 0).all()
    assert np.array_equal(rows, draw(strata, 100, 0)) and not np.array_equal(rows, draw(strata, 100, 1))
    assert np.array_equal(draw(strata, 20000, 0), np.arange(len(strata)))


def test_cosines() -> None:
    one, long_one = np.array([0.9991, 0.995]), np.array(["short/far", "long/far"])
    assert judge_cosines(one, long_one, "fp16")["passed"]
    assert not judge_cosines(one, long_one, "fp32")["passed"]
    assert not judge_cosines(one, long_one[::-1], "fp16")["passed"]
    assert not judge_cosines(np.array([0.995, 0.995]), np.array(["long/far"] * 2), "fp16")["passed"]
    a_few = np.r_[np.full(3, 0.995), np.ones(297)]
    assert judge_cosines(a_few, np.array(["long/far"] * 300), "fp16")["passed"]
    assert not judge_cosines(a_few[:200], np.array(["long/far"] * 200), "fp16")["passed"]
    assert not judge_cosines(np.array([np.nan, 1.0]), np.array(["long/far"] * 2), "fp16")["passed"]
    assert not judge_cosines(np.full(100, 0.98), np.array(["long/far"] * 100), "fp16")["passed"]


def evidence(estimate: float, lower: float, whole: bool = False, passed: bool = True) -> dict:
    shares = {"estimate": estimate, "lower": lower, "upper": 1.0, "effective_number": 100.0}
    embeddings = {"dnabert_s": {"passed": True, "least_cosine": 1.0}, "esm2": {"passed": passed, "least_cosine": 0.9}}
    return {"frame_agreement": shares, "frames": 200, "run_frames": 5000, "whole": whole, "embeddings": embeddings}


def test_gate(tmp_path: Path) -> None:
    assert decision(evidence(0.995, 0.98), tmp_path) == "accept"
    assert decision(evidence(0.99, 0.98), tmp_path) == decision(evidence(0.95, 0.9), tmp_path) == "validate"
    assert decision(evidence(0.995, 0.98), tmp_path, "--decide-on", "lower_bound") == "validate"
    assert decision(evidence(1.0, 0.96), tmp_path, "--decide-on", "lower_bound") == "validate"
    assert "takes 762 frames" in (tmp_path / "gate.json").read_text()
    assert decision(evidence(1.0, 1.0, whole=True), tmp_path, "--decide-on", "lower_bound") == "accept"
    assert decision(evidence(1.0, 0.99, passed=False), tmp_path) == "validate"
    (tmp_path / "gate.json").unlink()
    said = decision(evidence(0.949, 0.93), tmp_path, code=1)
    assert "labels of 94.90% of the frames agree (95 % interval 93.00% to 100.00%, 200 of 5000" in said
    assert "divergence.json" in said and "attention: standard" in said and "on_divergence: fallback" in said
    assert decision(evidence(0.97, 0.96), tmp_path, "--strict", code=1) and not (tmp_path / "gate.json").exists()
    assert decision(evidence(0.5, 0.4), tmp_path, "--on-divergence", "fallback") == "refuse"
    assert json.loads((tmp_path / "gate.json").read_text())["attention"] == "standard"


def test_truth() -> None:
    frames = pd.DataFrame(
        {
            "name": ["a1", "b1", "c1", "d1"],
            "sequence_id": list("abcd"),
            "prediction_fast": ["virus", "virus", "others", "virus"],
            "prediction_reference": ["virus", "others", "others", "virus"],
        }
    )
    found = compare_with_truth(frames, pd.Series({"a": "virus", "b": "others", "c": "virus"}))
    assert found["frames"] == 3 and found["errors_of_both"] == 1
    assert found["fast"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "errors": 2}
    assert found["reference"]["precision"] == 1 and found["reference"]["errors"] == 1
