"""Places of functions: files and packages, and what is said where one is missing or broken."""

import functools
from pathlib import Path

import pytest

from g2rpo.reward.function_place import function_at


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file, its neighbor and a package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "brief_rewards.py").write_text(
        "from neighbor_of_rewards import FACTOR\nfrom pathlib import Path\n\n\n"
        "def brevity(completion, answer):\n    return FACTOR\n\n\n"
        "class Strict:\n    def __init__(self, level): ...\n"
    )
    (tmp_path / "neighbor_of_rewards.py").write_text("FACTOR = 7\n")
    (tmp_path / "pkg_of_rewards").mkdir()
    (tmp_path / "pkg_of_rewards" / "judges.py").write_text("def judge(completion, answer): ...\n")
    return tmp_path


def test_a_file_may_import_its_neighbor_and_is_run_once(here: Path) -> None:
    function = function_at("brief_rewards.py:brevity")
    assert function("a", "b") == 7
    assert function_at(str(here / "brief_rewards.py") + ":brevity") is function


def test_a_package_in_the_current_folder_is_found(here: Path) -> None:
    assert function_at("pkg_of_rewards.judges:judge").__module__ == "pkg_of_rewards.judges"
    assert function_at("functools:reduce") is functools.reduce


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("brief_rewards.py", r"expected file\.py:name or package\.module:name, got 'brief_rewards"),
        ("brief_reward.py:brevity", r"no such file: brief_reward\.py; is it brief_rewards\.py\?"),
        ("far/x.py:brevity", r"no such file: far/x\.py; paths are relative to /"),
        ("brief_rewards.py:brevety", r"brief_rewards\.py has no 'brevety'; is it 'brevity'\?"),
        ("brief_rewards.py:xyz", "has no 'xyz'; it has brevity, Strict$"),
        ("brief_rewards.py:Strict", r"is a class and cannot be built without arguments \(TypeErr"),
        ("no_such_package.x:f", "there is no module 'no_such_package', neither installed nor in /"),
        ("pkg_of_rewards.jugdes:f", r"there is no module 'pkg_of_rewards\.jugdes'"),
    ],
)
def test_what_is_missing_is_said(here: Path, place: str, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^reward\.functions: .*{words}"):
        function_at(place)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef f(:\n", r"spoilt\.py, line 2: invalid syntax"),
        ("\n\nimport no_such_library\n", r"spoilt\.py, line 3: ModuleNotFoundError: No module"),
        ("def f(): ...\nf(1)\n", r"spoilt\.py, line 2: TypeError: f\(\) takes 0"),
    ],
)
def test_a_broken_file_is_named_with_its_line(here: Path, text: str, words: str) -> None:
    (here / "spoilt.py").write_text(text)
    with pytest.raises(ValueError, match=rf"^reward\.functions: spoilt\.py:f: .*{words}"):
        function_at("spoilt.py:f")
    (here / "spoilt.py").write_text("def f(completion, answer):\n    return 1\n")
    assert function_at("spoilt.py:f")("a", "b") == 1


def test_a_broken_package_is_named_with_its_line(here: Path) -> None:
    (here / "pkg_of_rewards" / "broken.py").write_text("import no_such_library\n")
    with pytest.raises(ValueError, match=r"broken\.py, line 1: ModuleNotFoundError"):
        function_at("pkg_of_rewards.broken:f")
