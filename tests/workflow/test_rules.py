"""Every rule says what a cluster and a reader need to know of it."""

import re
import textwrap
from collections.abc import Iterator

import pytest
from helpers import REPOSITORY

from virnucflow.packs.encoders import ENCODERS

RULE = re.compile(r"^(?:use rule|rule|checkpoint) (\w+(?: as \w+ with)?):\n(.*?)(?=^\S|\Z)", re.M | re.S)
# A rule that is there for each shard and for each batch.
IN_LOOP = re.compile(
    r'^    rule:\n        name:\n            scope.rule\(f?"([\w{}.]+)"\)\n(.*?)(?=^\S|\Z)', re.M | re.S
)


def rules(text: str) -> Iterator[tuple[str, str]]:
    """The rules of a file by name, with what each says."""
    yield from RULE.findall(text)
    for name, body in IN_LOOP.findall(text):
        for encoder in ENCODERS if "{encoder.name}" in name else [""]:
            own = body.replace('(f"embed_', '("embed_').replace("{encoder.name}", encoder)
            yield name.replace("{encoder.name}", encoder), textwrap.indent(textwrap.dedent(own), "    ")


FILES = sorted((REPOSITORY / "workflow" / "rules").glob("*.smk"))
RULES = {name: body for file in FILES for name, body in rules(file.read_text())}
INHERITED = {name.split()[2]: name.split()[0] for name in RULES if " as " in name}
TARGETS = {"validate", "compare", "train", "estimate"}  # of the user; they run no program
COMMANDS = {"fetch_models", "check_models"}  # of the user; they run whenever they are asked for, and make no file
PROGRAMS = {"compare_runs": "compare_attention"}  # of rules that have not one of their own name
OF_NO_RULE = {"check_setup", "count_frames"}  # called before the first job
NAMES = [name.split()[-2] if " as " in name else name for name in RULES if name not in TARGETS]


def text(rule: str) -> str:
    """What a rule says, with what it takes over from another."""
    own = next(body for name, body in RULES.items() if rule in name.split(" as ")[-1].split())
    return own + (text(INHERITED[rule]) if rule in INHERITED else "")


@pytest.mark.parametrize("rule", NAMES)
def test_rule_has_all_directives(rule: str) -> None:
    body = text(rule)
    output = [] if rule in COMMANDS else ["output"]
    given = [] if rule == "build_untrained_pack" else ["input"]  # it is made of nothing
    for directive in (*given, *output, "log", "conda", "threads", "resources", "params", "message", "shell"):
        assert re.search(rf"^    {directive}:", body, re.MULTILINE), f"{rule} lacks {directive}"
    for resource in ("mem_mb=", "runtime="):
        assert resource in body, f"{rule} lacks {resource}"
    if rule.startswith("embed_"):
        assert "gpu=" in body and re.search(r"^    benchmark:", body, re.MULTILINE)


@pytest.mark.parametrize("rule", NAMES)
def test_rule_program_and_code_share_the_rules_name(rule: str) -> None:
    own, program = text(rule), PROGRAMS.get(rule, rule)
    assert (REPOSITORY / "workflow" / "scripts" / f"{program}.py").exists()
    assert f'program=program("{program}")' in own and f'code=code("{program}")' in own


@pytest.mark.parametrize("rule", [name for name in NAMES if name not in COMMANDS])
def test_rule_is_tried_once_or_tells_its_program_where_a_final_error_is_noted(rule: str) -> None:
    gate = {"sample_frames", "compare_attention", "compare_runs", "divergence_gate"}
    once = {"split_fasta", *gate, "write_results", "call_pairs", "summarize"}
    assert (re.search(r"^    retries: 0$", text(rule), re.MULTILINE) is not None) == (rule in once)
    noted = "VIRNUCFLOW_ATTEMPT={resources.attempt} VIRNUCFLOW_FINAL_ERROR={log:q}.final " in text(rule)
    assert noted == ("attempt=attempt_number" in text(rule)) == (rule not in once)


def test_no_program_without_a_rule() -> None:
    programs = {path.stem for path in (REPOSITORY / "workflow" / "scripts").glob("*.py")}
    assert programs == {PROGRAMS.get(rule, rule) for rule in NAMES} | OF_NO_RULE


def test_functions_are_in_files_of_their_own() -> None:
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        with_functions = ("source", "inputs", "resources", "container", "hooks", "provenance", "costs")
        assert file.stem in with_functions or not re.search(r"^def ", file.read_text(), re.MULTILINE)
