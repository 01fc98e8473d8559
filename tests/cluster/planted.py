"""Imported by both embed programs of a checkout made by test_cluster.py: what happens to their first attempts."""

import json
import os
import sys
import time
from pathlib import Path

PROGRAM = Path(sys.argv[0]).stem
STARTED = Path("started")

STARTED.mkdir(exist_ok=True)
start = len(list(STARTED.glob(f"{PROGRAM}.*.json"))) + 1
seen = {name: os.environ.get(name) for name in ("SLURM_JOB_ID", "SLURMD_NODENAME", "APPTAINER_CONTAINER")}
# Taken away, because no GPU stands behind it.
seen["gpu"] = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
partial = STARTED / f"{PROGRAM}.{start}"
partial.write_text(json.dumps(seen))
partial.rename(partial.with_suffix(f".{start}.json"))

if PROGRAM == "embed_esm2" and start == 1:
    # Its node goes down.
    (STARTED / f"{PROGRAM}.waiting").touch()
    time.sleep(600)
elif PROGRAM == "embed_esm2" and start == 2:
    sys.exit("planted: out of memory")
elif start == 1:
    # It comes to its time limit when its output is complete, but not yet in its place. What it then keeps is moved.
    replace = os.replace

    def wait(source: Path, target: Path) -> None:
        if Path(target).parent.suffix == ".parts":
            replace(source, target)
        else:
            (STARTED / f"{PROGRAM}.waiting").touch()
            time.sleep(600)

    os.replace = wait
