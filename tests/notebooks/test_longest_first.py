"""The order of the work: whole files, the longest first."""

from __future__ import annotations

import shutil
import subprocess
import sys

from longest_first import SECONDS, scope_of, seconds
from stored import NOTEBOOKS, ROOT


def test_files_that_the_order_knows_exist():
    assert [file for file in SECONDS if not (ROOT / file).is_file()] == []


def test_tests_of_notebooks_go_by_notebook_and_others_by_file():
    assert scope_of("tests/test_mlp.py::test_a[03_mlp]") == "tests/test_mlp.py"
    assert scope_of("notebooks/03_mlp.ipynb::Cell 3") == "notebooks/03_mlp.ipynb"
    assert (
        scope_of("tests/notebooks/test_notebooks.py::test_a[03_mlp]")
        == "tests/notebooks/test_notebooks.py 03_mlp"
    )
    assert scope_of("tests/notebooks/test_notebooks.py::test_a") == "tests/notebooks/test_notebooks.py"


def test_a_notebook_comes_before_a_file_of_many_short_tests():
    for path in NOTEBOOKS:
        assert seconds(f"notebooks/{path.name}", 60) > seconds("tests/test_optim.py", 100)


def test_xdist_begins_with_the_longest(tmp_path):
    """One worker, three files: the order in which they are run."""
    for folder in ("notebooks", "tools"):
        shutil.copytree(ROOT / "tests" / folder, tmp_path / "tests" / folder)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bench.json").write_text("{}")
    many = "".join(f"def test_{i}(): ...\n" for i in range(20))
    for name, tests in {
        "test_a.py": "def test(): ...\n",
        "test_b.py": many,
        "test_readme.py": "def test(): ...\n",
    }.items():
        (tmp_path / "tests" / name).write_text(tests)
    files = ["tests/test_a.py", "tests/test_b.py", "tests/test_readme.py"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-n",
        "1",
        "--dist",
        "loadfile",
        "-vv",
        *files,
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    done = [line.split("::")[0].split(" ")[-1] for line in run.stdout.splitlines() if "PASSED" in line]
    assert list(dict.fromkeys(done)) == ["tests/test_readme.py", "tests/test_b.py", "tests/test_a.py"]
