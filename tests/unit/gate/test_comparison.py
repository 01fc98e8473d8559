"""The gate: every fault that earlier fast paths had is caught when planted; the interval and the draw are right."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from helpers import error_line
from tokenizers import Tokenizer
from trial import (
    LOADERS,
    Trial,
    decide,
    make_trial,
    one_lost_one_doubled,
    other_names_after_a_resume,
    second_batch_too_large,
)

from compare_attention import reliability_of_chunks
from virnucflow.encoders import dnabert_s, esm2
from virnucflow.files.tables import SCORES, write_parquet
from virnucflow.gate.comparison import (
    agreement,
    compare,
    compare_with_truth,
    judge_cosines,
    number_needed,
)
from virnucflow.gate.figures import draw_figures
from virnucflow.gate.sampling import draw, stratify, weigh
from virnucflow.measures.intervals import wilson
from virnucflow.measures.reliability import reliability

Forward = Callable[[esm2.FlashModel, torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return make_trial(tmp_path_factory.mktemp("trial") / "pack", "cpu")


def pooling(part: slice) -> Callable[[Forward], Forward]:
    """A fault in which rows go into the mean: every row becomes the mean that the fault gives."""

    def plant(forward: Forward) -> Forward:
        def wrong(model: esm2.FlashModel, tokens: torch.Tensor) -> torch.Tensor:
            hidden = forward(model, tokens)
            rows = hidden[:, part] if hidden[:, part].shape[1] else hidden
            return rows.mean(1, keepdim=True).expand_as(hidden)

        return wrong

    return plant


def tanh_gelu(gelu: Callable) -> Callable:
    return lambda x: gelu(x, approximate="tanh")


def padded_with_cls(forward: Forward) -> Forward:
    def wrong(model: esm2.FlashModel, tokens: torch.Tensor) -> torch.Tensor:
        return forward(model, F.pad(tokens, (0, 110 - tokens.shape[1])))[:, : tokens.shape[1]]

    return wrong


def across_sequences(forward: Forward) -> Forward:
    return lambda model, tokens: forward(model, tokens.reshape(1, -1)).reshape(*tokens.shape, -1)


def without_last_layer(forward: Callable) -> Callable:
    def wrong(model: torch.nn.Module, *arguments: object) -> torch.Tensor:
        layers = model.layers
        model.layers = layers[:-1]
        hidden = forward(model, *arguments)
        model.layers = layers
        return hidden

    return wrong


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


# The faults by their numbers in the history of such ports: what is changed, and how. 8 and 13 are below.
FAULTS = {
    "1 <eos> in the mean": (esm2.FlashModel, "forward", pooling(slice(1, None))),
    "2 no scaling by 0.88": (esm2, "TOKEN_DROPOUT", lambda _: 1.0),
    "3 tanh GELU": (esm2.F, "gelu", tanh_gelu),
    "4 rotary tables in half precision": (esm2, "rotary_table", half_tables),
    "5 positions not reset": (esm2, "rotary_table", positions(lambda p: (p + 70) % 100)),
    "6 no rotary positions": (esm2, "rotate", lambda _: lambda x, cos, sin: x),
    "7 rotary of half the head": (esm2, "rotate", half_of_the_head),
    "9 padding with <cls>, attended": (esm2.FlashModel, "forward", padded_with_cls),
    "10 batches read before they are there": (esm2, "embed_flash", second_batch_too_large),
    "11 one sequence lost, one doubled": (esm2, "embed_flash", one_lost_one_doubled),
    "12 other names after a resume": (esm2, "embed_flash", other_names_after_a_resume),
    "14 last residue left out": (esm2.FlashModel, "forward", pooling(slice(1, -2))),
    "15 the layer before the last": (esm2.FlashModel, "forward", without_last_layer),
    "16 attention across sequences": (esm2.FlashModel, "forward", across_sequences),
}


def slopes_of_one_series(_: Callable) -> Callable:
    return lambda heads: [2 ** (-8 * (head + 1) / heads) for head in range(heads)]


def one_sided(bias: Callable) -> Callable:
    return lambda heads, length, device: bias(heads, length, device).tril()


def value_gated(gelu: Callable) -> Callable:
    """GELU on the other half: nothing of the first one."""
    return lambda x: x


def cut_at(number: int) -> Callable:
    def plant(load: Callable) -> Callable:
        def wrong(path: Path) -> Tokenizer:
            tokenizer = load(path)
            tokenizer.enable_truncation(number)
            return tokenizer

        return wrong

    return plant


def ends_left_out(forward: Callable) -> Callable:
    def wrong(model: dnabert_s.DnabertS, *arguments: object) -> torch.Tensor:
        hidden = forward(model, *arguments)
        return hidden[:, 1:-1].mean(1, keepdim=True).expand_as(hidden)

    return wrong


def across_dnabert_s(forward: Callable) -> Callable:
    def wrong(model: dnabert_s.DnabertS, tokens: torch.Tensor, attend: Callable) -> torch.Tensor:
        return forward(model, tokens.reshape(1, -1), attend).reshape(*tokens.shape, -1)

    return wrong


DNABERT_S_FAULTS = {
    "[CLS] and [SEP] left out of the mean": (dnabert_s.DnabertS, "forward", ends_left_out),
    "tanh GELU": (dnabert_s.F, "gelu", tanh_gelu),
    "no ALiBi": (dnabert_s, "alibi_slopes", lambda _: lambda heads: [0.0] * heads),
    "ALiBi slopes of one series": (dnabert_s, "alibi_slopes", slopes_of_one_series),
    "ALiBi to one side": (dnabert_s, "alibi_bias", one_sided),
    "no GELU at the gate": (dnabert_s.F, "gelu", value_gated),
    "cut at 50 tokens": (dnabert_s, "load_tokenizer", cut_at(50)),
    "one sequence lost, one doubled": (dnabert_s, "embed_flash", one_lost_one_doubled),
    "the layer before the last": (dnabert_s.DnabertS, "forward", without_last_layer),
    "attention across sequences": (dnabert_s.DnabertS, "forward", across_dnabert_s),
}


ALL = {"esm2": FAULTS, "dnabert_s": DNABERT_S_FAULTS}


@pytest.mark.long
@pytest.mark.parametrize(("encoder", "fault"), [(encoder, fault) for encoder in ALL for fault in ALL[encoder]])
def test_planted_fault_is_caught(encoder: str, fault: str, trial: Trial, monkeypatch, tmp_path) -> None:
    assert trial.judge_planted(monkeypatch, tmp_path, encoder, fault, ALL[encoder], "fp32") != "accept"


@pytest.mark.long
def test_bf16_throughout_is_caught(trial: Trial, tmp_path) -> None:
    fast = trial.embed("esm2", "flash", "bf16")
    assert trial.judge(tmp_path, "8 bf16 throughout", "esm2", fast, "bf16") != "accept"


@pytest.mark.long
@pytest.mark.parametrize("encoder", LOADERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_untouched_paths_are_accepted(encoder: str, precision: str, trial: Trial, tmp_path) -> None:
    fast = trial.embed(encoder, "flash", precision)
    assert trial.judge(tmp_path, f"nothing, {encoder} in {precision}", encoder, fast, precision) == "accept"


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
    for accept, estimate in ((0.9, 1.0), (0.95, 1.0), (0.99, 1.0), (0.99, 0.995), (0.999, 1.0), (0.9, 0.95)):
        number = number_needed(accept, estimate)
        assert wilson(estimate, number)[0] > accept >= wilson(estimate, number - 1)[0]


def test_draw_takes_every_stratum_small_runs_whole_and_the_seed() -> None:
    strata = np.array(["a"] * 10000 + ["b"] * 3 + ["c"] * 500)
    rows = draw(strata, 100, 0)
    assert set(strata[rows]) == {"a", "b", "c"} and 97 <= len(rows) <= 100 and (np.diff(rows) > 0).all()
    assert np.array_equal(rows, draw(strata, 100, 0)) and not np.array_equal(rows, draw(strata, 100, 1))
    assert np.array_equal(draw(strata, 20000, 0), np.arange(len(strata)))


def test_half_of_the_sample_is_spread_equally_over_the_strata() -> None:
    """So that frames near the decision line, of which a run has few, are enough to judge by."""
    strata = np.array(["long/far"] * 9900 + ["long/near"] * 100)
    rows = draw(strata, 100, 0)
    assert [(strata[rows] == name).sum() for name in ("long/far", "long/near")] == [74, 25]


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


def test_of_no_frames_nothing_is_known(tmp_path: Path) -> None:
    """No share is made up; the decision has a name of its own, and is not refused for it either."""
    assert agreement(np.zeros(0, dtype=bool), np.zeros(0), np.zeros(0), whole=True)["estimate"] is None
    columns = {name: pd.Series(dtype=object) for name in ("name", "sequence_id", "kind", "stratum")}
    columns |= {f"prediction_{path}": pd.Series(dtype=object) for path in ("fast", "reference")}
    scores = [f"score_{label}_{path}" for label in ("virus", "others") for path in ("fast", "reference")]
    numbers = ["chunk", "residues", "weight", *scores, "dnabert_s_cosine", "esm2_cosine"]
    frames = pd.DataFrame(columns | {name: pd.Series(dtype=float) for name in numbers})
    found = compare(frames, whole=True, precisions={"dnabert_s": "fp16", "esm2": "fp16"}) | {"run_frames": 0}
    json.dumps(found, allow_nan=False)
    for shares in (found["frame_agreement"], found["sequence_agreement"]):
        assert shares == {"estimate": None, "lower": None, "upper": None, "effective_number": 0.0}
    assert found["embeddings"]["esm2"]["least_cosine"] is found["score_difference"]["max"] is None
    for options in ([], ["--strict"], ["--decide-on", "lower_bound"], ["--on-failure", "fallback"]):
        assert decide(found, tmp_path, *options) == "nothing to compare"
        gate = json.loads((tmp_path / "gate.json").read_text())
        assert gate["attention"] == "flash" and "%" not in gate["message"]
    said = decide(found | {"run_frames": 500}, tmp_path, code=2)
    assert "divergence.json: none of 500 frames was compared" in error_line(said)


def test_findings_that_are_none_are_refused(tmp_path: Path) -> None:
    whole = evidence(1.0, 0.99)
    shares = whole["frame_agreement"]
    for wrong in (
        {},
        whole | {"frames": "200"},
        whole | {"frame_agreement": 1.0},
        whole | {"frame_agreement": shares | {"estimate": None}},
        whole | {"frame_agreement": shares | {"effective_number": 0}},
        whole | {"embeddings": {"esm2": {"passed": "yes", "least_cosine": 1.0}}},
    ):
        assert "divergence.json: " in error_line(decide(wrong, tmp_path, code=2))
    assert not (tmp_path / "gate.json").exists()


def evidence(estimate: float, lower: float, whole: bool = False, passed: bool = True) -> dict:
    shares = {"estimate": estimate, "lower": lower, "upper": 1.0, "effective_number": 100.0}
    embeddings = {"dnabert_s": {"passed": True, "least_cosine": 1.0}, "esm2": {"passed": passed, "least_cosine": 0.9}}
    return {"frame_agreement": shares, "frames": 200, "run_frames": 5000, "whole": whole, "embeddings": embeddings}


def test_gate(tmp_path: Path) -> None:
    assert decide(evidence(0.995, 0.98), tmp_path) == "accept"
    assert "takes 3044 frames" in (tmp_path / "gate.json").read_text()
    assert decide(evidence(0.99, 0.98), tmp_path) == decide(evidence(0.95, 0.9), tmp_path) == "validate"
    assert decide(evidence(0.995, 0.98), tmp_path, "--decide-on", "lower_bound") == "validate"
    assert decide(evidence(1.0, 0.96), tmp_path, "--decide-on", "lower_bound") == "validate"
    assert "takes 762 frames" in (tmp_path / "gate.json").read_text()
    assert decide(evidence(1.0, 1.0, whole=True), tmp_path, "--decide-on", "lower_bound") == "accept"
    assert decide(evidence(1.0, 0.99, passed=False), tmp_path) == "validate"
    (tmp_path / "gate.json").unlink()
    said = decide(evidence(0.949, 0.93), tmp_path, code=1)
    assert "labels of 94.90% of the frames agree (95 % interval 93.00% to 100.00%, 200 of 5000" in said
    assert "divergence.json" in said and "attention: standard" in said and "on_failure: fallback" in said
    assert decide(evidence(0.97, 0.96), tmp_path, "--strict", code=1) and not (tmp_path / "gate.json").exists()
    assert decide(evidence(0.5, 0.4), tmp_path, "--on-failure", "fallback") == "refuse"
    gate = json.loads((tmp_path / "gate.json").read_text())
    assert gate["attention"] == "standard" and gate["frame_agreement"] == evidence(0.5, 0.4)["frame_agreement"]
    assert (gate["frames"], gate["run_frames"]) == (200, 5000)
    assert gate["thresholds"] == {"accept": 0.99, "refuse": 0.95, "decide_on": "estimate"}


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


def test_reliability_is_of_all_chunks_of_labelled_sequences(tmp_path: Path) -> None:
    """Over two shards, by the best frame of a chunk; a sequence without a label has no part."""
    rows = [("a", 1, 0.92), ("a", 1, 0.3), ("a", 2, 0.2), ("b", 1, 0.91), ("c", 1, 0.95), ("b", 2, 0.93), ("b", 2, 0.1)]
    scores = pd.DataFrame(rows, columns=["sequence_id", "chunk", "score_virus"])
    scores = scores.assign(
        score_others=1 - scores["score_virus"], frame="F1", kind="whole", residues=100, prediction="virus", name="n"
    )
    for shard, part in (("1", scores[:3]), ("2", scores[3:])):
        write_parquet(pa.Table.from_pandas(part[SCORES.names], schema=SCORES), tmp_path / shard)
    truth = pd.Series({"a": "virus", "b": "others", "elsewhere": "virus"})
    found = reliability_of_chunks([tmp_path / "1", tmp_path / "2"], truth)
    assert list(found["score_from"]) == [0.2, 0.9] and list(found["number"]) == [1, 3]
    assert list(found["share_viral"]) == pytest.approx([1, 1 / 3])
    assert reliability_of_chunks([tmp_path / "1"], truth["elsewhere":]).empty


@pytest.mark.parametrize("labelled", [True, False])
def test_figures_have_a_panel_more_where_truth_is_known(labelled: bool) -> None:
    scores = {f"score_virus_{path}": np.linspace(0, 1, 50) for path in ("fast", "reference")}
    frames = pd.DataFrame(scores).assign(prediction_fast="virus", prediction_reference="virus", residues=50)
    frames = frames.assign(dnabert_s_cosine=1.0, esm2_cosine=1.0)
    bins = reliability(np.array([True, False, True] * labelled, dtype=bool), np.array([0.9, 0.2, 0.8] * labelled))
    panels = draw_figures(frames, bins, "title").axes
    assert len(panels) == 3 + labelled
    if labelled:
        assert panels[3].get_legend().get_texts()[0].get_text() == "all of labelled sequences: 3 chunks"
