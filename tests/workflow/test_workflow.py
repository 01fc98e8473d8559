"""The workflow as a whole: nothing is lost, and what is computed again is what depends on the change."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers import ODD, REPOSITORY, planned_jobs, rehash, scores, snakemake, tree, write_fasta

from planning.settings import leaves
from virnucflow import __version__
from virnucflow.sequences.fasta import read_fasta

EMBED = ["embed_dnabert_s", "embed_esm2"]
AFTER_EMBED = [*EMBED, "concat_features", "predict"]
WITH_PACK = {"shards": 3, "model_pack": "mine"}  # a pack that no rule builds


def test_no_sequence_is_lost(base: Path) -> None:
    table = pd.read_csv(base / "results" / "mixed" / "mixed.sequences.tsv", sep="\t", keep_default_na=False).set_index(
        "sequence_id"
    )
    assert list(table.index) == [*(f"lambda_{i}" for i in range(15)), *ODD, "coli_1", "coli_2"]
    assert table.loc["empty", ["status", "call", "chunks", "best_score"]].to_list() == ["empty", "", 0, ""]
    assert table.loc["stops", ["status", "call", "chunks"]].to_list() == ["no_frame", "", 1]
    assert table.loc["short", "status"] == "no_frame"
    assert table.loc[["aF1", "x_chunk_1", "coli_1"], "status"].to_list() == ["ok", "ok", "partly"]
    assert set(table["call"]) == {"virus", "others", ""}, "the test's sequences show too little"
    chunks = pd.read_csv(base / "results" / "mixed" / "mixed.chunks.tsv", sep="\t", keep_default_na=False)
    assert chunks.groupby("sequence_id").size().to_dict() == {k: v for k, v in table["chunks"].items() if v}
    assert chunks["frames"].sum() == table["frames"].sum() == len(scores(base))
    viral = [record.name for record in read_fasta(base / "results" / "mixed" / "mixed.viral.fasta")]
    assert viral == list(table.index[table["call"] == "virus"])


def test_both_attentions_run_from_one_set_of_rules(base: Path) -> None:
    for sample, attention, kernels in (
        ("mixed", "flash", ["sdpa", "sdpa"]),
        ("v1", "standard", ["softmax", "fair-esm"]),
    ):
        run = json.loads((base / "results" / sample / f"{sample}.run.json").read_text())
        assert (run["model"], run["trained"], run["attention"]) == ("untrained", False, attention)
        assert [run[encoder][0]["kernel"] for encoder in ("dnabert_s", "esm2")] == kernels


def test_run_json_says_what_made_the_results(base: Path) -> None:
    """Of the sample `mixed`: two files, one of them compressed; by Snakemake's notes when its first job began."""
    run = json.loads((base / "results" / "mixed" / "mixed.run.json").read_text())
    expected = []
    for name in ("phage.fa", "coli.fa.gz"):
        content = (base / name).read_bytes()
        expected.append({"path": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})
    assert run["sample"] == "mixed" and run["inputs"] == expected
    assert (run["settings"]["chunk_length"], run["settings"]["precision"]) == (500, {"flash": "auto"})
    assert {"min_residues", "rna", "duplicate_ids", "attention_kernel"} <= run["settings"].keys()
    assert "gate" not in run["settings"], "there is no gate"
    pack = json.loads((base / "models" / "untrained" / "pack.json").read_text())["sha256"]
    assert run["pack_sha256"] == {name: hash for name, hash in pack.items() if name != "reference.safetensors"}
    table = pd.read_csv(base / "results" / "mixed" / "mixed.sequences.tsv", sep="\t", keep_default_na=False)
    counts = run["counts"]
    assert (counts["sequences"], counts["chunks"], counts["frames"]) == (
        len(table), table["chunks"].sum(), table["frames"].sum()
    )  # fmt: skip
    assert counts["virus"] == (table["call"] == "virus").sum()
    assert {k: v for k, v in counts["status"].items() if v} == table["status"].value_counts().to_dict()
    assert run["versions"]["snakemake"] == version("snakemake") and run["container"] is None
    split = datetime.fromtimestamp((base / "work" / "mixed" / "sequences.parquet").stat().st_mtime, UTC)
    written = datetime.fromtimestamp((base / "results" / "mixed" / "mixed.run.json").stat().st_mtime, UTC)
    began, ended = (datetime.fromisoformat(run[key]) for key in ("started", "ended"))
    assert timedelta(0) <= split - began < timedelta(minutes=5)
    assert timedelta(0) <= written - ended < timedelta(minutes=1)


def test_device_minutes_are_those_of_all_embeddings(base: Path) -> None:
    run = json.loads((base / "results" / "mixed" / "mixed.run.json").read_text())
    for encoder in ("dnabert_s", "esm2"):
        embeddings = list((base / "work" / "mixed" / "embeddings").glob(f"{encoder}-*/*.safetensors"))
        assert len(embeddings) == 3
        times = [json.loads(path.with_suffix(".device_time.json").read_text()) for path in embeddings]
        assert {time["encoder"] for time in times} == {encoder}
        assert run["device_minutes"][encoder] == round(sum(time["seconds"] for time in times) / 60, 3)
    table = pd.read_csv(base / "results" / "summary.tsv", sep="\t").set_index("sample")
    assert table.loc["mixed", "device_minutes"] == pytest.approx(sum(run["device_minutes"].values()))


def names(settings: dict) -> set[str]:
    """Each setting with the section that it is in."""
    sections = {name: value for name, value in settings.items() if isinstance(value, dict)}
    return settings.keys() - sections.keys() | {
        f"{section}: {name}" for section in sections for name in sections[section]
    }


def test_every_setting_that_changes_results_is_noted(prepared: Path) -> None:
    """Those that the schema marks so, in the run.json of a gated or of a standard sample."""
    plan = snakemake(prepared, "-n", "-p", gate={"frames": 300})
    commands = [shlex.split(line) for line in plan.splitlines() if "write_results.py" in line]
    settings = [json.loads(words[words.index("--settings") + 1]) for words in commands]
    flash, standard = sorted(settings, key=lambda one: one["attention"])
    schema = yaml.safe_load((REPOSITORY / "workflow" / "schemas" / "config.schema.yaml").read_text())
    change = {": ".join(keys) for keys, setting in leaves(schema) if setting["x-changes-results"]}
    # Under other keys, in the number of shards, for another target.
    elsewhere = {"model_pack", "rna", "subsample: reads", "subsample: seed", "shard_megabases", "reference_run"}
    of_flash, of_standard = names(flash), names(standard)
    assert of_flash | of_standard == {name for name in change if not name.startswith("training: ")} - elsewhere
    assert of_flash - of_standard == {"attention_kernel", "precision: flash"} | {
        f"gate: {key}" for key in flash["gate"]
    }
    assert (flash["precision"], standard["precision"]) == (
        {"flash": "auto"},
        {"standard": "fp32", "standard_allows": []},
    )


@pytest.mark.long
def test_a_commit_is_noted_and_no_reason_to_compute_again(tmp_path: Path, pack_directory: Path) -> None:
    checkout, folder = tmp_path / "checkout", tmp_path / "run"
    for name in ("workflow", "config", "envs"):
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "CITATION.cff"):
        shutil.copy(REPOSITORY / name, checkout)
    (checkout / ".gitignore").write_text("__pycache__\n")

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        return subprocess.run(
            ["git", *who, *arguments], cwd=checkout, check=True, capture_output=True, text=True
        ).stdout

    def again(*options: str) -> str:
        return snakemake(folder, "--snakefile", str(checkout / "Snakefile"), *options, model_pack=str(pack_directory))

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "one")
    first = git("rev-parse", "HEAD").strip()
    folder.mkdir()
    write_fasta(folder / "a.fa", {"a": "GCCGCAGCTGCG" * 10})
    (folder / "samples.tsv").write_text("sample\tfasta\na\ta.fa\n")
    again()
    made = json.loads((folder / "results" / "a" / "a.run.json").read_text())
    assert made["workflow"] == {"version": __version__, "commit": first, "changed": False}
    (checkout / "config" / "README.md").write_text("Another manual\n")
    git("commit", "--quiet", "--all", "--message", "two")
    assert planned_jobs(again("-n")) == {}
    (checkout / "config" / "README.md").write_text("An edited manual\n")
    assert planned_jobs(again("-n")) == {}
    again("--forcerun", "write_results")
    anew = json.loads((folder / "results" / "a" / "a.run.json").read_text())
    assert anew["workflow"] == {"version": __version__, "commit": git("rev-parse", "HEAD").strip(), "changed": True}
    assert anew["started"] == made["started"]
    different = {key for key in made if made[key] != anew[key]}
    assert different <= {"workflow", "ended"}


def test_running_again_does_nothing(copy: Path) -> None:
    # A copy elsewhere: paths below the working directory are relative.
    assert planned_jobs(snakemake(copy, "-n", shards=3)) == {}


def reruns(folder: Path, **config: object) -> dict[str, int]:
    return planned_jobs(snakemake(folder, "-n", **{"shards": 3} | config))


def test_a_setting_reruns_exactly_what_depends_on_it(copy: Path) -> None:
    everything = {
        "split_fasta": 2,
        "translate_frames": 6,
        **dict.fromkeys(AFTER_EMBED, 6),
        "write_results": 2,
        "summarize": 1,
    }
    assert reruns(copy, duplicate_ids="rename") == everything
    assert reruns(copy, chunk_length=300) == everything | {"build_untrained_pack": 1}
    fewer = {rule: 2 if count == 6 else count for rule, count in everything.items()}
    assert reruns(copy, shards=1) == fewer
    assert reruns(copy, min_residues=0) == {"write_results": 2, "summarize": 1}
    flash_only = {**dict.fromkeys(AFTER_EMBED, 3), "write_results": 1, "summarize": 1}
    assert reruns(copy, precision={"flash": "bf16"}) == flash_only
    assert reruns(copy, precision={"standard": "fp16"}) == flash_only
    # The other attention path of `mixed` has to be computed; `v1` has its own, which it would share with a batch.
    assert reruns(copy, attention="standard", shard_megabases=0.0001) == flash_only
    assert reruns(copy) == {}


@pytest.mark.long
def test_files_that_are_asked_for_are_there_and_no_others(copy: Path) -> None:
    """Of two settings one after the other: what the second does not ask for does not stay."""
    for names in (["others", "unscored"], ["unscored"], []):
        snakemake(copy, shards=3, also_write=names)
        for sample in ("mixed", "v1"):
            written = {path.name for path in (copy / "results" / sample).glob("*.gz")}
            assert written == {f"{sample}.{name}.fasta.gz" for name in names}


@pytest.mark.long
def test_changed_input_is_computed_again(copy: Path) -> None:
    write_fasta(copy / "v1.fa", {"v1": "GCCGCAGCTGCG" * 50})
    one_sample = {
        "split_fasta": 1,
        "translate_frames": 3,
        **dict.fromkeys(AFTER_EMBED, 3),
        "write_results": 1,
        "summarize": 1,
    }
    assert reruns(copy) == one_sample
    snakemake(copy, shards=3)
    assert set(scores(copy, "v1")["Sequence_ID"].str[:4]) == {"v1_c"}
    assert (pd.read_csv(copy / "results" / "v1" / "v1.sequences.tsv", sep="\t")["length"] == 600).all()


def test_older_file_in_the_place_of_the_input_is_noticed(copy: Path) -> None:
    write_fasta(copy / "v1.fa", {"v1": "GCCGCAGCTGCG" * 50})
    os.utime(copy / "v1.fa", (1, 1))
    assert reruns(copy)["split_fasta"] == 1


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a pack that no rule builds."""
    folder = Path(shutil.copytree(base, tmp_path_factory.mktemp("whole") / "run", symlinks=True))
    shutil.copytree(folder / "models" / "untrained", folder / "mine")
    snakemake(folder, **WITH_PACK)
    return folder


@pytest.fixture
def packed(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "packed", symlinks=True))


def replace_weights(pack: Path, file: str) -> None:
    """Other weights in the place of a pack's, with the pack.json that belongs to them."""
    content = (pack / file).read_bytes()
    (pack / file).write_bytes(content + b"\n" if file.endswith(".json") else content[:-1] + bytes([content[-1] ^ 1]))
    rehash(pack)


@pytest.mark.long
def test_other_weights_rerun_their_encoder(packed: Path) -> None:
    for file, expected in (
        ("classifier.safetensors", {"concat_features": 6, "predict": 6, "write_results": 2, "summarize": 1}),
        ("esm2.safetensors", {"embed_esm2": 6, "concat_features": 6, "predict": 6, "write_results": 2, "summarize": 1}),
        (
            "tokenizer.json",
            {"embed_dnabert_s": 6, "concat_features": 6, "predict": 6, "write_results": 2, "summarize": 1},
        ),
    ):
        before = tree(packed / "mine")
        replace_weights(packed / "mine", file)
        for path in (packed / "mine").iterdir():
            os.utime(path, (1, 1))  # their time says nothing
        assert reruns(packed, **WITH_PACK) == expected, file
        for name, content in before.items():
            (packed / "mine" / name).write_bytes(content)
    assert reruns(packed, **WITH_PACK) == {}


@pytest.mark.long
def test_a_copied_pack_computes_nothing_again_and_a_renamed_one_no_embedding(packed: Path) -> None:
    shutil.copytree(packed / "mine", packed / "other")
    assert reruns(packed, shards=3, model_pack="other") == {}
    description = json.loads((packed / "other" / "pack.json").read_text())
    (packed / "other" / "pack.json").write_text(json.dumps(description | {"name": "other"}))
    expected = {"concat_features": 6, "predict": 6, "write_results": 2, "summarize": 1}
    assert reruns(packed, shards=3, model_pack="other") == expected
    snakemake(packed, shards=3, model_pack="other")
    assert json.loads((packed / "results" / "mixed" / "mixed.run.json").read_text())["model"] == "other"


@pytest.mark.long
def test_times_of_the_pack_rerun_nothing(packed: Path) -> None:
    for path in (packed / "mine").iterdir():
        path.touch()
    assert reruns(packed, **WITH_PACK) == {}


def test_a_copy_without_times_is_taken_over_with_touch(packed: Path) -> None:
    """As `cp -r` leaves it at worst: what was made first has the newest time, and no file is small.

    Snakemake compares the content of files below 1 MB alone, so here of none.
    """
    files = [path for path in packed.rglob("*") if path.is_file() and ".snakemake" not in path.parts]
    for age, path in enumerate(sorted(files, key=lambda path: path.stat().st_mtime)):
        os.utime(path, (1.6e9 - age, 1.6e9 - age))
    compared = ["--max-checksum-file-size", "1"]
    assert planned_jobs(snakemake(packed, "-n", *compared, **WITH_PACK)), "the copy's times show nothing"
    snakemake(packed, "--touch", *compared, **WITH_PACK)
    assert planned_jobs(snakemake(packed, "-n", *compared, **WITH_PACK)) == {}


@pytest.mark.long
@pytest.mark.parametrize(
    ("keep", "kinds"),
    [
        ("scores", {"frames", "scores", "embeddings"}),  # of these how long a device was held for them
        ("embeddings", {"frames", "scores", "embeddings"}),
        ("all", {"frames", "scores", "embeddings", "features", "chunks"}),
    ],
)
def test_keep_says_what_stays(keep: str, kinds: set[str], tmp_path: Path) -> None:
    """With another value nothing is computed again; what would go on from embeddings that are gone is refused."""
    write_fasta(tmp_path / "a.fa", {"a": "GCCGCAGCTGCG" * 40})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\ta.fa\n")
    settings = {"model_pack": "lite", "shards": 2}
    snakemake(tmp_path, keep=keep, **settings)
    assert {path.parts[0] for path in map(Path, tree(tmp_path / "work" / "a")) if len(path.parts) > 1} == kinds
    stays = list((tmp_path / "work" / "a" / "embeddings").rglob("*.safetensors"))
    assert len(stays) == (0 if keep == "scores" else 4)
    for other in ("scores", "embeddings", "all"):
        assert reruns(tmp_path, keep=other, **settings) == {}, other
    if keep == "scores":
        for target in ("train", "compare"):
            said = snakemake(tmp_path, "-n", target, keep=keep, **settings, code=1)
            assert f"keep: scores leaves no embeddings for {target}; give keep: embeddings" in said
    assert reruns(tmp_path, keep=keep, **settings, rna="keep")["split_fasta"] == 1


@pytest.mark.long
def test_no_frame_in_the_whole_file(tmp_path: Path) -> None:
    for name, records in (("stops", {"a": "TTAA" * 100, "b": ""}), ("nothing", {})):
        write_fasta(tmp_path / f"{name}.fa", records)
    (tmp_path / "samples.tsv").write_text("sample\tfasta\nstops\tstops.fa\nnothing\tnothing.fa\n")
    snakemake(tmp_path)
    assert "no frame without a stop codon" in (tmp_path / "logs" / "write_results" / "stops.log").read_text()
    results = tmp_path / "results"
    assert (results / "stops" / "prediction_results.txt").read_text() == "Sequence_ID\tPrediction\tscore1\tscore2\n"
    lines = (results / "stops" / "stops.sequences.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[7] for line in lines] == ["no_frame", "empty"]
    assert len((results / "nothing" / "nothing.sequences.tsv").read_text().splitlines()) == 1


def test_bad_input_stops_with_its_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.fa").write_text(">a\nACGT\n>b\nAC!GT\n")
    (tmp_path / "samples.tsv").write_text("sample\tfasta\nbad\tbad.fa\n")
    said = snakemake(tmp_path, code=1)
    assert "split_fasta.py: error: bad.fa, line 4: '!' is not a nucleotide" in said
    assert not (tmp_path / "results").exists()
    assert not list((tmp_path / "work").rglob("*.*"))


@pytest.mark.long
def test_duplicates_renamed(tmp_path: Path) -> None:
    (tmp_path / "d.fa").write_text(">d one\nGCCGCAGCTGCG\n>d two\nGCCGCAGCTGCGGCC\n")
    (tmp_path / "samples.tsv").write_text("sample\tfasta\nd\td.fa\n")
    snakemake(tmp_path, duplicate_ids="rename")
    lines = (tmp_path / "results" / "d" / "d.sequences.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[:2] for line in lines] == [["d", "12"], ["d_2", "15"]]
    assert "'d' is renamed to 'd_2'" in (tmp_path / "logs" / "split_fasta" / "d.log").read_text()


def test_paths_with_blanks(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    write_fasta(folder / "my reads.fa", {"a": "GCCGCAGCTGCG" * 10})
    (folder / "samples.tsv").write_text("sample\tfasta\na\tmy reads.fa\n")
    snakemake(folder)
    assert len(scores(folder, "a")) > 0
