"""What several tests share: running the programs and the workflow as a user would."""

import hashlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from runpy import run_path
from unittest.mock import patch

import pandas as pd
import pyarrow as pa
import yaml

from virnucflow.files.digests import digest_bytes
from virnucflow.files.tables import SEQUENCES, write_parquet
from virnucflow.sequences.chunk_files import digest_path

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
LITE = REPOSITORY / "tools" / "lite"
GOLDEN = REPOSITORY / "tests" / "data" / "golden"
EXAMPLE = REPOSITORY / "resources" / "example"

# Sequences without a base, without a frame, with names that look like chunks and with letters other than A, C, G, T.
ODD = {
    "empty": "", "stops": "TTAA" * 30, "short": "AC", "aF1": "GCCGCAGCTGCG" * 20, "x_chunk_1": "ATGGCCNNNGCGRYK" * 30,
}  # fmt: skip


def program_path(name: str) -> Path:
    """The file of a program of the workflow or of tools/lite."""
    return next(path for path in (SCRIPTS / f"{name}.py", LITE / f"{name}.py") if path.exists())


def run_program(name: str, *arguments: object, code: int | None = 0) -> str:
    """Run a program of the workflow or of tools/lite, check its exit code unless it is None; gives what it said.

    It runs in this process, which spares its start.
    """
    exit_code, said = call_program(name, *arguments)
    assert code in (None, exit_code), said
    return said


def start_program(name: str, *arguments: object, code: int = 0) -> str:
    """As run_program(), in a process of its own: for what a program does to its process, such as taking a GPU."""
    command = [sys.executable, program_path(name), *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(SCRIPTS), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}  # as the installed package would be found
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)
    assert done.returncode == code, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr


def call_program(name: str, *arguments: object) -> tuple[int, str]:
    """Run a program in this process and leave that as it was: exit code, and what it said."""
    said, printed = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    on_sigterm = signal.getsignal(signal.SIGTERM)
    argv = [f"{name}.py", *map(str, arguments)]
    try:
        with patch.object(sys, "argv", argv), patch.dict(os.environ), redirect_stdout(printed), redirect_stderr(said):
            run_path(str(program_path(name)), run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code
    finally:
        root.handlers = handlers
        signal.signal(signal.SIGTERM, on_sigterm)
    assert printed.getvalue() == ""
    return code, said.getvalue()


def error_line(stderr: str) -> str:
    """The one line that a program says before it stops."""
    lines = [line for line in stderr.splitlines() if ": error: " in line]
    assert len(lines) == 1 and stderr.splitlines()[-1] == lines[0], stderr
    return lines[0]


def snakemake(
    directory: Path, *arguments: str, code: int | None = 0, environment: dict[str, str] | None = None, **config: object
) -> str:
    """Run the workflow in a directory that holds `samples.tsv`, and return what Snakemake said."""
    settings = {"samples": "samples.tsv", "model_pack": "models/untrained", "device": "cpu", "gate": {"frames": 0}}
    configfile = directory / "config.yaml"
    configfile.write_text(yaml.safe_dump(settings | config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", directory]
    command += ["--configfile", configfile, "--cores", "2", "--show-failed-logs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, env=os.environ | (environment or {}))
    said = done.stdout + done.stderr
    assert code is None or done.returncode == code, said
    return said


def planned_jobs(said: str) -> dict[str, int]:
    """Jobs a rule from the first table of Snakemake's output; empty when nothing is to be done."""
    if "Nothing to be done" in said:
        return {}
    _, _, table = said.partition("-\n")
    rows = (line.split() for line in table.split("\n\n")[0].splitlines())
    return {rule: int(count) for rule, count in rows if rule not in ("all", "default", "total")}


def write_fasta(path: Path, records: dict[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records.items()))
    return path


def write_sequences(path: Path, records: dict[str, str]) -> Path:
    """The table that split_fasta.py writes of records that are one chunk each."""
    digests = [digest_bytes(f"{' '.join(name.split()[:1])}\n{letters}".encode()) for name, letters in records.items()]
    lengths, uracils = map(len, records.values()), (letters.upper().count("U") for letters in records.values())
    columns = [list(records), list(lengths), [1] * len(records), list(uracils), digests, [0] * len(records)]
    write_parquet(pa.table(columns, schema=SEQUENCES), path)
    return path


def with_digest(chunks: Path) -> Path:
    """A file of chunks that split_fasta.py did not write, made one that translate_frames.py reads."""
    digest_path(chunks).write_text(f"{digest_bytes(chunks.read_bytes())}\n")
    return chunks


def fake_gpus(folder: Path, uuids: list[str], capability: str = "9.0") -> None:
    """A stand-in for nvidia-smi, to be put on the PATH."""
    folder.mkdir(exist_ok=True)
    lines = "".join(f"echo '{uuid}, {capability}'\n" for uuid in uuids) or "echo No devices were found; exit 6\n"
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}")
    (folder / "nvidia-smi").chmod(0o755)


# Writes down the folders to be seen and the arguments up to the image; then runs what was to be run in it.
APPTAINER = """#!/usr/bin/env bash
if [ "$1" = --version ]; then echo apptainer version 1.4.5; exit; fi
echo "$APPTAINER_BIND $*" >>apptainer.log
while [ "$1" != bash ]; do shift; done
exec "$@"
"""


def put_apptainer(folder: Path) -> None:
    """A stand-in for Apptainer, to be put on the PATH, which writes apptainer.log."""
    folder.mkdir()
    (folder / "apptainer").write_text(APPTAINER)
    (folder / "apptainer").chmod(0o755)


def tree(directory: Path) -> dict[str, bytes]:
    """The content of every file below a directory."""
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def reproducible(directory: Path) -> dict[str, bytes]:
    """As tree(), without what two runs of the same input may differ in: when they were and how long devices were held,
    which run.json says, and of it summary.tsv and report.html."""
    files = {name: data for name, data in tree(directory).items() if ".device_time.json" not in name}
    for name in files:
        if name.endswith("run.json"):
            run = json.loads(files[name])
            del run["started"], run["ended"]
            run["device_minutes"] = sorted(run["device_minutes"] or [])
            files[name] = json.dumps(run).encode()
        elif name.endswith("summary.tsv"):
            table = pd.read_csv(io.BytesIO(files[name]), sep="\t", dtype=str, keep_default_na=False)
            files[name] = table.drop(columns="device_minutes").to_csv(sep="\t", index=False).encode()
        elif name.endswith("report.html"):
            files[name] = re.sub(rb'(data-of="[^"]*minute[^"]*" value)="[^"]*">[^<]*<', rb"\1<", files[name])
    return files


def rehash(directory: Path) -> None:
    """Make a changed model pack consistent again."""
    description = json.loads((directory / "pack.json").read_text())
    for name in description["sha256"]:
        description["sha256"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    (directory / "pack.json").write_text(json.dumps(description))


def scores(folder: Path, sample: str = "mixed") -> pd.DataFrame:
    return pd.read_csv(folder / "results" / sample / "prediction_results.txt", sep="\t", keep_default_na=False)
