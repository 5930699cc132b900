"""The checker is checked: strict nbval with our tolerance, on notebooks with one planted fault each."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
from execute import NOTEBOOKS, client
from nbval_tolerance import settle

SMALL = {
    "numbers": "print(f'loss {2.45279:.4f} after {12} steps')",
    "table": "print('   0.1234  -0.0001')",
    "value": "2 + 2",
    "figure": "import matplotlib.pyplot as plt\n\nplt.plot([1, 2])\nplt.show()",
}


def replace_output(name, old, new):
    def change(cells):
        output = cells[name].outputs[0]
        where, key = (output, "text") if "text" in output else (output.data, "text/plain")
        assert old in where[key]
        where[key] = where[key].replace(old, new)

    return change


def replace_source(name, source):
    def change(cells):
        cells[name].source = source

    return change


HARMLESS = {
    "nothing at all": lambda cells: None,
    "one unit less": replace_output("numbers", "2.4528", "2.4527"),
    "one unit more": replace_output("numbers", "2.4528", "2.4529"),
    "zero without its sign": replace_output("table", "-0.0001", " 0.0000"),
}
FAULTS = {
    "two units": replace_output("numbers", "2.4528", "2.4526"),
    "fewer decimals": replace_output("numbers", "2.4528", "2.453"),
    "a wrong integer": replace_output("numbers", "12", "13"),
    "a wrong word": replace_output("numbers", "loss", "Loss"),
    "a wrong value": replace_output("value", "4", "5"),
    "another layout": replace_output("table", "  -0.0001", " -0.0001"),
    "a missing figure": replace_source("figure", "import matplotlib.pyplot as plt"),
    "an exception": replace_source("value", "2 + 2\nraise ValueError('planted')"),
    "an output too many": replace_source("numbers", SMALL["numbers"] + "\n7"),
}


def wrong_number_in_a_real_lecture() -> nbformat.NotebookNode:
    """The first cells of lecture 1, where the stored slope 14.3000 now reads 14.4000."""
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    notebook.cells = notebook.cells[:7]
    output = next(o for c in notebook.cells for o in c.get("outputs", []) if "14.3000" in o.get("text", ""))
    output.text = output.text.replace("14.3000", "14.4000")
    return notebook


@pytest.fixture(scope="module")
def failures(tmp_path_factory) -> dict[str, int]:
    """How many cells of each planted notebook failed, from one run of nbval over all of them."""
    folder = tmp_path_factory.mktemp("planted")
    right = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in SMALL.values()])
    client(right).execute()
    for name, change in (HARMLESS | FAULTS).items():
        notebook = copy.deepcopy(right)
        change(dict(zip(SMALL, notebook.cells, strict=True)))
        nbformat.write(notebook, folder / f"{name}.ipynb")
    nbformat.write(wrong_number_in_a_real_lecture(), folder / "lecture.ipynb")
    run_nbval(folder)
    counts = dict.fromkeys([path.stem for path in folder.glob("*.ipynb")], 0)
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        counts[case.get("classname").removesuffix(".ipynb")] += case.find("failure") is not None
    return counts


def run_nbval(folder: Path) -> None:
    options = [
        "-p",
        "nbval_tolerance",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--nbval",
        "--nbval-current-env",
    ]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={folder}", "--junitxml=report.xml", "."]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout + run.stderr  # 1: tests ran and some failed, as they should


@pytest.mark.parametrize("name", HARMLESS)
def test_nbval_passes_what_is_right_up_to_one_unit_in_the_last_decimal(failures, name):
    assert failures[name] == 0


@pytest.mark.parametrize("name", FAULTS)
def test_nbval_fails_on_exactly_the_cell_with_the_planted_fault(failures, name):
    assert failures[name] == 1


def test_nbval_fails_on_a_wrong_number_in_a_real_lecture(failures):
    assert failures["lecture"] == 1


@pytest.mark.parametrize(
    ("new", "stored"),
    [
        ("a 1.25 b", "a 1.26 b"),
        ("9.9999", "10.0000"),
        (" 9.9999", "10.0000"),
        ("-0.00", "0.00"),
        ("1.0, 2.5", "1.1, 2.4"),
    ],
)
def test_numbers_one_unit_apart_are_taken_for_equal(new, stored):
    assert settle(new, stored) == stored


@pytest.mark.parametrize(
    ("new", "stored"),
    [
        ("1.25", "1.27"),
        ("1.25", "1.2"),
        ("12", "13"),
        ("1.2.3", "1.2.4"),  # a version
        ("v1.25", "v1.26"),  # part of a word
        ("1.25 x", "1.26 y"),
        ("1.25", "1.25 1.25"),
        ("nan", "1.25"),
        ("1.5e-05", "1.6e-05"),
    ],
)
def test_anything_else_stays_different(new, stored):
    assert settle(new, stored) == new
