# Where the programs, schemas and packs are: in the folder of the workflow or, where Snakemake reads the workflow from a git
# source, in the files of that commit, which are unpacked below the working directory, as nodes and containers see that.
# This alone comes before the modules of planning, which are among the files.

import sys
import tarfile
import tempfile
from pathlib import Path

from snakemake.sourcecache import HostingProviderFile, LocalGitFile

UNPACKED = Path(".snakemake", "virnucflow")  # a folder by the commit


def unpack(source):
    """The folder of the files of a git source's commit, which are unpacked where they are not there yet."""
    if isinstance(source, HostingProviderFile):
        source.cache_path = workflow.sourcecache.cache_path
        repository = source.hosted_repo.repo
    else:
        import git  # of Snakemake's, for git sources

        repository = git.Repo(source.repo_path)
    commit = repository.commit(source.ref).hexsha
    folder = (UNPACKED / commit).absolute()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            archive, files = Path(temporary, "files.tar"), Path(temporary, "files")
            with archive.open("wb") as stream:
                repository.archive(stream, commit)
            with tarfile.open(archive) as packed:
                packed.extractall(files, filter="data")
            if not folder.exists():  # as another run's may be by now
                files.rename(folder)
    return folder


SOURCE = workflow.current_basedir
FROM_GIT = isinstance(SOURCE, (HostingProviderFile, LocalGitFile))
WORKFLOW = unpack(SOURCE) / "workflow" if FROM_GIT else Path(str(SOURCE)).parent
sys.path[:0] = [str(WORKFLOW), str(WORKFLOW / "scripts")]
