"""`make pythons`: without_torch.py on every Python from 3.11 on that is here, each in a fresh environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("numpy", "regex", "tqdm")


def interpreters() -> dict[str, str]:
    """One interpreter for each version from 3.11 to 3.19, on the path or among pyenv's."""
    found = {}
    for minor in range(11, 20):
        managed = map(str, sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")))
        for path in (*managed, shutil.which(f"python3.{minor}")):
            # a launcher may stand on the path for a version that is switched off
            if path and not subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode:
                found[f"3.{minor}"] = path
    return found


def pinned() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if re.match(rf"({'|'.join(NEEDED)})==", line)]


def check(python: str) -> bool:
    """Whether all is right in a new environment with nothing but the three packages."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        subprocess.run(
            [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned()], check=True
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        return not subprocess.run(
            [inside, ROOT / "tests" / "tools" / "without_torch.py"], env=environment, check=False
        ).returncode


if __name__ == "__main__":
    results = {version: check(python) for version, python in interpreters().items()}
    print(
        *(f"Python {version}: {'green' if right else 'FAILED'}" for version, right in results.items()),
        sep="\n",
    )
    sys.exit(not all(results.values()) or not results)
