"""The gate in the workflow: what it plans, what it publishes, what it holds back, and the way out by standard."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers import REPOSITORY, planned_jobs, run_program, snakemake, tree, write_fasta

from virnucflow.files.json_files import write_json
from virnucflow.files.result_files import (
    CHUNKS_TSV,
    COMPARISON_JSON,
    COMPARISON_TSV,
    DIVERGENCE_JSON,
    DIVERGENCE_SVG,
    DIVERGENCE_TSV,
    FASTA,
    GATE_JSON,
    HIGHESTSCORE_CSV,
    PREDICTIONS_TXT,
    RUN_JSON,
    SEQUENCES_TSV,
    result_of,
)

pytestmark = pytest.mark.long

GATE = 300  # frames
EMBEDDINGS = {
    "dnabert-s": "embeddings/dnabert_s-untrained-flash-auto",
    "esm2": "embeddings/esm2-untrained-flash-auto",
}
EVIDENCE = (DIVERGENCE_JSON, GATE_JSON, DIVERGENCE_TSV, DIVERGENCE_SVG)
TABLES = (PREDICTIONS_TXT, HIGHESTSCORE_CSV, SEQUENCES_TSV, CHUNKS_TSV, FASTA["viral"])


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """The workflow with a fault in its fast path: the wrong residues go into ESM-2's mean."""
    workflow = tmp_path / "faulty"
    for name in ("Snakefile", "CITATION.cff", "config", "workflow", "envs"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _made(workflow) / name)
    program = workflow / "workflow" / "scripts" / "virnucflow" / "encoders" / "esm2.py"
    text = program.read_text()
    assert "hidden[:, 1:-1].mean(1, dtype=torch.float32)" in text
    program.write_text(text.replace("hidden[:, 1:-1].mean(1", "-hidden[:, :1].mean(1"))
    return workflow / "Snakefile"


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_gate_is_planned_for_fast_samples_alone(prepared: Path) -> None:
    planned = planned_jobs(snakemake(prepared, "-n", shards=3, gate={"frames": GATE}))
    gate = ("sample_frames", "compare_attention", "divergence_gate")
    assert [planned[rule] for rule in gate] == [1, 1, 1]
    assert (planned["embed_esm2"], planned["embed_esm2_sampled"]) == (3 + 3, 1)
    assert "divergence_gate" not in planned_jobs(snakemake(prepared, "-n", shards=3, attention="standard"))
    validation = planned_jobs(snakemake(prepared, "validate", "-n", shards=3, gate={"frames": GATE}))
    assert validation["divergence_gate"] == 1 and "write_results" not in validation
    said = snakemake(prepared, "validate", "-n", attention="standard", gate={"frames": GATE}, code=1)
    assert "nothing to compare; set attention: flash" in said


def test_accepted_run_publishes_its_evidence(copy: Path) -> None:
    (copy / "labels.tsv").write_text("sequence_id\tlabel\nlambda_3\tvirus\nlambda_14\tvirus\ncoli_1\tothers\n")
    sheet = (copy / "samples.tsv").read_text().splitlines()
    rows = [line + ("\tlabels.tsv" if line.startswith("mixed") else "\t") for line in sheet[1:]]
    (copy / "samples.tsv").write_text("\n".join([sheet[0] + "\tlabels", *rows]) + "\n")
    before = tree(copy / "results" / "mixed")
    snakemake(copy, shards=3, gate={"frames": GATE})
    results = copy / "results" / "mixed"
    found, gate = (json.loads(result_of(results, name).read_text()) for name in EVIDENCE[:2])
    assert gate["decision"] == "accept" and found["whole"] and found["frames"] == found["run_frames"] == 57
    assert [found[path][0]["esm2"]["kernel"] for path in ("fast", "reference")] == ["sdpa", "fair-esm"]
    assert found["truth"]["frames"] > 5 and found["truth"]["fast"] == found["truth"]["reference"]
    scored = pd.read_csv(results / "mixed.chunks.tsv", sep="\t").query("frames > 0")["sequence_id"]
    labelled = scored.isin(["lambda_3", "lambda_14", "coli_1"]).sum()
    assert sum(row["number"] for row in found["truth"]["reliability"]) == labelled > 2
    assert len(result_of(results, DIVERGENCE_TSV).read_text().splitlines()) == 58
    assert "<svg" in result_of(results, DIVERGENCE_SVG).read_text()
    after = tree(results)
    tables = [name.format(sample="mixed") for name in TABLES]
    assert all(after[name] == before[name] for name in tables), "the gate changes no table"
    decided = json.loads(after["mixed.run.json"])["divergence"]
    assert (decided["decision"], decided["frames"], decided["seed"]) == ("accept", 57, 0)
    assert decided["frame_agreement"] == found["frame_agreement"]
    assert decided["thresholds"] == {"accept": 0.99, "refuse": 0.95, "decide_on": "estimate"}
    assert planned_jobs(snakemake(copy, "-n", shards=3, gate={"frames": GATE})) == {}
    # Nobody but predict needs the features, which are gone: what is done later computes no frame again.
    assert not list((copy / "work").glob("*/features/*/*"))
    later = {"reference_run": str(copy), "training": {"split_by": "sequence_id"}}
    planned = planned_jobs(snakemake(copy, "-n", "compare", "train", shards=3, gate={"frames": GATE}, **later))
    assert planned == dict.fromkeys(["compare", "compare_runs", "train", "train_classifier"], 1)
    whole = after["divergence/mixed.divergence.tsv"]
    snakemake(copy, "results/mixed/divergence/mixed.divergence.json", shards=1, gate={"frames": GATE})
    rows = [line.split(b"\t")[0] for line in whole.splitlines()]
    one_shard = result_of(results, DIVERGENCE_TSV).read_bytes()
    assert [line.split(b"\t")[0] for line in one_shard.splitlines()] == rows


def test_refused_run_publishes_nothing(prepared: Path, faulty: Path) -> None:
    said = snakemake(prepared, "--snakefile", str(faulty), shards=3, gate={"frames": GATE}, code=1)
    assert "divergence_gate.py: error: results/mixed/divergence/mixed.divergence.json: labels of " in said
    assert "nothing is published, and what an earlier run published stays. Set attention: standard" in said
    evidence = tree(prepared / "results" / "mixed")
    assert evidence.keys() == {f"divergence/mixed.divergence.{form}" for form in ("json", "tsv", "svg")}
    assert json.loads(evidence["divergence/mixed.divergence.json"])["frame_agreement"]["estimate"] < 0.95


def test_fallback_publishes_what_standard_gives(prepared: Path, faulty: Path, copy: Path) -> None:
    for folder in (prepared, copy):  # a pack that the fault had no part in
        shutil.copytree(copy / "models" / "untrained", folder / "mine")
    fallback = {"model_pack": "mine", "gate": {"frames": GATE, "on_failure": "fallback"}}
    said = snakemake(prepared, "--snakefile", str(faulty), shards=3, **fallback)
    assert "  results/mixed/\n" in said and "published are those of attention standard\n" in said
    snakemake(copy, shards=3, model_pack="mine", attention="standard")
    for table in TABLES:
        published, standard = (result_of(folder / "results" / "mixed", table) for folder in (prepared, copy))
        assert published.read_bytes() == standard.read_bytes(), table
    run = json.loads((prepared / "results" / "mixed" / "mixed.run.json").read_text())
    assert (run["attention"], run["divergence"]["decision"]) == ("standard", "refuse")


def test_validate_is_noted_in_what_is_published(copy: Path) -> None:
    snakemake(copy, shards=3, gate={"frames": GATE})
    gate = {"decision": "validate", "attention": "flash", "message": "labels of 97.00% of the frames agree"}
    write_json(gate, copy / "gate.json")
    scores = sorted((copy / "work" / "mixed" / "scores" / "flash").glob("0*.parquet"))
    outputs = [copy / name for name in ("p", "c", "s", "viral.fasta", "run.json")]
    names = ("predictions", "consensus", "summary", "viral-fasta", "provenance")
    options = [word for pair in zip((f"--{name}" for name in names), outputs, strict=True) for word in pair]
    inputs = ["--sequences", copy / "work" / "mixed" / "sequences.parquet"]
    inputs += ["--fasta", copy / "phage.fa", copy / "coli.fa.gz", "--gate", copy / "gate.json"]
    said = run_program("write_results", "--scores", *scores, *inputs, *options)
    assert "the fast path needs validation: labels of 97.00%" in said
    headers = [line for line in (copy / "viral.fasta").read_text().splitlines() if line[0] == ">"]
    assert headers and all(header.endswith("divergence=validate") for header in headers)
    assert json.loads((copy / "run.json").read_text())["divergence"] == gate


def test_fp8_needs_the_gate(prepared: Path) -> None:
    said = snakemake(prepared, "-n", precision={"flash": "fp8"}, code=1)
    assert "precision: flash: fp8 is for runs with the gate" in said
    plan = snakemake(prepared, "-n", "-p", precision={"flash": "fp8"}, gate={"frames": GATE})
    assert "embed_dnabert_s.py --frames work/mixed/frames/00001.parquet" in plan
    for line in plan.splitlines():
        if "python" in line and "--attention flash" in line:
            assert ("--precision fp8" in line) == ("embed_esm2.py" in line)
        elif "sampled.parquet" in line and "embed_" in line:
            assert "--attention standard" in line and "--precision fp32" in line


def test_two_runs_of_other_settings_are_compared(copy: Path) -> None:
    """bf16 against fp32, in other shards."""
    other = copy / "other"
    other.mkdir()
    for name in ("phage.fa", "coli.fa.gz", "v1.fa", "samples.tsv"):
        shutil.copy(copy / name, other / name)
    bf16 = {"precision": {"flash": "bf16"}, "model_pack": str(copy / "models" / "untrained")}
    said = snakemake(other, "compare", shards=2, gate={"frames": 20}, code=1, **bf16)
    assert "reference_run: not set; give the working directory" in said
    for kind in (*EMBEDDINGS.values(), "scores/flash"):  # of an earlier cut
        shard = next((copy / "work" / "mixed" / kind).glob("00003.*"))
        shutil.copy(shard, shard.with_stem("00004"))
    snakemake(other, "compare", shards=2, gate={"frames": 20}, reference_run=str(copy), **bf16)
    results = other / "results" / "mixed"
    found = json.loads(result_of(results, COMPARISON_JSON).read_text())
    assert [found[path][0]["esm2"]["precision"] for path in ("fast", "reference")] == ["bf16", "fp32"]
    assert found["run_frames"] == 57 and 9 <= found["frames"] <= 25 and not found["whole"]
    assert 1e-7 < 1 - found["embeddings"]["esm2"]["least_cosine"] < 1e-2
    assert len(result_of(results, COMPARISON_TSV).read_text().splitlines()) == found["frames"] + 1
    assert not result_of(results, SEQUENCES_TSV).exists()


def test_frames_of_another_run_are_refused(copy: Path) -> None:
    snakemake(copy, shards=3, gate={"frames": GATE})
    work = copy / "work" / "mixed"
    folders = EMBEDDINGS | {"scores": "scores/flash"}
    files = {kind: sorted((work / folder).glob("0*")) for kind, folder in folders.items()}
    compare = ["--sample", work / "divergence" / "sample.parquet", "--sequences", work / "sequences.parquet"]
    compare += ["--model", copy / "models" / "untrained"]
    for kind, shards in files.items():
        compare += [f"--fast-{kind}", *shards[:2], f"--reference-{kind}", *shards]
    outputs = ("divergence", "compared-frames", "figures")
    compare += [word for name in outputs for word in (f"--{name}", copy / name)]
    assert "give each shard of one run" in run_program("compare_attention", *compare, code=2)


def test_settings_that_let_something_pass_unchecked_are_refused(prepared: Path) -> None:
    for wrong, message in (
        ({"gate": {"accept": 0.9}}, "refuse is above accept"),
        ({"gate": {"on_failure": "fallback"}, "precision": {"standard_allows": ["tf32"]}}, "standard unchecked"),
    ):
        assert message in snakemake(prepared, "-n", code=1, **wrong)


def test_sample_without_a_frame_has_nothing_to_compare(tmp_path: Path) -> None:
    """No agreement is made up, here or in the figure; the results, which say so, are published."""
    write_fasta(tmp_path / "stops.fa", {"a": "TTAA" * 100})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\nstops\tstops.fa\n")
    said = snakemake(tmp_path, gate={"frames": GATE, "strict": True})
    assert "100.00" not in said
    results = tmp_path / "results" / "stops"
    found, gate, run = (json.loads(result_of(results, name).read_text()) for name in (*EVIDENCE[:2], RUN_JSON))
    assert (gate["decision"], found["frames"], found["run_frames"]) == ("nothing to compare", 0, 0)
    assert found["frame_agreement"]["estimate"] is found["embeddings"]["esm2"]["least_cosine"] is None
    assert gate["message"] == run["divergence"]["message"]
    figure = result_of(results, DIVERGENCE_SVG).read_text()
    assert "nothing to compare" in figure and "100.00" not in figure
    assert result_of(results, SEQUENCES_TSV).read_text().splitlines()[1].split("\t")[7:11] == ["no_frame", "0", "", ""]
    assert run["counts"]["frames"] == 0 and run["counts"]["status"]["no_frame"] == 1
