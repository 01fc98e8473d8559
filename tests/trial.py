"""A trial of the gate: a pack on which faults show, frames, and what the gate makes of a fast path's embeddings."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import rehash, run_program
from safetensors.torch import load_file, save_file

from build_untrained_pack import spread
from virnucflow.encoders.load import LOADERS
from virnucflow.files.json_files import write_json
from virnucflow.files.kinds import WHOLE
from virnucflow.files.tables import LABELS, VIRUS
from virnucflow.gate.comparison import compare, distances
from virnucflow.gate.sampling import stratify
from virnucflow.packs.encoders import DNABERT_S, ENCODERS, ESM2
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.scoring.classifier import MLPClassifier, load_classifier, score
from virnucflow.sequences.frames import stop_free_frames

CHUNK_LENGTH = 300


class Trial(NamedTuple):
    """`reference` are both encoders' embeddings of the frames by standard attention in fp32."""

    pack: ModelPack
    device: torch.device
    frames: pd.DataFrame
    reference: dict[str, torch.Tensor]
    classifier: MLPClassifier

    def embed(self, encoder: str, attention: str, precision: str, budget: int = 1024) -> torch.Tensor:
        run = LOADERS[encoder](self.pack, attention, "auto", precision, self.device, budget)[0]
        return run(list(self.frames[ENCODERS[encoder].column]))

    def judge_planted(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, encoder: str, fault: str, faults: dict, precision: str
    ) -> str:
        """The gate's decision with one of the faults, each a target, the name in it, and what makes it wrong."""
        target, name, plant = faults[fault]
        monkeypatch.setattr(target, name, plant(getattr(target, name)))
        fast = self.embed(encoder, "flash", precision)
        monkeypatch.undo()
        return self.judge(folder, f"{encoder}: {fault}", encoder, fast, precision)

    def judge(self, folder: Path, name: str, encoder: str, embeddings: torch.Tensor, precision: str) -> str:
        """The gate's decision when these are the fast path's embeddings of one encoder; a row for the manual."""
        found = self.findings(encoder, embeddings, precision)
        agreed, cosines = found["frame_agreement"]["estimate"], found["embeddings"][encoder]
        caught = " and ".join(["labels"] * (agreed <= 0.99) + ["embeddings"] * (not cosines["passed"]))
        print(f"| {name} | {agreed:.1%} | {1 - cosines['least_cosine']:.1e} | {caught} |")
        return decide(found, folder, "--on-failure", "fallback")

    def findings(self, encoder: str, embeddings: torch.Tensor, precision: str) -> dict:
        frames, fast = self.frames.copy(), self.reference | {encoder: embeddings.float()}
        for path, parts in (("fast", fast), ("reference", self.reference)):
            scores = score(self.classifier, torch.cat([parts["dnabert_s"], parts["esm2"]], 1)).numpy()
            frames[f"score_others_{path}"], frames[f"score_virus_{path}"] = scores[:, 1 - VIRUS], scores[:, VIRUS]
            frames[f"prediction_{path}"] = np.array(LABELS)[(scores[:, VIRUS] > scores[:, 1 - VIRUS]).astype(int)]
        for part, reference in self.reference.items():
            frames[f"{part}_cosine"] = distances(fast[part].numpy(), reference.numpy())["cosine"]
        residues, near = frames["protein"].str.len().to_numpy(), frames["score_virus_reference"].to_numpy()
        frames = frames.assign(residues=residues, stratum=stratify(residues, near, CHUNK_LENGTH), weight=1.0)
        precisions = dict.fromkeys(self.reference, "fp32") | {encoder: precision}
        return compare(frames, whole=True, precisions=precisions) | {"run_frames": len(frames)}


def make_trial(directory: Path, device: str) -> Trial:
    pack, frames = sharp_pack(directory), random_frames()
    trial = Trial(pack, torch.device(device), frames, {}, load_classifier(pack))
    reference = {encoder: trial.embed(encoder, "standard", "fp32", 2048) for encoder in LOADERS}
    spread(trial.classifier, torch.cat([reference["dnabert_s"], reference["esm2"]], 1))
    trial.classifier.output_layer.bias[VIRUS] += 0.01  # so that no frame is on the line
    return trial._replace(reference=reference)


def sharp_pack(directory: Path) -> ModelPack:
    """A random pack whose attention is as uneven, and whose hidden layers as far from linear, as a trained one's."""
    run_program("build_untrained_pack", "--model", directory, "--esm2", 4, 64, 4, "--dnabert-s", 3, 96, 6)
    tensors = load_file(directory / ESM2.weights)
    for name, tensor in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor *= 4
        elif name.endswith(("fc1.weight", "fc2.weight", "v_proj.weight", "out_proj.weight")):
            tensor *= 3
    save_file(tensors, directory / ESM2.weights)
    tensors = load_file(directory / DNABERT_S.weights)
    for name, tensor in tensors.items():
        if name.endswith("Wqkv.weight"):
            tensor[: len(tensor) * 2 // 3] *= 3
        elif name.endswith(("gated_layers.weight", "wo.weight", "dense.weight")):
            tensor *= 3
    save_file(tensors, directory / DNABERT_S.weights)
    rehash(directory)
    return read_model_pack(directory)


def random_frames() -> pd.DataFrame:
    """Frames of random chunks: many of full length, some short."""
    letters, rows = random.Random(4), []
    for number in range(600):
        length = CHUNK_LENGTH if number % 3 else letters.randint(12, CHUNK_LENGTH)
        for frame in stop_free_frames("".join(letters.choices("ACGT", weights=(2, 3, 3, 2), k=length))):
            rows.append((f"s{number}", 1, frame.frame, frame.nucleotide, frame.protein))
    frames = pd.DataFrame(rows, columns=["sequence_id", "chunk", "frame", "nucleotide", "protein"])
    return frames.assign(kind=WHOLE, name=frames["sequence_id"] + "_chunk_1" + frames["frame"])


def decide(found: dict, folder: Path, *options: object, code: int = 0) -> str:
    """The decision of divergence_gate.py, or its complaint."""
    write_json(found, folder / "divergence.json")
    arguments = ["--divergence", folder / "divergence.json", "--gate", folder / "gate.json", *options]
    said = run_program("divergence_gate", *arguments, code=code)
    return said if code else json.loads((folder / "gate.json").read_text())["decision"]


# Faults in what becomes of all embeddings of a shard, whichever the encoder and the path.


def second_batch_too_large(embed: Callable) -> Callable:
    def wrong(*arguments: object, **options: object) -> torch.Tensor:
        result = embed(*arguments, **options)
        late = torch.arange(len(result)) > len(result) // 3
        return torch.where(late[:, None], result.roll(1, 0) * 100, result)

    return wrong


def one_lost_one_doubled(embed: Callable) -> Callable:
    def wrong(*arguments: object, **options: object) -> torch.Tensor:
        result = embed(*arguments, **options)
        return torch.cat([result[:10], result[11:], result[-1:]])

    return wrong


def other_names_after_a_resume(embed: Callable) -> Callable:
    def wrong(*arguments: object, **options: object) -> torch.Tensor:
        result = embed(*arguments, **options)
        return torch.cat([result[: len(result) // 2], result[len(result) // 2 :].flip(0)])

    return wrong
