"""How the package is built: arrows point down only, every module can be imported by itself and says what it offers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import nnhelpers

PACKAGE = Path(nnhelpers.__file__).parent

# From the ground up. A module imports from lower floors alone; modules of one floor do not know each other. In a
# subpackage the rooms stand in an order of their own: each imports from those before it.
FLOORS = [
    {"contracts", "terminal"},
    {"files", "data"},
    {"characters", "micrograd", "ngram", "layers", "backprop", "gpt", "wavenet", "bpe", "optim"},
    {"batches", "mlp"},
    {"evaluation"},
    {"sampling", "fit", "diagnosis"},
    {"monitor", "huggingface", "models"},
    {"train", "course"},
]
ROOMS = {
    "bpe": ["splitting", "merging", "learning", "formats", "tokenizer", "__main__"],
    "huggingface": ["families", "folders", "models", "tokenizer", "__main__"],
    "train": ["checkpoint", "settings", "loading", "prepare", "precision", "processes", "run", "__main__"],
}
MODELS = {"micrograd", "ngram", "mlp", "backprop", "wavenet", "gpt", "bpe"}
WITHOUT_TORCH = [
    "micrograd",
    "ngram",
    "bpe",
    "data",
    "characters",
    "files",
    "terminal",
    "contracts",
    "course.checks",
    "course.progress",
]


def module_name(path: Path) -> str:
    """ "" for the package itself, "gpt", "train.run"; a subpackage's __init__ is the subpackage."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py") if "corpora" not in path.parts}


class WithoutTypeChecking(ast.NodeTransformer):
    """Drops what stands under `if TYPE_CHECKING`, which never runs."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)


def imports(source: str, package: str, known: set[str], for_types: bool = True) -> set[str]:
    """The modules of this package that a source imports, inside functions too; `package` is where it stands.

    Without `for_types` only what is imported when the code runs.
    """
    here = package.split(".") if package else []
    tree = ast.parse(source)
    found = set()
    for node in ast.walk(tree if for_types else WithoutTypeChecking().visit(tree)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found |= {name.removeprefix("nnhelpers.") for name in names if name.startswith("nnhelpers.")}
        if isinstance(node, ast.ImportFrom):
            inside = (node.module or "").split(".")
            if node.level:
                base = here[: len(here) - (node.level - 1)] + [part for part in inside if part]
            elif inside[0] == "nnhelpers":
                base = inside[1:]
            else:
                continue
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                found.add(whole if whole in known else ".".join(base))
    return found


def imports_of(module: str, for_types: bool = True) -> set[str]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return imports(path.read_text(encoding="utf-8"), package, set(MODULES), for_types) - {module}


def floor(module: str) -> int:
    (level,) = [i for i, names in enumerate(FLOORS) if module.split(".")[0] in names]
    return level


def test_every_module_has_its_floor():
    assert {name.split(".")[0] for name in MODULES if name} == set().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(set().union(*FLOORS))


def test_the_rooms_of_a_subpackage_are_all_there():
    for package, rooms in ROOMS.items():
        found = {name.partition(".")[2] for name in MODULES if name.startswith(f"{package}.")}
        assert found == set(rooms)


@pytest.mark.parametrize("module", sorted(set(MODULES) - {""}))
def test_arrows_point_down_only(module):
    for other in imports_of(module):
        top, room = [*other.split("."), ""][:2]
        if top != module.split(".")[0]:
            assert floor(other) < floor(module), f"{module} imports {other}"
        elif top in ROOMS and "." in module:
            order = ROOMS[top]
            assert order.index(room) < order.index(module.split(".")[1]), f"{module} imports {other}"


def test_no_module_imports_itself_by_way_of_others():
    below = {name: imports_of(name, for_types=False) for name in MODULES}
    while leaves := [name for name, others in below.items() if not others]:
        for name in leaves:
            del below[name]
        for others in below.values():
            others -= set(leaves)
    assert below == {}


def test_a_model_imports_no_other_model():
    for model in MODELS:
        known = {name.split(".")[0] for name in imports_of(model)}
        assert known & MODELS <= {model}


@pytest.mark.parametrize("package", ["", "train"])
def test_imports_are_found_however_they_are_written(package):
    source = "import nnhelpers.gpt\nfrom nnhelpers import bpe\nfrom nnhelpers.mlp import X\nimport torch\n"
    known = {"gpt", "bpe", "mlp", "data", "train.run", "train"}
    assert imports(source, package, known) == {"gpt", "bpe", "mlp"}
    assert imports("def f():\n    from .run import x\n    from ..data import y", "train", known) == {
        "train.run",
        "data",
    }
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nnhelpers import bpe\n"
    assert imports(typed, package, known) == {"bpe"}
    assert imports(typed, package, known, for_types=False) == set()


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_nothing_and_attribute_access_loads_a_module():
    code = "import sys, nnhelpers; print([m for m in ('torch', 'matplotlib', 'numpy') if m in sys.modules]); "
    assert run(code + "print(nnhelpers.micrograd.Value(2.0) * 3)").splitlines() == [
        "[]",
        "Value(data=6, grad=0)",
    ]
    with pytest.raises(AttributeError, match="no attribute 'notebook'"):
        nnhelpers.notebook  # noqa: B018


def test_the_list_of_public_modules_is_that_of_the_files():
    assert sorted(nnhelpers.__all__) == sorted({name.split(".")[0] for name in MODULES if name})


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_what_promises_to_run_without_torch_does_not_import_it(module):
    code = f"import sys; sys.modules['torch'] = None; import nnhelpers.{module}; print('matplotlib' in sys.modules)"
    assert run(code) == "False\n"


def test_type_hints_are_promised_to_those_who_install_the_package():
    assert (PACKAGE / "py.typed").is_file()
