"""What may be up to date was made from these settings: each one, changed on a finished run, plans what depends on it.

The table is held to the schema, where every setting says whether it changes results: a new one cannot be forgotten.
"""

import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from helpers import EXAMPLE, REPOSITORY, planned_jobs, snakemake, write_fasta

from planning.settings import leaves
from virnucflow.sequences.fasta import read_fasta

SCHEMA = yaml.safe_load((REPOSITORY / "workflow" / "schemas" / "config.schema.yaml").read_text())
# Two labelled samples: `fast` by flash with the gate, `slow` by standard, each too large for a batch. lite is for
# chunks of 300 and 500 bases.
FINISHED = {
    "model_pack": "mine", "shards": 1, "shard_megabases": 0.002, "gate": {"frames": 40}, "prevalence": 0.1,
    "training": {"split_by": "split", "hidden": 16, "epochs": 10, "learning_rate": 0.01},
}  # fmt: skip


def jobs(*rules: str) -> Counter[str]:
    """One job of each rule that is named, and as many as it is named."""
    return Counter(" ".join(rules).split())


# What follows for one sample, up to its results; the gate embeds, concatenates and scores a sample of the frames too.
SCORES = jobs("embed_dnabert_s embed_esm2 concat_features predict")
SCORES_OF_GATE = jobs(*(f"{rule}_sampled" for rule in SCORES))
VERDICT = jobs("divergence_gate write_results")
GATE = jobs("sample_frames compare_attention") + SCORES_OF_GATE + VERDICT
SPLIT = jobs("split_fasta translate_frames")
ALL_OF_FAST, ALL_OF_SLOW = SPLIT + SCORES + GATE, SPLIT + SCORES + jobs("write_results")
EVERYTHING = ALL_OF_FAST + ALL_OF_SLOW
TRAINING = jobs("train_classifier")
ESM2_OF_FAST = jobs("embed_esm2 concat_features predict") + GATE

# Each setting that changes results: another value, and the jobs that `all` and `train` together then need.
CHANGED = {
    "model_pack": ("other", TRAINING),  # a copy: the same scores, but the trained pack says of which pack it is
    "chunk_length": (300, EVERYTHING + TRAINING),
    "duplicate_ids": ("rename", EVERYTHING + TRAINING),
    "rna": ("keep", EVERYTHING + TRAINING),
    "subsample: reads": (1, {}),  # of reads, which these samples have none of
    "subsample: seed": (1, {}),
    "min_residues": (50, jobs("write_results write_results")),
    "min_score": (0.9, jobs("write_results write_results")),
    "min_length": (1000, jobs("write_results write_results")),
    "min_scored_chunks": (2, jobs("write_results write_results")),
    "prevalence": ("estimate", jobs("write_results write_results")),
    "max_fdr": (0.05, jobs("write_results write_results")),
    "also_write": (["others"], jobs("write_results write_results")),
    "attention": ("standard", SCORES + jobs("write_results") + TRAINING),
    "attention_kernel": ("sdpa", ESM2_OF_FAST + TRAINING),
    "precision: flash": ("bf16", SCORES + GATE + TRAINING),
    "precision: standard": ("fp16", SCORES + jobs("write_results") + TRAINING),
    "precision: standard_allows": (["tf32"], SCORES + jobs("write_results") + TRAINING),
    "gate: frames": (30, GATE),
    "gate: seed": (1, GATE),
    "gate: accept": (0.98, VERDICT),
    "gate: refuse": (0.9, VERDICT),
    "gate: decide_on": ("lower_bound", VERDICT),
    "gate: strict": (True, VERDICT),
    "gate: on_failure": ("fallback", VERDICT),
    "device": ("auto", SCORES + GATE + SCORES + jobs("write_results") + TRAINING),
    "shards": (2, EVERYTHING + jobs("translate_frames translate_frames") + SCORES + SCORES + TRAINING),
    "shard_megabases": (1e-3, {}),  # changes the shards with `shards: auto`
    "reference_run": (".", {}),  # is for `compare`
    "training: trained_pack": ("models/mine", TRAINING),
    "training: split_by": ("sequence_id", TRAINING),
    "training: train_on": ("annotated", TRAINING + jobs("list_proteins list_proteins")),
    "training: frames": ("whole", TRAINING + jobs("embed_dnabert_s embed_esm2 embed_dnabert_s embed_esm2")),
    "training: hidden": (8, TRAINING),
    "training: batch": (16, TRAINING),
    "training: learning_rate": (0.001, TRAINING),
    "training: epochs": (3, TRAINING),
    "training: patience": (3, TRAINING),
    "training: seed": (1, TRAINING),
}

# Each of the others: another value, which plans nothing.
UNCHANGED = {
    "samples": "copy.tsv",
    "catalogue": str(REPOSITORY / "config" / "models.yaml"),
    "published_files": "by_hand",
    "check_models_at_start": True,
    "keep": "all",
    "max_runtime": 100,
    "container": "containers/other.sif",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reruns")
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    coli = next(read_fasta(EXAMPLE / "escherichia_coli.fasta")).sequence
    for sample, offset in (("fast", 0), ("slow", 20000)):
        pieces = {
            f"{name}_{i}": text[offset + i * 900 :][:900]
            for name, text in (("phage", phage), ("coli", coli))
            for i in range(8)
        }
        write_fasta(folder / f"{sample}.fa", pieces)
    splits = ("train", "train", "validation", "test")
    rows = [
        f"{name}_{i}\t{label}\t{splits[i % 4]}"
        for name, label in (("phage", "virus"), ("coli", "others"))
        for i in range(8)
    ]
    (folder / "labels.tsv").write_text("\n".join(["sequence_id\tlabel\tsplit", *rows]) + "\n")
    sheet = "sample\tfasta\tattention\tlabels\nfast\tfast.fa\t\tlabels.tsv\nslow\tslow.fa\tstandard\tlabels.tsv\n"
    for name in ("samples.tsv", "copy.tsv"):
        (folder / name).write_text(sheet)
    for pack in ("mine", "other"):
        shutil.copytree(REPOSITORY / "resources" / "models" / "lite", folder / pack)
    (folder / "by_hand").mkdir()
    snakemake(folder, "all", "train", **FINISHED)
    return folder


def changed(setting: str, value: object) -> dict:
    """The settings of the finished run, but for one."""
    *section, name = setting.split(": ")
    return FINISHED | ({section[0]: FINISHED.get(section[0], {}) | {name: value}} if section else {name: value})


def plan(folder: Path, settings: dict, *options: str) -> dict[str, int]:
    """The jobs; `summarize`, one job over all samples, follows whenever results are written, and is left out."""
    planned = planned_jobs(snakemake(folder, "-n", *options, "all", "train", **settings))
    assert planned.pop("summarize", 0) == int("write_results" in planned)
    return {rule: number for rule, number in planned.items() if rule != "train"}


def test_every_setting_says_whether_it_changes_results() -> None:
    settings = {": ".join(keys): setting["x-changes-results"] for keys, setting in leaves(SCHEMA)}
    assert settings == dict.fromkeys(CHANGED, True) | dict.fromkeys(UNCHANGED, False)


@pytest.mark.long
def test_a_finished_run_plans_nothing(folder: Path) -> None:
    assert plan(folder, FINISHED) == {}


@pytest.mark.long
@pytest.mark.parametrize("setting", CHANGED)
def test_what_changes_results_plans_what_depends_on_it(setting: str, folder: Path) -> None:
    value, expected = CHANGED[setting]
    assert plan(folder, changed(setting, value)) == expected


@pytest.mark.long
@pytest.mark.parametrize("setting", UNCHANGED)
def test_what_changes_no_result_plans_nothing(setting: str, folder: Path) -> None:
    assert plan(folder, changed(setting, UNCHANGED[setting])) == {}


@pytest.fixture(scope="module")
def checkout(folder: Path) -> Path:
    """The workflow at another place than that with which the run was made."""
    checkout = folder / "checkout"
    for name in ("workflow", "config", "envs"):
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "CITATION.cff"):
        shutil.copy(REPOSITORY / name, checkout)
    return checkout


# Edits of the workflow's code: the file, a text in it and what is put in its place, and the jobs that are then needed.
EDITS = {
    "no edit": ("encoders/esm2.py", "", "", {}),
    "a comment": ("cli.py", "import argparse\n", "import argparse  # options of programs\n", {}),
    "a docstring": ("encoders/esm2.py", '"""ESM-2 (Lin et al.', '"""ESM-2 (by Lin et al.', {}),
    "a number of the encoder": (
        "encoders/esm2.py", "LAYER_NORM_EPS = 1e-5", "LAYER_NORM_EPS = 1e-6",
        SCORES + GATE + SCORES + jobs("write_results") + TRAINING,
    ),
    "a number of the calls": (
        "scoring/calls.py", "2 * viral_chunks", "3 * viral_chunks",
        jobs("compare_attention write_results") + VERDICT + TRAINING,
    ),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("edit", EDITS)
def test_edited_code_plans_what_it_changes_and_nothing_else(edit: str, checkout: Path, folder: Path) -> None:
    name, old, new, expected = EDITS[edit]
    file = checkout / "workflow" / "scripts" / "virnucflow" / name
    text = file.read_text()
    assert old in text
    try:
        file.write_text(text.replace(old, new))
        assert plan(folder, FINISHED, "--snakefile", str(checkout / "Snakefile")) == expected
    finally:
        file.write_text(text)
