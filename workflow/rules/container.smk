# The image that programs run in when Apptainer is asked for, and the folders that they must see in it.

import shutil

from snakemake.settings.types import DeploymentMethod
from virnucflow import __version__

CONTAINED = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
BIND = "APPTAINER_BIND"


def image():
    """Of the config, as Snakemake takes it: a registry's address, or a file, below the workflow's root if relative."""
    name = (config["container"] or "").replace("{version}", __version__)
    return name if "://" in name or not name else portable(ROOT / name)


def image_of_rules(wildcards):
    """None on a dry run without Apptainer, which Snakemake would ask for although nothing is run."""
    if workflow.dryrun and not (shutil.which("apptainer") or shutil.which("singularity")):
        return None
    return image() if CONTAINED else None


def check_image():
    """Stop before a job is submitted when the image is a file that is not there."""
    if CONTAINED and image() and "://" not in image() and not os.path.exists(image()):
        raise WorkflowError(
            f"container: {image()} is not there; build it with '{portable(ROOT / 'containers/build.sh')}', "
            "or set container in the config (containers/README.md)"
        )


def folders_outside():
    """Folders of workflow, models and input that are not below the working directory: only that one is in a container."""
    folders = [ROOT, *(Path(config[key]) for key in ("model", "model_source", "reference_run"))]
    for file in (Path(file.path) for sample in SAMPLES.values() for file in sample.files):
        folders += [file.parent, file.resolve().parent]
    paths = {path for folder in folders for path in (folder.absolute(), folder.resolve())}
    return sorted(str(path) for path in paths if path.is_dir() and not path.is_relative_to(Path.cwd()))


if CONTAINED:
    os.environ[BIND] = ",".join(filter(None, [os.environ.get(BIND), *folders_outside()]))


container: image_of_rules
