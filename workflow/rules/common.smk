# Settings and sample sheet, read and held against what they need before anything is planned.

import os
import re

from planning import host
from planning.attention import forced_attention
from planning.embeddings import REQUEST, missing_embeddings
from planning.messages import PlanningError
from planning.paths import same_directory
from planning.samples import read_samples
from planning.settings import read_settings
from planning.shards import SAMPLED
from planning.sources import missing_records, missing_sources, pack_directory, read_pack, sha256_of_pack

with host.refusing():
    if set(str(host.ROOT)) & set("{}<>"):
        raise PlanningError(f"the workflow is in {host.ROOT}, and Snakemake takes braces for wildcards; move it")
    read_settings(config, host.SCHEMA, lambda: host.sources_of_settings(workflow))
    config["model_pack"] = pack_directory(config["model_pack"], Path(host.portable(host.PACKS)))
    SAMPLES = read_samples(config["samples"])
    FORCED_ATTENTION = forced_attention(os.environ)
    CATALOGUE = config["catalogue"]
    if not os.path.exists(CATALOGUE) and (host.ROOT / CATALOGUE).exists():  # the workflow's own
        CATALOGUE = host.portable(host.ROOT / CATALOGUE)
    PACK = read_pack(config["model_pack"])
    PACK_SHA256 = sha256_of_pack(PACK)
    if workflow.is_main_process:  # the processes of jobs come after it
        problems = missing_sources(host.needs(), config, CATALOGUE, SAMPLES, lambda path: host.is_made(workflow, path))
        if host.needs() >= host.Needs.SAMPLES and not host.touches():
            problems += missing_records(SAMPLES)
        problems += missing_embeddings(config["keep"], host.asked_rules("compare", "train"))
        if problems:
            raise PlanningError(*problems)


wildcard_constraints:
    sample="|".join(map(re.escape, SAMPLES)),
    attention="flash|standard",
    shard=rf"\d{{5}}|{SAMPLED}",
    request=REQUEST,
