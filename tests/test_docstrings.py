"""Every public function and class says what it is, and the shape of the tensors that pass it.

ruff's rules D101 to D103 ask for the docstrings as well; this test counts them and adds the shapes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "g2rpo"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
WITHOUT_SHAPE = re.compile(r"(?:torch\.)?Tensor(?: \| None)?")
SAYS_SHAPE = re.compile(r"\bshapes?\b|\bscalar\b|\[[^\]]+\]")


def _public(body: list[ast.stmt], name: str) -> Iterator[tuple[str, Definition]]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield f"{name}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{name}.{node.name}")


DEFINITIONS = [
    found
    for file in sorted(PACKAGE.rglob("*.py"))
    for found in _public(ast.parse(file.read_text()).body, str(file.relative_to(PACKAGE)))
]


def _bare_tensors(node: Definition) -> bool:
    """Whether an argument or a result is a tensor whose type names no shape."""
    if isinstance(node, ast.ClassDef):
        return False
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    types = [argument.annotation for argument in arguments] + [node.returns]
    return any(kind and WITHOUT_SHAPE.fullmatch(ast.unparse(kind)) for kind in types)


def test_every_public_definition_has_a_docstring() -> None:
    assert len(DEFINITIONS) > 1500
    assert [name for name, node in DEFINITIONS if not ast.get_docstring(node)] == []


def test_a_tensor_without_a_shape_in_its_type_has_it_in_the_docstring() -> None:
    bare = [
        (name, ast.get_docstring(node) or "") for name, node in DEFINITIONS if _bare_tensors(node)
    ]
    assert len(bare) > 10
    assert [name for name, text in bare if not SAYS_SHAPE.search(text)] == []
