"""The import rules of the house: who may know whom, and who may print."""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from places import ROOT


def _linked(path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents)


EVERYWHERE = {"errors", "display", "spelling"}  # which know nothing of the rest
# A folder may import these folders' modules (and itself, and those).
ALLOWED = {
    "runtime": {"runtime"},
    "converter": {"converter", "runtime"},
    "hwtargets": {"hwtargets", "runtime"},
}
# Not the links in onnx2snn, which lead to the folders beside it.
SOURCES = {
    folder: sorted(path for path in (ROOT / folder).rglob("*.py") if not _linked(path))
    for folder in ("runtime", "converter", "hwtargets", "onnx2snn")
}


def _package(path: Path) -> list[str]:
    folders = list(path.relative_to(ROOT).parts[:-1])
    return folders if folders[0] == "onnx2snn" else ["onnx2snn", *folders]


def _module(path: Path) -> list[str]:
    return _package(path) + ([] if path.stem == "__init__" else [path.stem])


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def absolute_imports(path: Path) -> list[str]:
    """Every module a file imports, by its full name."""
    parts = _package(path)
    found = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("folder", list(ALLOWED))
def test_folders_import_only_what_lies_below_them(folder: str) -> None:
    for path in SOURCES[folder]:
        for name in absolute_imports(path):
            if not name.startswith("onnx2snn."):
                continue
            target = name.split(".")[1]
            assert target in EVERYWHERE | ALLOWED[folder], f"{path}: imports {name}"


def test_only_the_frontend_and_the_converted_file_import_onnx() -> None:
    for paths in SOURCES.values():
        for path in paths:
            relative = path.relative_to(ROOT).as_posix()
            if relative.startswith(
                ("converter/frontend/", "runtime/file/", "runtime/engine/fast/products/")
            ):
                continue
            for name in absolute_imports(path):
                assert name.split(".")[0] not in ("onnx", "onnxscript", "onnx_ir"), path


def test_onnx_runtime_is_imported_in_one_place() -> None:
    """The one that turns its telemetry off first (``runtime/onnx_runtime.py``)."""
    scripts = [*(ROOT / "models").glob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for path in [*scripts, *(path for paths in SOURCES.values() for path in paths)]:
        names = {name.split(".")[0] for name in absolute_imports(path)}
        is_home = path == ROOT / "runtime" / "onnx_runtime.py"
        assert ("onnxruntime" in names) == is_home, path


def test_only_the_command_line_prints_and_imports_click() -> None:
    for paths in SOURCES.values():
        for path in paths:
            if path.relative_to(ROOT).as_posix().startswith("onnx2snn/cli/"):
                if path.name != "terminal.py":  # where hidden characters are escaped
                    assert_prints_nothing(path)
                continue
            assert "click" not in {n.split(".")[0] for n in absolute_imports(path)}, path
            assert_prints_nothing(path)


def assert_prints_nothing(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            printing = ("print", "click.echo", "click.secho")
            assert called not in printing, f"{path}:{node.lineno} prints"
            assert not called.startswith(("sys.stdout.write", "sys.stderr.write")), path


def test_the_engine_has_two_doors() -> None:
    """Outside it only the names in ``runtime/engine/__init__.py`` are known, and those of networks
    in PyTorch, which are exported and trained too, in ``runtime/engine/torch/__init__.py``."""
    for paths in SOURCES.values():
        for path in paths:
            if path.is_relative_to(ROOT / "runtime" / "engine"):
                continue
            for name in absolute_imports(path):
                if name.startswith("onnx2snn.runtime.engine."):
                    door = 4 if name.startswith("onnx2snn.runtime.engine.torch.") else 3
                    assert name.count(".") == door, f"{path}: imports {name}"


def test_no_module_imports_itself_in_a_circle() -> None:
    """Imports inside functions included."""
    modules = {".".join(_module(path)): path for paths in SOURCES.values() for path in paths}
    imports = {
        module: {
            known
            for name in absolute_imports(path)
            if (known := name if name in modules else name.rpartition(".")[0]) in modules
        }
        for module, path in modules.items()
    }
    while leaves := [module for module, known in imports.items() if not known]:
        for module in leaves:
            del imports[module]
        for known in imports.values():
            known.difference_update(leaves)
    assert not imports


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_what_benchmarks_import_is_there(path: Path) -> None:
    """They run rarely, and a module that moved would be missed by then."""
    for node in parsed(path).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("onnx2snn"):
            home = import_module(str(node.module))
            for name in node.names:
                part = f"{node.module}.{name.name}"
                assert hasattr(home, name.name) or import_module(part), part
