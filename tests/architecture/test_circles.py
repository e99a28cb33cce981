"""No module imports, through others or itself, the one that imports it: neither at its top nor inside a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "blender_scripts", "rodin_models", "cluster", "benchmarks")

Graph = dict[str, set[str]]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Modules of ours that a source names in its imports, wherever they stand; ``from a import b`` may name two."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            assert node.module is not None
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            yield from inside
            # A package's own names are asked for only where something else than a module of it is taken.
            if node.module in modules and len(inside) < len(node.names):
                yield node.module


def import_graph() -> Graph:
    sources = {module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}
    return {
        name: set(imported(ast.parse(path.read_text(encoding="utf-8")), set(sources))) - {name}
        for name, path in sources.items()
    }


def circles(graph: Graph) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def test_no_import_makes_a_circle() -> None:
    graph = import_graph()
    assert {name.split(".")[0] for name, others in graph.items() if others} == set(PACKAGES)
    found = circles(graph)
    assert not found, "; ".join(" <-> ".join(component) for component in found)


def test_circles_are_found_and_nothing_else_is() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}, "f": {"g"}, "g": {"h"}, "h": {"f"}}
    assert circles(graph) == [["b", "c"], ["f", "g", "h"]]


def test_imports_inside_functions_and_under_conditions_count() -> None:
    source = (
        "import a.b\ndef f():\n    from a import c\nif 1:\n    from a.d import name\nfrom a import other\nimport os\n"
    )
    assert set(imported(ast.parse(source), {"a", "a.b", "a.c", "a.d"})) == {"a", "a.b", "a.c", "a.d"}
