"""What conftest.py and the tests share: commands, copies of this checkout, and pip's settings for a build."""

import ast
import os
import shutil
import subprocess
from pathlib import Path

from helpers import REPOSITORY

HERE = Path(__file__).parent


def run(*command: object, environment: dict[str, str] | None = None, **options: object) -> str:
    """Run a command that must succeed, and return what it said."""
    words = list(map(str, command))
    environment = os.environ | (environment or {})
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, **options
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"
    return done.stdout


def copy_checkout(place: Path) -> Path:
    """What git has or would take of this checkout, changes not yet committed included."""
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=REPOSITORY)
    for name in filter(None, files.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).exists():
            shutil.copy2(REPOSITORY / name, place / name, follow_symlinks=False)
    return place


def pip_settings(place: Path) -> list[str]:
    """Options of buildah that let pip in the image under construction find packages where pip finds them here."""
    settings, volumes = {}, []
    for line in run("pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = ast.literal_eval(value)
    lines = ["[global]"]
    for name in settings.keys() & {"cert", "find-links", "index-url"}:
        value = settings[name]
        if Path(value).exists():
            volumes += ["--volume", f"{value}:/pip/{name}:ro"]
            value = f"/pip/{name}"
        lines.append(f"{name} = {value}")
    (place / "pip.conf").write_text("\n".join(lines) + "\n")
    return [*volumes, "--volume", f"{place}/pip.conf:/etc/pip.conf:ro"]
