"""Print what each job of a plan asks for, as Snakemake shows it nowhere: JSON of rule, wildcards, mem_mb and runtime.

Arguments: the folder to run in, and the settings as JSON.
"""

import json
import sys
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

REPOSITORY = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(config=settings, configfiles=[REPOSITORY / "config" / "config.yaml"]),
            snakefile=REPOSITORY / "Snakefile",
            workdir=folder,
        )
        workflow.dag(DAGSettings(targets={"all"})).execute_workflow(executor="dryrun")
        jobs = [
            {"rule": job.rule.name, "wildcards": dict(job.wildcards.items())}
            | {name: str(job.resources.get(name)) for name in ("mem_mb", "runtime")}
            for job in workflow._workflow.dag.jobs
            if job.rule.name != "all"
        ]
    print(json.dumps(jobs))
