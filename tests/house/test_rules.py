"""The house's rules: imports run downward and in no circle, folders stay small, the codec needs no pipeline."""

from __future__ import annotations

import ast
import graphlib
import re
import sys

import pytest

from tests.helpers.places import ROOT

# From the ground up, by the longest beginning of a module's path that is named here.
FLOORS = [
    {"nsc"},
    {"constants", "utilities"},
    {"lpc_utilities", "loss_terms_and_measures", "measures", "training.losses"},
    {"nn_core_operator", "neural_speech_coding_module", "cmrl", "kinds", "options"},
    {"corpus", "runs"},
    {"training", "evaluation", "export"},
    {"comparison"},
    {"main", "report", "scripts"},
]
APART = {"training", "evaluation", "export"}  # which do not import each other
MOST_FILES = 16  # 14 is the aim
MOST_ARGUMENTS = 6
# What users name by keyword as flags of the command, all of it optional, and the columns of the table of flags.
NAMED_BY_KEYWORD = {
    "nsc.api.encode",
    "nsc.coding.encoder.Encoder",
    "nsc.coding.packets.PacketEncoder",
    "options.option.option",
}
CODEC_NEEDS = {"numpy", "soundfile", "soxr", "constriction", "ai_edge_litert"}
OPTIONAL = {"nsc.call.devices": {"sounddevice"}, "nsc.call.protection": {"pylibsrtp"}}

FLOOR_OF = {name: height for height, floor in enumerate(FLOORS) for name in floor}
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
    if path.relative_to(ROOT).parts[0].removesuffix(".py") in FLOOR_OF
}


def floor_of(name: str) -> int:
    """The height of a module, -1 of what is not the project's."""
    parts = name.split(".")
    beginnings = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((FLOOR_OF[each] for each in beginnings if each in FLOOR_OF), -1)


def imports_of(nodes: list[ast.AST]) -> set[str]:
    """Every module that a file imports, at its top or later."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{each.name}" for each in node.names} | {node.module}
    return found


NODES = {name: list(ast.walk(ast.parse(path.read_text()))) for name, path in FILES.items()}
IMPORTS = {name: imports_of(nodes) for name, nodes in NODES.items()}


def first(name: str) -> str:
    return name.split(".")[0]


def test_every_module_has_its_floor() -> None:
    others = {"setup", "tests"}
    python = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.suffix == ".py"}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert (python | packages) - others == {first(name) for name in FLOOR_OF}


def test_imports_run_downward() -> None:
    upward = [
        f"{name} imports {each}"
        for name, imported in IMPORTS.items()
        for each in imported
        if floor_of(each) > floor_of(name)
    ]
    assert upward == []


def test_training_evaluation_and_export_stand_apart() -> None:
    across = [
        f"{name} imports {each}"
        for name, imported in IMPORTS.items()
        for each in imported
        if {first(name), first(each)} <= APART and first(name) != first(each)
    ]
    assert across == []


def test_no_imports_go_in_a_circle() -> None:
    # a package's face names its modules and is read before them
    graph = {
        name: {each for each in imported if each in FILES and FILES[each].name != "__init__.py"}
        for name, imported in IMPORTS.items()
    }
    faces = {name for name, path in FILES.items() if path.name == "__init__.py"}
    graphlib.TopologicalSorter({name: needs for name, needs in graph.items() if name not in faces}).prepare()


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in [*FILES.values(), *(ROOT / "tests").rglob("*.py")]}
    counts = {str(folder.relative_to(ROOT)): len([*folder.glob("*.py")]) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_every_public_method_is_documented_there_or_where_its_class_follows() -> None:
    methods = [
        (f"{each.name}.{method.name}", method)
        for nodes in NODES.values()
        for each in nodes
        if isinstance(each, ast.ClassDef)
        for method in each.body
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_")
    ]
    documented = {method.name for _, method in methods if ast.get_docstring(method)}
    assert [name for name, method in methods if method.name not in documented] == []


def arguments_of(module: str) -> dict[str, ast.arguments]:
    """What every function of a module takes, its classes by their constructors."""
    classes = [each for each in NODES[module] if isinstance(each, ast.ClassDef)]
    names = {child: f"{module}.{each.name}" for each in classes for child in each.body}
    functions = [each for each in NODES[module] if isinstance(each, ast.FunctionDef)]
    return {f"{names.get(each, module)}.{each.name}".removesuffix(".__init__"): each.args for each in functions}


def test_functions_take_few_arguments() -> None:
    taken = {
        name: [each.arg for each in (*found.args, *found.kwonlyargs) if each.arg not in ("self", "cls")]
        for module in FILES
        for name, found in arguments_of(module).items()
    }
    many = {name for name, arguments in taken.items() if len(arguments) > MOST_ARGUMENTS}
    assert many == NAMED_BY_KEYWORD


def test_no_two_test_modules_have_one_name() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == [], "pytest cannot collect both"


def test_no_file_changes_where_modules_are_found() -> None:
    files = [*FILES.values(), *(ROOT / "tests").rglob("*.py")]
    assert [str(path) for path in files if "sys.path" + ".insert" in path.read_text()] == []


@pytest.mark.parametrize("name", sorted(name for name in FILES if first(name) == "nsc"))
def test_the_codec_needs_little(name: str) -> None:
    foreign = {first(each) for each in IMPORTS[name]} - set(sys.stdlib_module_names) - CODEC_NEEDS - {"nsc"}
    assert foreign == OPTIONAL.get(name, set())


def test_kinds_of_networks_are_told_apart_by_folders_with_files_of_the_same_names() -> None:
    kinds = [{path.name for path in (ROOT / "kinds" / kind).glob("[a-z]*.py")} for kind in ("samples", "spectral")]
    document = (ROOT / "docs" / "architecture.md").read_text()
    listed = document.split("## Two kinds, the same names\n\n")[1].split("\n\n")[0]
    assert set.intersection(*kinds) == {f"{name}.py" for name in re.findall(r"(\w+)\.py", listed)}


def test_no_file_has_a_twin_that_a_kind_s_name_tells_apart() -> None:
    names = {(path.parent, path.name) for path in FILES.values()}
    twins = [
        str(folder / name)
        for folder, name in names
        for kind in ("samples_", "sample_", "spectral_")
        if kind in name and (folder, name.replace(kind, "")) in names
    ]
    assert twins == []
