"""What Snakemake was asked for, how a path is named, and what is printed of a refusal."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.io import IOFile
from snakemake.rules import Rule
from snakemake.settings.types import Quietness

from planning import host
from planning.closing import Failure
from planning.messages import PlanningError
from planning.sources import Needs


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("-n", Needs.CLASSIFIER), ("train", Needs.SAMPLES), ("--dag", Needs.CLASSIFIER),
        ("results/a/a.run.json", Needs.CLASSIFIER), ("results/my_train", Needs.CLASSIFIER),
        ("fetch_models --config model_pack=x", Needs.CATALOGUE), ("virnucflow_fetch_models", Needs.CATALOGUE),
        ("fetch_models all", Needs.CLASSIFIER), ("check_models -c 2", Needs.PACK), ("--report x.html", Needs.NOTHING),
        ("--unlock", Needs.NOTHING), ("-l", Needs.NOTHING), ("--no-such-option", Needs.CLASSIFIER),
    ],
)  # fmt: skip
def test_how_much_a_call_needs(arguments: str, expected: Needs) -> None:
    assert host.needs(arguments.split()) == expected


def test_a_call_that_vouches_for_what_is_there() -> None:
    assert host.asked_rules("train", "compare", arguments=["-n", "all", "v_compare", "results/train"]) == ["compare"]
    assert host.touches(["--touch", "-c", "1"]) and not host.touches(["-n"]) and not host.touches(["--no-such-option"])


def test_folders_of_the_workflow_are_there() -> None:
    for path in (host.SCRIPTS, host.LIBRARY, host.SCHEMA, host.PACKS, host.REQUIREMENTS, host.BUILD_IMAGE):
        assert path.exists(), path


def test_paths_below_the_working_directory_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert host.portable(tmp_path / "a" / "b") == "a/b" and host.portable("a/b") == "a/b"
    assert host.portable(tmp_path.parent / "a") == str(tmp_path.parent / "a")
    assert host.portable(tmp_path / "-a") == str(tmp_path / "-a"), "no program takes it for an option"


def test_files_that_snakemake_cannot_name_are_no_inputs() -> None:
    names = ["a.fa", "{sample}.fa", "<results>.fa", "{}.fa", "b c.fa"]
    assert [name for name in host.inputs(names) if name in ("{sample}.fa", "<results>.fa")] == []
    assert {"a.fa", "b c.fa"} <= set(host.inputs(names))


def test_a_refusal_has_no_place_in_our_files() -> None:
    with pytest.raises(host.Refused, match=r"^no sample$") as error, host.refusing():
        raise PlanningError("no sample")
    assert error.value.__traceback__ is None


def test_failed_jobs_are_told_with_the_logs_of_this_run(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).touch()
    new, old = str(tmp_path / "new"), str(tmp_path / "old")

    def job(log: str, sample: str) -> SimpleNamespace:
        return SimpleNamespace(rule=SimpleNamespace(name="predict"), wildcards={"sample": sample}, log=[log])

    single = job(new, "a")
    single.is_group = lambda: False
    group = SimpleNamespace(jobs=[job(old, "b"), job("absent", "c")], is_group=lambda: True)
    workflow = SimpleNamespace(scheduler=SimpleNamespace(failed=[single, group]))
    assert list(host.failures(workflow, {old: host.time_of_change(old)})) == [
        Failure("predict", "a", Path(new)), Failure("predict", "b"), Failure("predict", "c"),
    ]  # fmt: skip
    assert list(host.failures(SimpleNamespace(scheduler=None), {})) == []


def test_when_a_job_began_is_what_snakemake_noted() -> None:
    records = {"a": SimpleNamespace(starttime=0.9), "b": SimpleNamespace(starttime=None), "c": None}
    workflow = SimpleNamespace(persistence=SimpleNamespace(metadata=records.get))
    assert [host.start_of_job(workflow, name) for name in "abc"] == ["1970-01-01T00:00:00Z", "", ""]


def test_batches_know_their_files_without_a_regular_expression() -> None:
    """As Snakemake's own rules would, which are asked with its own type of paths too."""
    rules = [Rule(name, SimpleNamespace(modifier=None), 1, "Snakefile") for name in ("predict", "predict_flash_1")]
    for rule in rules:
        rule.output.extend(IOFile(f"work/{one}.x+y/scores/1.parquet") for one in "ab")
    host.find_makers_by_name(SimpleNamespace(rules=rules), ["flash_1"])
    own, by_name = rules
    assert "is_producer" not in vars(own) and "is_producer" in vars(by_name)
    for path, makes in (
        ("work/b.x+y/scores/1.parquet", True),
        ("work/b.xxy/scores/1.parquet", False),
        ("work/b", False),
    ):
        for form in (path, IOFile(path)):
            assert own.is_producer(form) == by_name.is_producer(form) == makes


def test_programs_run_with_an_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    host.programs_run_with("/venv/bin/python")
    assert os.environ["PATH"] == "/venv/bin:/usr/bin"


def submitting(
    arrays: str | None = "embed_esm2", nodes: int = 100, rate: int | None = 100, **limits: int
) -> SimpleNamespace:
    per_second = rate and SimpleNamespace(max_jobs=rate)
    return SimpleNamespace(
        executor_plugin=SimpleNamespace(name="slurm"),
        executor_settings=SimpleNamespace(array_jobs=arrays),
        scheduling_settings=SimpleNamespace(max_jobs_per_timespan=per_second),
        nodes=nodes,
        global_resources={"_nodes": nodes} | limits,
    )


def test_arrays_that_would_lose_jobs_are_refused() -> None:
    assert host.lost_in_arrays(submitting(), 100) is None
    for workflow in (submitting(nodes=99, rate=None), submitting(rate=99), submitting(gpu=8)):
        assert "this run has 100 jobs" in host.lost_in_arrays(workflow, 100)
    assert "give --jobs 5000 " in host.lost_in_arrays(submitting(), 5000)


def test_without_arrays_no_job_is_lost() -> None:
    assert host.lost_in_arrays(submitting(arrays=None, nodes=1), 100) is None
    other = SimpleNamespace(executor_plugin=SimpleNamespace(name="local"))
    assert host.lost_in_arrays(other, 100) is None


@pytest.mark.parametrize(
    ("asked", "results", "failures"),
    [(None, True, True), ({"host"}, True, True), ({"progress", "rules"}, False, True), ({"all"}, False, False)],
)
def test_what_is_said_of_a_quiet_run(asked: set[str] | None, results: bool, failures: bool) -> None:
    quiet = asked and set(map(Quietness.parse_choice, asked))
    workflow = SimpleNamespace(output_settings=SimpleNamespace(quiet=quiet))
    assert [not host.is_quiet(workflow, about) for about in ("progress", "all")] == [results, failures]


def test_colours_are_for_terminals_that_may_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = SimpleNamespace(output_settings=SimpleNamespace(nocolor=False))
    monkeypatch.setenv("TERM", "xterm")
    assert not host.takes_colour(workflow), "what tests print goes to a file"
    monkeypatch.setattr(host.sys.stdout, "isatty", lambda: True, raising=False)
    assert host.takes_colour(workflow)
    workflow.output_settings.nocolor = True
    assert not host.takes_colour(workflow)
    workflow.output_settings.nocolor = False
    monkeypatch.setenv("TERM", "dumb")
    assert not host.takes_colour(workflow)
