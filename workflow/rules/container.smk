# The image that programs run in when Apptainer is asked for, and the folders that they must see in it.

import shutil

from snakemake.logging import logger
from planning.container import folders_outside, is_address, missing_image, places
from virnucflow import __version__

CONTAINED = host.is_contained(workflow)
BIND = "APPTAINER_BIND"
# As Snakemake takes it: a registry's address, or a file; empty without one. A relative file is below the workflow's root.
# Of a git source, which has none but for what is unpacked of one commit, it is below the working directory.
IMAGE = (config["container"] or "").replace("{version}", __version__)
BUILD = host.portable(host.BUILD_IMAGE)  # the command
if IMAGE and not is_address(IMAGE):
    IMAGE = host.portable((Path.cwd() if FROM_GIT else host.ROOT) / IMAGE)
    BUILD = f"SIF={IMAGE} {BUILD}" if FROM_GIT else BUILD
# Whether the Python that runs Snakemake runs the programs, too: not so in an image or in an environment of conda.
PROGRAMS_RUN_HERE = not host.is_conda(workflow) and not (CONTAINED and IMAGE)


def image_of_rules(wildcards):
    """None on a dry run without Apptainer, which Snakemake would ask for although nothing is run."""
    if CONTAINED and IMAGE and not (shutil.which("apptainer") or shutil.which("singularity")):
        if workflow.dryrun:
            return None
        miss_apptainer()
    return IMAGE if CONTAINED else None


@cache
def miss_apptainer():
    """Say it, once: an error raised by a function of a rule is shown with its place in our files. Snakemake then stops."""
    logger.error(
        "apptainer: no such command here, and programs are to run in an image; load its module or install it, or let them "
        "run where snakemake does: --config container="
    )


if CONTAINED:
    with host.refusing():
        folders = folders_outside([("workflow", host.ROOT), *places(config, CATALOGUE, SAMPLES.values())], Path.cwd())
    os.environ[BIND] = ",".join(filter(None, [os.environ.get(BIND), *folders]))
if PROGRAMS_RUN_HERE:  # `python` of the rules, whether its environment is activated or not
    host.programs_run_with(sys.executable)


container: image_of_rules
