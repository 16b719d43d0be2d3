"""One noun, four places; short files; and no target that does not exist."""

import ast
import re
from pathlib import Path

import pytest
from hydra.utils import get_object
from mutant import all_mutants, mutants_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "g2rpo"
LIMITS = {
    ".": (300, 60),
    "src": (300, 60),
    "tests": (530, 80),
    "perf": (400, 80),
    "docs": (300, 60),
}
"""Most lines of a Python file, and of a function, by folder; `.` is the top of the repository."""
YAML = sorted(p for top in ("conf", "sweeps") for p in (ROOT / top).rglob("*.yaml"))
ONE_NOUN = {
    "advantage": "algorithm/advantage",
    "loss": "algorithm/loss",
    "reward": "reward",
    "benchmark": "benchmark",
    "rows": "benchmark/rows",
}
"""Groups in which `conf/<noun>/<x>.yaml` builds an object of `src/g2rpo/<folder>/<x>.py`."""
NAMES = sorted(
    (noun, file.stem) for noun in ONE_NOUN for file in (ROOT / "conf" / noun).glob("[!_]*.yaml")
)
MODULES = sorted(
    file.relative_to(PACKAGE).as_posix()
    for folder in (*ONE_NOUN.values(), "algorithm/shaping", "scoring")
    for file in (PACKAGE / folder).glob("*.py")
    if file.name != "__init__.py"
)


def _targets(file: Path) -> list[str]:
    return re.findall(r"^[^#\n]*_target_:\s*([\w.]+)", file.read_text(), flags=re.M)


@pytest.mark.parametrize("target", sorted({target for file in YAML for target in _targets(file)}))
def test_a_target_exists(target: str) -> None:
    assert callable(get_object(target))


@pytest.mark.parametrize(("noun", "name"), NAMES)
def test_a_choice_builds_what_the_module_of_its_name_defines(noun: str, name: str) -> None:
    assert _targets(ROOT / "conf" / noun / f"{name}.yaml")[0].rpartition(".")[0] == (
        f"g2rpo.{ONE_NOUN[noun].replace('/', '.')}.{name}"
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_module_of_the_mathematics_has_a_test_of_its_name(module: str) -> None:
    folder, _, name = module.removesuffix(".py").rpartition("/")
    inner = re.compile(
        rf"from g2rpo\.{folder.replace('/', '.')}(\.{name} import| import .*\b{name}\b)"
    )
    # An inner part is tested through the siblings that use it; a module may be tested in several
    # files: test_entropy_trained.py.
    by_siblings = any(inner.search(f.read_text()) for f in (PACKAGE / folder).glob("*.py"))
    assert by_siblings or list((ROOT / "tests" / folder).glob(f"test_{name}*.py"))


def test_tests_mirror_the_package() -> None:
    folders = [
        folder.relative_to(ROOT / "tests")
        for folder in (ROOT / "tests").rglob("*")
        if any(folder.glob("test_*.py"))
    ]
    assert [
        str(folder)
        for folder in folders
        if not (PACKAGE / folder).is_dir() and not (PACKAGE / folder).with_suffix(".py").is_file()
    ] == []


@pytest.mark.parametrize("top", LIMITS)
def test_python_files_and_functions_are_short(top: str) -> None:
    most_lines, most_function_lines = LIMITS[top]
    files = ROOT.glob("*.py") if top == "." else (ROOT / top).rglob("*.py")
    long = []
    for file in sorted(files):
        name, source = file.relative_to(ROOT).as_posix(), file.read_text()
        if (lines := len(source.splitlines())) > most_lines:
            long.append(f"{name} has {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > most_function_lines:
                    long.append(f"{name}: {node.name} has {lines} lines")
    assert long == []


def test_yaml_files_have_at_most_40_lines_and_the_readme_150() -> None:
    limits = dict.fromkeys(YAML, 40) | {ROOT / "README.md": 150}
    assert [
        str(file.relative_to(ROOT))
        for file, limit in limits.items()
        if len(file.read_text().splitlines()) > limit
    ] == []


def test_what_ships_in_the_package_is_small() -> None:
    # the cold-started checkpoint is the only large thing: at most 8 MB
    size = sum(
        file.stat().st_size
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )
    assert size <= 9_000_000
    assert sum(file.stat().st_size for file in (PACKAGE / "policy").glob("tiny*/*")) <= 8_000_000


def test_there_is_no_drawer_for_everything() -> None:
    assert [
        p.name
        for p in PACKAGE.rglob("*")
        if re.fullmatch(r"(utils?|helpers?|misc|common|registry)(\.py)?", p.name)
    ] == []


def test_every_mutant_matches_its_file_exactly_once() -> None:
    # A mutant that does not match proves nothing, and planting all of them takes too long for CI.
    stale = []
    for mutant in all_mutants():
        try:
            mutant.planted((PACKAGE / mutant.file).read_text())
        except ValueError as error:
            stale.append(f"{mutant.name}: {error}")
    assert stale == []


def test_mutants_have_names_of_their_own_and_lie_beside_the_tests_of_what_they_break() -> None:
    names = [mutant.name for mutant in all_mutants()]
    assert sorted(names) == sorted(set(names))
    for path in (ROOT / "tests").rglob("mutants*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        assert [m.name for m in mutants_of(path) if Path(m.file).parent != folder] == []


def test_every_mutant_names_tests_that_exist() -> None:
    tests = {name.partition("::")[0] for mutant in all_mutants() for name in mutant.tests.split()}
    assert [name for name in sorted(tests) if not (ROOT / "tests" / name).exists()] == []


def test_a_module_name_stands_for_one_thing_in_all_rooms() -> None:
    rooms: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("[!_]*.py"):
        rooms.setdefault(file.stem, set()).add(file.relative_to(PACKAGE).parts[0])
    # A benchmark and its official scoring share the benchmark's name.
    allowed = {"mathvision", "mmmu", "table"}
    assert {name for name, found in rooms.items() if len(found) > 1} <= allowed
