"""Imported by both embed programs of a checkout made by test_cluster.py: what happens to their first attempts."""

import json
import os
import sys
import time
from pathlib import Path

PROGRAM = Path(sys.argv[0]).stem
STARTED = Path("started")


def started(program: str) -> list[Path]:
    return sorted(STARTED.glob(f"{program}.*.json"))


STARTED.mkdir(exist_ok=True)
attempt = len(started(PROGRAM)) + 1
seen = {name: os.environ.get(name) for name in ("SLURM_JOB_ID", "APPTAINER_CONTAINER")}
# Taken away, because no GPU stands behind it.
seen["gpu"] = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
partial = STARTED / f"{PROGRAM}.{attempt}"
partial.write_text(json.dumps(seen))
partial.rename(partial.with_suffix(f".{attempt}.json"))

if attempt == 1:
    # Both are under way at the same time.
    while not (started("embed_esm2") and started("embed_dnabert_s")):
        time.sleep(0.1)
    if PROGRAM == "embed_esm2":
        sys.exit("planted: out of memory")
    # The other one is cancelled when its output is complete, but not yet in its place. What it then keeps is moved.
    replace = os.replace

    def wait(source: Path, target: Path) -> None:
        if Path(target).parent.suffix == ".parts":
            replace(source, target)
        else:
            (STARTED / "waiting").touch()
            time.sleep(600)

    os.replace = wait
