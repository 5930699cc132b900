"""The three lists of requirements agree, the commands do what the README says, and a wheel carries its data."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"pytorch": "torch"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ranges() -> dict[str, Requirement]:
    """Every direct requirement of pyproject.toml, extras included, by canonical name."""
    groups = [project()["dependencies"], *project()["optional-dependencies"].values()]
    requirements = [Requirement(line) for group in groups for line in group]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "every version is pinned"
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_every_requirement_is_pinned_to_a_version_within_its_range():
    for name, requirement in ranges().items():
        assert requirement.specifier.contains(pins()[name]), name


def test_the_pins_are_sorted_and_the_direct_ones_stand_first():
    names = list(pins())
    direct = sorted(ranges())
    assert names[: len(direct)] == direct
    assert names[len(direct) :] == sorted(names[len(direct) :])


def test_the_installed_versions_are_the_pinned_ones():
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    installed = dict(line.split("==") for line in listing.stdout.splitlines() if "==" in line)
    installed = {canonicalize_name(name): version.split("+")[0] for name, version in installed.items()}
    if "CONDA_PREFIX" in os.environ:
        pytest.skip("a conda environment follows the ranges, not the pins")
    assert {name: installed.get(name) for name in pins()} == pins()


def test_the_conda_environment_asks_for_the_same_ranges():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "-e ." in pip
    listed = [Requirement(entry) for entry in [*conda, *pip] if entry not in ("pip", "-e .")]
    listed = {CONDA_NAMES.get(r.name, canonicalize_name(r.name)): str(r.specifier) for r in listed}
    assert listed.pop("python") == project()["requires-python"]
    assert listed == {name: str(requirement.specifier) for name, requirement in ranges().items()}


def test_ci_calls_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    for command in ("make lab", "make test"):
        assert f"\n    {command}\n" in readme
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["test"]["steps"][-1]["run"] == "make test"


def pages() -> dict[Path, str]:
    """The README and the pages behind it."""
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def test_make_knows_every_command_that_the_pages_name():
    makefile = (ROOT / "Makefile").read_text()
    commands = set(re.findall(r"(?:`|\n    )make ([a-z]+)\b", "\n".join(pages().values())))
    assert {"lab", "test", "execute"} <= commands
    for command in commands:
        assert re.search(rf"^{command}:", makefile, re.M), command


def test_every_path_that_the_pages_name_exists():
    for page, text in pages().items():
        for path in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / path).exists(), f"{page.name}: {path}"
    assert "](docs/" in pages()[ROOT / "README.md"]


def test_python_too_old_gets_a_sentence(tmp_path):
    old = tmp_path / "python-old"
    old.write_text(
        "#!/bin/sh\nexec \"$REAL\" -c \"import sys; sys.version_info = (3, 9); sys.version = '3.9.1 x'; exec('$2')\"\n"
    )
    old.chmod(0o755)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    run = subprocess.run(
        ["make", "-C", str(tmp_path), ".venv/ready", f"PYTHON={old}"],
        env={**os.environ, "REAL": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "Python 3.11 or newer is needed" in run.stdout + run.stderr
    assert not (tmp_path / ".venv").exists()


def test_importing_the_package_loads_neither_torch_nor_matplotlib():
    code = "import sys, nnhelpers; print([m for m in ('torch', 'matplotlib', 'numpy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    subprocess.run([*command, "--quiet"], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)  # setuptools keeps modules there that are gone
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("nnhelpers-*.whl"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    """The source distribution of the checkout, made by the backend that pyproject.toml names."""
    folder = tmp_path_factory.mktemp("sdist")
    pip("install", "--target", folder / "backend", *backend())
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    environment = {**os.environ, "PYTHONPATH": str(folder / "backend")}
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return next(folder.glob("nnhelpers-*.tar.gz"))


def backend() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]


@pytest.fixture(scope="module")
def from_wheel(wheel) -> Path:
    """The folder of site-packages of an empty environment that holds what a wheel of the project holds."""
    folder = wheel.parent
    venv.create(folder / "venv", with_pip=False)
    sites = list((folder / "venv").glob("lib/python*/site-packages"))
    site = sites[0] if sites else folder / "venv" / "Lib" / "site-packages"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(site)], check=True)
    return site


def contents(archive: Path) -> dict[str, int]:
    """The files of a wheel and their checksums; its own list of them, which also names the tool, is left out."""
    with zipfile.ZipFile(archive) as opened:
        return {info.filename: info.CRC for info in opened.infolist() if "dist-info/" not in info.filename}


def test_the_source_distribution_makes_the_same_wheel(wheel, sdist, tmp_path):
    pip("wheel", "--no-deps", "--wheel-dir", tmp_path, sdist)
    (again,) = tmp_path.glob("*.whl")
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)


def test_the_version_stands_in_one_place_and_the_notes_tell_of_it(wheel):
    import nnhelpers

    assert wheel.name.split("-")[1] == nnhelpers.__version__
    assert "version" in project()["dynamic"]
    notes = (ROOT / "docs" / "changes.md").read_text(encoding="utf-8")
    assert re.search(r"^## (.+)$", notes, re.M)[1] == nnhelpers.__version__


def imported_by_the_lectures() -> set[str]:
    """The packages that the cells of the notebooks import."""
    found = set()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in (cell for cell in cells if cell["cell_type"] == "code"):
            for node in ast.walk(ast.parse("".join(cell["source"]))):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                if isinstance(node, ast.ImportFrom):
                    found.add(node.module)
    return {canonicalize_name(name.split(".")[0]) for name in found}


def test_the_extras_ask_for_what_their_names_say():
    extras = {
        name: {canonicalize_name(Requirement(line).name) for line in lines}
        for name, lines in project()["optional-dependencies"].items()
    }
    known = {"numpy", "torch", "matplotlib", "regex", "tqdm", *extras["notebooks"]}
    known |= {canonicalize_name(name) for name in sys.stdlib_module_names}
    assert imported_by_the_lectures() - known == {"nnhelpers"}, (
        "neither the package nor the extra asks for it"
    )
    assert "pytest" in extras["test"]


def test_a_wheel_holds_the_corpora_and_works_outside_the_checkout(from_wheel, tmp_path):
    """In an environment without the dependencies that its data does not need."""
    code = (
        "from nnhelpers import data; "
        "ranks = (data.data_folder() / 'gpt2.tiktoken').read_bytes().splitlines(); "
        "print(data.data_folder().name, len(data.load_names()), len(ranks))"
    )
    python = next(from_wheel.parents[2].glob("bin/python"), from_wheel.parents[2] / "Scripts" / "python.exe")
    out = subprocess.run(
        [str(python), "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["corpora", "30294", "50256"]


def run_with_wheel(code, from_wheel, folder):
    """Run code in this Python, with the package taken from the wheel."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(from_wheel)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_wheel_holds_the_trained_models(from_wheel, tmp_path):
    code = (
        "from nnhelpers import train; "
        "found = [train.load_trained(name) for name in train.TRAINED]; "
        "print(train.__file__, *[model.block_size for model, _ in found])"
    )
    out = run_with_wheel(code, from_wheel, tmp_path)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == [str(from_wheel / "nnhelpers" / "train" / "__init__.py"), "512", "256"]


def test_a_model_from_the_wheel_writes(from_wheel, tmp_path):
    code = (
        "from nnhelpers import sampling, train; "
        "model, tokenizer = train.load_trained('plays-chars'); "
        "print(sampling.complete(model, tokenizer, 'OTHELLO:', 20, temperature=0.0))"
    )
    out = run_with_wheel(code, from_wheel, tmp_path)
    assert out.returncode == 0, out.stderr
    assert out.stdout.startswith("OTHELLO:\n")
    assert len(out.stdout.strip()) > 20


def test_every_module_can_be_imported_from_the_wheel(from_wheel, tmp_path):
    package = ROOT / "nnhelpers"
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(package.rglob("*.py"))
    ]
    code = (
        "import importlib, sys; "
        f"found = [importlib.import_module(name).__file__ for name in {names}]; "
        f"print(len(found), all(file.startswith({str(from_wheel)!r}) for file in found))"
    )
    out = run_with_wheel(code, from_wheel, tmp_path)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == [str(len(names)), "True"]
    assert (from_wheel / "nnhelpers" / "py.typed").is_file()
