"""The workflow gives the same wherever it lies and works, by itself and as a module of another workflow."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers import EXAMPLE, REPOSITORY, put_apptainer, reproducible, tree, write_fasta

from virnucflow import __version__
from virnucflow.sequences.fasta import read_fasta

pytestmark = pytest.mark.long

SETTINGS = {"samples": "sam ples.tsv", "device": "cpu", "shards": 1, "model_pack": "my models/a pack"}
SETTINGS |= {"gate": {"frames": 20, "on_failure": "fallback"}}

SPLIT = "work/a/sequences.parquet"

MODULE = """
configfile: "mine.yaml"

module virnucflow:
    snakefile: {snakefile!r}
    config: config["virnucflow"]
    {prefix}

use rule * from virnucflow as virnucflow_*

rule mine:
    default_target: True
    input:
        rules.virnucflow_all.input,
    output:
        "summary.txt",
    shell:
        "cat {{input:q}} > {{output:q}}"
"""


def prepare(folder: Path, pack: Path) -> Path:
    """A working directory with blanks in every name."""
    shutil.copytree(pack, folder / "my models" / "a pack")
    (folder / "in put").mkdir()
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    write_fasta(folder / "in put" / "my reads.fa", {f"phage_{i}": phage[i * 2000 : i * 2000 + 900] for i in range(6)})
    (folder / "in put" / "my labels.tsv").write_text("sequence_id\tlabel\nphage_1\tvirus\n")
    row = "a\tin put/my reads.fa\tin put/my labels.tsv"
    (folder / "sam ples.tsv").write_text(f"sample\tfasta\tlabels\n{row}\n")
    return folder


def run(*arguments: str | Path, cwd: Path) -> str:
    """What `snakemake` said, started in a directory."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--show-failed-logs", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workflow in a folder with blanks."""
    folder = tmp_path_factory.mktemp("places") / "work flows" / "vir nuc flow"
    for name in ("workflow", "config", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "CITATION.cff", ".gitattributes", ".git_archival.txt"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="module")
def expected(workflow: Path, tmp_path_factory: pytest.TempPathFactory, pack_directory: Path) -> dict[str, bytes]:
    """The results of a run with --directory, started in the workflow's own folder."""
    folder = prepare(tmp_path_factory.mktemp("by itself"), pack_directory)
    (folder / "config").mkdir()
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    before = set(tree(workflow))
    assert "  results/a/\n" in run("--directory", folder, cwd=workflow)
    assert {name for name in set(tree(workflow)) - before if "__pycache__" not in name} == set()
    assert "Nothing to be done" in run("-n", "--directory", folder, cwd=workflow)
    return reproducible(folder / "results")


def test_by_itself(expected: dict[str, bytes]) -> None:
    names = ("a.sequences.tsv", "a.viral.fasta", "divergence/a.divergence.json", "a.run.json")
    assert set(expected) >= {f"a/{name}" for name in names}
    assert len(expected["a/a.sequences.tsv"].splitlines()) == 7


@pytest.mark.parametrize("prefix", ["", "part of mine"])
def test_as_a_module(
    prefix: str, workflow: Path, expected: dict[str, bytes], tmp_path: Path, pack_directory: Path
) -> None:
    """Below the working directory, as a checkout would lie; a prefix is for what is made, not for what is given."""
    folder = prepare(tmp_path, pack_directory)
    shutil.copytree(workflow, folder / "work flows" / "vir nuc flow")
    statement = f"prefix: {prefix!r}" if prefix else ""
    text = MODULE.format(snakefile="work flows/vir nuc flow/Snakefile", prefix=statement)
    (folder / "Snakefile").write_text(text)
    (folder / "mine.yaml").write_text(yaml.safe_dump({"virnucflow": SETTINGS}))
    run(cwd=folder)
    assert reproducible(folder / prefix / "results") == expected
    assert expected["a/a.sequences.tsv"] in (folder / "summary.txt").read_bytes()
    assert "Nothing to be done" in run("-n", cwd=folder)
    if prefix:
        assert not {"work", "results", "logs"} & {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def repository(workflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit of the workflow, `v1`, and no file besides."""
    folder = tmp_path_factory.mktemp("github") / "me" / "virnucflow"
    shutil.copytree(workflow, folder)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
    git(folder, "tag", "v1")
    git(folder, "rm", "--quiet", "-r", ".")
    assert [path.name for path in folder.iterdir()] == [".git"]
    return folder


def git(repository: Path, *arguments: str) -> str:
    """What git said."""
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", *arguments]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


def assert_results_of_commit(folder: Path, repository: Path, expected: dict[str, bytes]) -> None:
    """The results are those that are expected, and say the commit, whose files alone are unpacked."""
    commit, results = git(repository, "rev-parse", "HEAD"), reproducible(folder / "results")
    made = json.loads(results["a/a.run.json"])
    assert made["workflow"]["commit"] == commit and made["workflow"]["changed"] is False
    differing = {"a/a.run.json", "report.html"}  # which both name the commit
    assert {name: results[name] for name in set(results) - differing} == {
        name: expected[name] for name in set(expected) - differing
    }
    assert "Nothing to be done" in run("-n", cwd=folder)
    assert [path.name for path in (folder / ".snakemake" / "virnucflow").iterdir()] == [commit]


@pytest.fixture
def of_git(repository: Path, tmp_path: Path, pack_directory: Path) -> Path:
    """A working directory with a module of a git source, so that no file of the workflow is in a folder."""
    source = f"git+file://{repository}/workflow/Snakefile@v1"
    (prepare(tmp_path, pack_directory) / "Snakefile").write_text(MODULE.format(snakefile=source, prefix=""))
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"virnucflow": SETTINGS}))
    return tmp_path


def test_as_a_module_of_a_git_source(of_git: Path, repository: Path, expected: dict[str, bytes]) -> None:
    run(cwd=of_git)
    assert_results_of_commit(of_git, repository, expected)


def test_as_a_module_of_a_git_source_in_a_container(
    of_git: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for Apptainer: the image is found from the working directory, and programs are below it."""
    put_apptainer(of_git / "bin")
    monkeypatch.setenv("PATH", f"{of_git}/bin", prepend=os.pathsep)
    monkeypatch.delenv("APPTAINER_BIND", raising=False)
    (of_git / "containers").mkdir()
    (of_git / "containers" / f"virnucflow-{__version__}.sif").touch()
    run(SPLIT, "--sdm", "apptainer", cwd=of_git)
    bound, _, arguments = (of_git / "apptainer.log").read_text().partition(" exec ")
    assert bound == "", "the working directory has all"
    programs = f".snakemake/virnucflow/{git(repository, 'rev-parse', 'HEAD')}/workflow/scripts"
    assert f" containers/virnucflow-{__version__}.sif bash -c " in arguments
    assert f" python {programs}/split_fasta.py " in arguments and (of_git / SPLIT).exists()


# As snakedeploy 0.17 writes it to DIR/workflow/Snakefile; it copies config/ and profiles/ of the repository to DIR.
DEPLOYED = """
from snakemake.utils import min_version


min_version("6.10.0")


configfile: "config/config.yaml"


# declare https://github.com/me/virnucflow as a module
module virnucflow:
    snakefile: 
        github("me/virnucflow", path="workflow/Snakefile", tag="v1")
    config:
        config


# use all rules from https://github.com/me/virnucflow
use rule * from virnucflow
"""


def test_as_snakedeploy_writes_it(
    repository: Path, expected: dict[str, bytes], tmp_path: Path, pack_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a repository here, where Snakemake asks for one of the forge."""
    (tmp_path / "gitconfig").write_text(f'[url "file://{repository.parents[1]}/"]\ninsteadOf = https://github.com/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", f"{tmp_path}/gitconfig")
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/cache")  # where Snakemake keeps its copy
    folder = tmp_path / "deployed"
    for name in ("config", "profiles"):
        shutil.copytree(REPOSITORY / name, folder / name)
    (folder / "workflow").mkdir()
    (folder / "workflow" / "Snakefile").write_text(DEPLOYED)
    (prepare(folder, pack_directory) / "config" / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    assert "write_results" in run("-n", "--profile", "profiles/local", cwd=folder)
    run("--profile", "profiles/local", cwd=folder)
    assert_results_of_commit(folder, repository, expected)
