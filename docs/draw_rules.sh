#!/usr/bin/env bash
# Draw the rules of a run with the gate, and what each takes of which, as docs/rules.svg; needs Graphviz. The picture is
# held against the workflow by tests/workflow/test_picture.py.
set -euo pipefail
cd "$(dirname "$0")/.."
snakemake --snakefile workflow/Snakefile --rulegraph dot --config shards=1 shard_megabases=0.001 2> /dev/null |
    sed 's/\(label = "[^"]*"\), color = "[^"]*"/\1, color = "#0f766e"/' |
    dot -Tsvg > docs/rules.svg
