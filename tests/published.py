"""Small files in the formats that the models were published in, written by the classes that wrote those."""

import argparse
import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from esm.data import Alphabet
from esm.model.esm2 import ESM2
from helpers import REPOSITORY, write_fasta
from torch import nn

from build_untrained_pack import build_tokenizer
from virnucflow.encoders import dnabert_s, esm2
from virnucflow.packs.pack import DnabertSShape, Esm2Shape
from virnucflow.packs.weights import published_state
from virnucflow.published.catalogue import read_recipe

ESM2_SHAPE = Esm2Shape(2, 32, 4)
DNABERT_S_SHAPE = DnabertSShape(128, 2, 24, 2, 96, 1e-12)
FEATURES = 24 + 32
NAME = "virnucpro-500"
CATALOGUE = yaml.safe_load((REPOSITORY / "config" / "models.yaml").read_text())
RECIPE = read_recipe(REPOSITORY / "config" / "models.yaml", NAME)


class MLPClassifier(nn.Module):
    """VirNucPro v1's, which its published files name as __main__.MLPClassifier."""

    def __init__(self, features: int = FEATURES, hidden: int = 16) -> None:
        super().__init__()
        self.hidden_layer = nn.Linear(features, hidden)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.output_layer = nn.Linear(hidden, 2)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output_layer(self.dropout(torch.relu(self.bn1(self.hidden_layer(x)))))


MLPClassifier.__module__ = "__main__"


class Published:
    """A folder with all files of RECIPE, small, and the modules that they were written from."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(7)
        self.folder = folder
        self.esm2 = ESM2(**asdict(ESM2_SHAPE), alphabet=Alphabet.from_architecture("ESM-1b")).eval().half()
        self.dnabert_s = dnabert_s.DnabertS(DNABERT_S_SHAPE).eval()
        self.tokenizer = build_tokenizer(DNABERT_S_SHAPE.vocab_size)
        self.classifier = MLPClassifier()
        for _ in range(20):  # running statistics
            self.classifier(torch.randn(64, FEATURES))
        self.classifier.eval()
        for name in RECIPE.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        self.save_esm2()
        self.save_dnabert_s()
        self.save_classifier()
        with torch.inference_mode():
            for run in RECIPE.v1.runs:
                self.save_run(run)

    def path(self, name: str) -> Path:
        return self.folder / name

    def save_esm2(self, **changes: object) -> None:
        """As fair-esm's checkpoints are: settings as a Namespace, names with a prefix, the language model's head."""
        shape = asdict(ESM2_SHAPE) | changes
        settings = argparse.Namespace(
            encoder_layers=shape["num_layers"], encoder_embed_dim=shape["embed_dim"],
            encoder_attention_heads=shape["attention_heads"], token_dropout=True, arch="esm2", seed=1, lr=[4e-4],
        )  # fmt: skip
        state = {}
        for name, tensor in self.esm2.state_dict().items():
            if not name.startswith("contact_head"):
                prefix = "encoder." if name.startswith("lm_head") else "encoder.sentence_encoder."
                state[prefix + name] = tensor
        torch.save({"cfg": {"model": settings}, "model": state}, self.path(RECIPE.esm2_weights))

    def save_dnabert_s(self) -> None:
        """As a repository on the hub: the encoder with its pooler, and code, which must not run."""
        pooler = {"pooler.dense.weight": torch.zeros(24, 24), "pooler.dense.bias": torch.zeros(24)}
        torch.save(published_state(self.dnabert_s) | pooler, self.path(RECIPE.dnabert_s_weights))
        config = asdict(DNABERT_S_SHAPE) | {
            "auto_map": {"AutoModel": "bert_layers.BertModel"},
            "alibi_starting_size": 512,
        }
        self.path(RECIPE.dnabert_s_config).write_text(json.dumps(config))
        self.tokenizer.save(str(self.path(RECIPE.tokenizer)))
        self.path(RECIPE.tokenizer).with_name("bert_layers.py").write_text("raise SystemExit('remote code ran')\n")

    def save_classifier(self) -> None:
        sys.modules["__main__"].MLPClassifier = MLPClassifier
        torch.save(self.classifier, self.path(RECIPE.classifier))
        del sys.modules["__main__"].MLPClassifier

    def features(self, nucleotides: list[str], proteins: list[str]) -> torch.Tensor:
        """What v1 computes: both encoders in float32, one beside the other."""
        dna = dnabert_s.embed_standard(self.dnabert_s, self.tokenizer, nucleotides)
        return torch.cat([dna, esm2.embed_standard(self.esm2.float(), proteins, 2048)], dim=1)

    def save_run(self, run) -> None:
        """A run of v1 on a sequence of one chunk with all six frames."""
        from virnucflow.sequences.frames import stop_free_frames

        name = Path(run.fasta).stem
        sequence = "GCCGCAGCTGCG" * (5 if "fixed" in name else 4)
        write_fasta(self.path(run.fasta), {name: sequence})
        frames = list(stop_free_frames(sequence))
        features = self.features([frame.nucleotide for frame in frames], [frame.protein for frame in frames])
        names = [f"{name}_chunk_1{frame.frame}" for frame in frames]
        torch.save({"ids": names, "data": features}, self.path(run.embeddings))
        rows = [
            f"{name}\t{'virus' if virus > others else 'others'}\t{others}\t{virus}"
            for name, (others, virus) in zip(names, self.classifier(features).softmax(1).numpy())
        ]
        text = "\n".join(["Sequence_ID\tPrediction\tscore1\tscore2", *rows]) + "\n"
        self.path(run.predictions).write_text(text)

    def write_catalogue(self, path: Path, base: str = "http://127.0.0.1:9") -> Path:
        """config/models.yaml with the shapes, addresses and checksums of these files, where the real one has such."""
        catalogue = json.loads(json.dumps(CATALOGUE))  # without YAML's aliases
        for name, file in catalogue["files"].items():
            file["url"] = f"{base}/{name}"
            if not (content := self.path(name)).exists():
                continue
            data = content.read_bytes()
            known = {
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "git_blob": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
            }
            file |= {key: value for key, value in known.items() if key in file}
        for pack in catalogue["packs"].values():
            pack["esm2"] |= asdict(ESM2_SHAPE)
            pack["dnabert_s"] |= asdict(DNABERT_S_SHAPE)
        path.write_text(yaml.safe_dump(catalogue))
        return path
