# The image that programs run in when Apptainer is asked for, and the folders that they must see in it.

import shutil

from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod
from planning.host import programs_run_with
from virnucflow import __version__

DEPLOYMENT = workflow.deployment_settings.deployment_method
CONTAINED = DeploymentMethod.APPTAINER in DEPLOYMENT
BIND = "APPTAINER_BIND"


def image():
    """Of the config, as Snakemake takes it: a registry's address, or a file, below the workflow's root if relative."""
    name = (config["container"] or "").replace("{version}", __version__)
    return name if "://" in name or not name else portable(ROOT / name)


def image_of_rules(wildcards):
    """None on a dry run without Apptainer, which Snakemake would ask for although nothing is run."""
    if CONTAINED and image() and not (shutil.which("apptainer") or shutil.which("singularity")):
        if workflow.dryrun:
            return None
        miss_apptainer()
    return image() if CONTAINED else None


@cache
def miss_apptainer():
    """Say it, once: an error raised by a function of a rule is shown with its place in our files. Snakemake then stops."""
    logger.error(
        "apptainer: no such command here, and programs are to run in an image; load its module or install it, or let them "
        "run where snakemake does: --config container="
    )


# Whether the Python that runs Snakemake runs the programs, too: not so in an image or in an environment of conda.
PROGRAMS_RUN_HERE = DeploymentMethod.CONDA not in DEPLOYMENT and not (CONTAINED and image())


def check_image():
    """Stop before a job is submitted when the image is a file that is not there."""
    if CONTAINED and image() and "://" not in image() and not os.path.exists(image()):
        raise Refused(
            f"container: {image()} is not there; build it with '{portable(ROOT / 'containers/build.sh')}', "
            "or set container in the config (containers/README.md)"
        )


def places():
    """The folders that programs read or write besides the working directory, each with what names it."""
    yield "workflow", ROOT
    for key in ("model_pack", "published_files", "reference_run"):
        if config[key]:
            yield key, Path(config[key])
    yield "training: trained_pack", Path(config["training"]["trained_pack"])
    if (Path(config["model_pack"]).parent / "lock.json").exists():  # fetch_models has written beside the pack
        yield "model_pack", Path(config["model_pack"]).parent
    files = [("samples", file.path) for sample in SAMPLES.values() for file in sample.files]
    for key, file in [*files, ("catalogue", CATALOGUE)]:
        if os.path.exists(file):
            yield key, Path(file).parent
            yield key, Path(file).resolve().parent


def folders_outside():
    """What of these is not below the working directory, which alone is seen in a container; of a folder that is not there
    yet, the nearest one above it. A folder is left out when it is below another."""
    if ":" in str(Path.cwd()):
        raise Refused(f"{Path.cwd()}: Apptainer takes no working directory with a colon; rename it")
    found = set()
    for key, path in ((key, path) for key, place in places() for path in (place.absolute(), place.resolve())):
        folder = next(folder for folder in (path, *path.parents) if folder.is_dir())
        if folder.is_relative_to(Path.cwd()):
            continue
        if folder == Path("/"):
            raise Refused(f"{key}: {path}: there is no folder above it that a container could be given; make one")
        if re.search("[,:]", str(folder)):
            raise Refused(f"{key}: {folder}: Apptainer takes no folder with a comma or colon; rename it")
        found.add(folder)
    return sorted(str(folder) for folder in found if not found.intersection(folder.parents))


if CONTAINED:
    os.environ[BIND] = ",".join(filter(None, [os.environ.get(BIND), *folders_outside()]))
if PROGRAMS_RUN_HERE:  # `python` of the rules, whether its environment is activated or not
    programs_run_with(sys.executable)


container: image_of_rules
