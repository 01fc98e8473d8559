"""The image, a SLURM and a checkout for the tests, which install packages on this machine and so are asked for."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import HERE, copy_checkout, pip_settings, run

ASKED = "VIRNUCFLOW_CLUSTER_TESTS"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(ASKED) != "1":
        reason = f"installs SLURM, Apptainer and buildah on this machine, as root: set {ASKED}=1 on one made for tests"
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason))


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Not below /tmp, which Apptainer shows in every container."""
    path = Path(tempfile.mkdtemp(prefix="virnucflow-", dir="/srv"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def installed() -> None:
    assert os.geteuid() == 0, "the cluster tests install packages: run them as root"
    run(HERE / "install.sh")


@pytest.fixture(scope="session")
def debian(installed: None, folder: Path) -> Path:
    """The files of a Debian, which both images are built on."""
    mirror = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Codename: bookworm").split()[0]
    run("mmdebstrap", "--variant=minbase", "bookworm", folder / "base.tar", mirror)
    return folder / "base.tar"


@pytest.fixture(scope="session")
def checkout(debian: Path, folder: Path) -> Path:
    """A copy of this checkout with its image, built from containers/Dockerfile on a Debian made here."""
    place = copy_checkout(folder / "checkout")
    engine = {"ENGINE": "buildah", "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs", "TMPDIR": str(folder)}
    # Engine and image store without a daemon, a registry or user namespaces; quick compression.
    store = folder / "store"
    (folder / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{store}/run"\ngraphroot = "{store}"\n')
    engine |= {"CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")} | apptainer_settings(folder)
    container = run("buildah", "from", "scratch", environment=engine).strip()
    run("buildah", "add", container, debian, "/", environment=engine)
    run("buildah", "commit", "--rm", container, "localhost/base:bookworm", environment=engine)
    base = ["--build-arg", "BASE_IMAGE=localhost/base:bookworm"]
    run(place / "containers/build.sh", *base, *pip_settings(folder), environment=engine)
    shutil.rmtree(store)
    return place


@pytest.fixture(scope="session")
def image_by_apptainer(checkout: Path, debian: Path, folder: Path) -> Path:
    """The image built from containers/virnucflow.def, on the same Debian."""
    base = folder / "base"
    (base / "pip" / "find-links").mkdir(parents=True)
    run("tar", "--extract", "--directory", base, "--exclude", "./dev/*", "--file", debian)
    binds = ["--bind" if word == "--volume" else word for word in pip_settings(folder)]
    for place in ("pip/cert", "etc/pip.conf"):
        (base / place).touch()
    image = folder / "by apptainer.sif"
    arguments = ["--build-arg", "BOOTSTRAP=localimage", "--build-arg", f"BASE_IMAGE={base}"]
    command = ["apptainer", "build", "--fakeroot", *binds, *arguments, image, "containers/virnucflow.def"]
    run(*command, cwd=checkout, environment=apptainer_settings(folder))
    shutil.rmtree(base)
    return image


def apptainer_settings(folder: Path) -> dict[str, str]:
    """Work and cache beside the image, and quick compression."""
    places = {"APPTAINER_CACHEDIR": str(folder / "cache"), "APPTAINER_TMPDIR": str(folder)}
    return places | {"APPTAINER_MKSQUASHFS_ARGS": "-Xcompression-level 1"}


@pytest.fixture(scope="session")
def image(checkout: Path) -> Path:
    (path,) = (checkout / "containers").glob("*.sif")
    return path


@pytest.fixture(scope="session")
def slurm(installed: None, folder: Path) -> Iterator[None]:
    """A SLURM of two nodes with a GPU each, for the commands of this process."""
    os.environ["SLURM_CONF"] = str(folder / "slurm" / "slurm.conf")
    run(HERE / "start_slurm.sh", folder / "slurm")
    yield
    run("scontrol", "shutdown")
    while list((folder / "slurm").glob("*.pid")):
        time.sleep(0.1)
    del os.environ["SLURM_CONF"]
