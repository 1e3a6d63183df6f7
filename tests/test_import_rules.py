"""The import rules of the house: who may know whom, and who may print."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# A folder may import these folders' modules (and itself, and errors).
ALLOWED = {
    "runtime": {"runtime"},
    "converter": {"converter", "runtime"},
    "hwtargets": {"hwtargets", "runtime"},
}
EVERYWHERE = {"errors", "display"}  # which know nothing of the rest
SOURCES = {
    folder: sorted((ROOT / folder).rglob("*.py"))
    for folder in ("runtime", "converter", "hwtargets")
}
# Not the links beside them, which lead to the folders above.
SOURCES["onnx2snn"] = sorted(
    [*(ROOT / "onnx2snn").glob("*.py"), *(ROOT / "onnx2snn" / "cli").glob("*.py")]
)


def absolute_imports(path: Path) -> list[str]:
    """Every module a file imports, by its full name."""
    folders = list(path.relative_to(ROOT).parts[:-1])
    parts = folders if folders[0] == "onnx2snn" else ["onnx2snn", *folders]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
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
            if relative.startswith(("converter/frontend/", "converter/onnxfile/")):
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
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            printing = ("print", "click.echo", "click.secho")
            assert called not in printing, f"{path}:{node.lineno} prints"
            assert not called.startswith(("sys.stdout.write", "sys.stderr.write")), path
