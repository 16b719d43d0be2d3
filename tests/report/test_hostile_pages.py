"""Every page, with an attack in all texts that come from data, models, judges or settings: nothing
of it becomes an element, and nothing runs in Chromium.
"""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from benchmark.evaluation.test_table import found
from PIL import Image
from report.conftest import fabricate
from report.sweep.conftest import fabricate as fabricate_sweep
from report.test_preview import Always, Listed

from g2rpo.benchmark.evaluation.table import html_text
from g2rpo.data.gym.source import TASKS
from g2rpo.data.mixture import TaskMix
from g2rpo.data.stream import PromptStream
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.records import Prompt
from g2rpo.report.preview import Preview
from g2rpo.report.run_page import write_report
from g2rpo.report.side_by_side import write_comparison
from g2rpo.report.sweep.write import write_sweep_report

RUNS = "document.title='OWNED';document.documentElement.id='owned'"
ATTACK = (
    f"</script><script>{RUNS}</script></title></style></textarea></template><svg onload={RUNS}>"
    f'<img src=x onerror={RUNS}>"\'`> onmouseover={RUNS} autofocus onfocus={RUNS} x="<a'
    f' href="javascript:{RUNS}">go</a><iframe srcdoc="<script>parent.{RUNS}</script>"></iframe>'
    f"<base href=//example.org><meta http-equiv=refresh content=0;url=//example.org><!-- --> ]]>"
    "\u2028\u2029${7*7}{{ 7 * 7 }}{% raw %}<%= 7*7 %>\\u003cscript\\u003e&#60;script&#62;"
    "<link rel=stylesheet href=//example.org/x.css><form action=//example.org><button>"
)
NAMED = {"versions", "benchmarks", "stage_s", "parts"}
"""Objects whose keys are free text too."""
PAGES = ("report.html", "compare.html", "sweep.html", "preview.html", "table.html")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
ELEMENTS = {"iframe", "object", "embed", "base", "link", "template", "textarea"}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A folder with one page of each kind, with the attack in all their texts."""
    out = tmp_path_factory.mktemp("pages")
    run, sweep = out / "run<b>", out / "sweep"
    fabricate(run)
    for file in run.rglob("*"):
        _attack(file)
    shutil.copy(write_report(run), out / "report.html")
    write_comparison([run, Path(shutil.copytree(run, out / "again"))], out / "compare.html")
    fabricate_sweep(sweep)
    for job in [path for path in sweep.iterdir() if path.is_dir()]:
        for file in job.rglob("*"):
            _attack(file)
        (job / "report.html").write_text("")
        if job.name.endswith("seed=1"):
            (job / "summary.json").unlink()
            (job / "error.txt").write_text(f"Traceback\nRuntimeError: {ATTACK}\n")
    _attack_plan(sweep)
    shutil.copy(write_sweep_report(sweep), out / "sweep.html")
    shutil.copy(_preview(out / "preview", tiny_folder), out / "preview.html")
    entry = found(_hostile("math"), 0.1, subscores={ATTACK: {"score": 0.1, "groups": 3}})
    (out / "table.html").write_text(html_text({ATTACK: {**entry, "protocol": ATTACK}}))
    return out


@pytest.mark.parametrize("name", PAGES)
def test_no_text_becomes_an_element(name: str, pages: Path) -> None:
    html = (pages / name).read_text()
    seen = _Seen()
    seen.feed(html)
    assert seen.title.count("OWNED") in (0, 1)  # as text of a title at most
    assert not ELEMENTS & set(seen.tags)
    assert seen.handlers == []
    assert [link for link in seen.links if not link.startswith(("#", "./", "data:image/"))] == []
    (policy,) = seen.policies
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    scripts = policy.partition("script-src")[2].partition(";")[0]
    assert all(word.startswith("'sha256-") for word in scripts.split())
    assert html.count("OWNED") >= 3


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
def test_chromium_runs_an_attack_that_is_not_escaped(tmp_path: Path) -> None:
    page = tmp_path / "control.html"
    page.write_text(f'<!doctype html><title>plain</title><body><svg onload="{RUNS}">')
    dom, _ = _opened(page, tmp_path)
    assert "<title>OWNED" in dom


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
@pytest.mark.parametrize("name", PAGES)
def test_nothing_runs_in_chromium_and_the_console_is_empty(
    name: str, pages: Path, tmp_path: Path
) -> None:
    dom, console = _opened(pages / name, tmp_path)
    assert console == []
    seen = _Seen()
    seen.feed(dom)
    assert 'id="owned"' not in dom[:2000]
    assert seen.title.strip() != "OWNED"
    assert not ELEMENTS & set(seen.tags)
    assert seen.handlers == []
    assert [link for link in seen.links if link.lower().startswith("javascript")] == []
    if 'class="plot' in dom:
        assert "main-svg" in dom  # the figures were drawn


class _Seen(HTMLParser):
    """Collects tags, handlers, links and content policies of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.policies: list[str] = []
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.handlers += [f"{tag} {name}" for name in named if name.startswith("on")]
        self.links += [
            str(named[name]) for name in ("href", "src", "xlink:href", "action") if name in named
        ]
        if tag == "meta" and "http-equiv" in named:
            assert named["http-equiv"] == "Content-Security-Policy"
            self.policies.append(str(named["content"]))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "title" and not self.title:
            self.title = data


def _opened(page: Path, folder: Path) -> tuple[str, list[str]]:
    """The page as Chromium has it after its scripts have run, and what the console says."""
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=9000",
            "--window-size=1400,40000", "--enable-logging=stderr", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def _hostile(task: str) -> str:
    """A name that a task may have: printable characters."""
    return f'{task}</script><img src=x onerror="{RUNS}">{{{{ 7 * 7 }}}}'


def _attack(file: Path) -> None:
    """Put the attack into all texts of a file of a run."""
    if file.suffix in (".json", ".yaml"):
        text = json.dumps(_poisoned(_read(file)), ensure_ascii=False)
        # in a configuration, this would be a reference to another key
        file.write_text(text.replace("${", "$ {") if file.suffix == ".yaml" else text)
    elif file.suffix == ".jsonl":
        lines = [json.dumps(_poisoned(json.loads(x))) for x in file.read_text().splitlines()[:200]]
        file.write_text("\n".join(lines) + "\n")
    elif file.suffix == ".csv":
        with file.open(newline="") as opened:
            header, *rows = csv.reader(opened)
        tasks = "|".join(TASKS)
        header = [re.sub(rf"/({tasks})$", lambda m: f"/{_hostile(m[1])}", name) for name in header]
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows([header, *rows])


def _read(file: Path) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(OmegaConf.load(file), resolve=False)


def _attack_plan(sweep: Path) -> None:
    plan = json.loads((sweep / "sweep.json").read_text())
    plan["command"] += ATTACK
    for job in plan["jobs"].values():
        job["overrides"] = [f"{word}{ATTACK}" for word in job["overrides"]]
        job["values"] = {name: f"{value}{ATTACK}" for name, value in job["values"].items()}
    (sweep / "sweep.json").write_text(json.dumps(plan))


def _poisoned(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        free = ATTACK if name in NAMED else ""
        return {
            _hostile(key) if key in TASKS else f"{key}{free}": _poisoned(inner, str(key))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_poisoned(inner, name) for inner in value]
    if not isinstance(value, str) or name in ("status", "config_hash"):
        return value
    return _hostile(value) if value in TASKS else value + ATTACK


def _preview(folder: Path, tiny: Path) -> Path:
    task = _hostile("math")
    prompts = [
        Prompt(
            id=ATTACK, task=task, text=ATTACK, images=images, answer=ATTACK, answer_type=kind,
            source=ATTACK, meta={"file": ATTACK, "line": 1, "warning": ATTACK}, system=ATTACK,
            history=(("user", ATTACK), ("assistant", ATTACK)),
        )
        for images, kind in (((ATTACK,), ATTACK), ((Image.new("RGB", (32, 32)),), "open ended"))
    ]  # fmt: skip
    source = Listed(prompts)
    source.skips.records.append(ATTACK)
    source.skips.unusable_prompts[task] += 1
    return Preview(prompts=2).write(
        folder,
        source=source,
        tasks=[task],
        next_of=PromptStream(source=source, mix=TaskMix(weights={task: 1.0}), seed=0).next_of,
        seed=0,
        encoder=Checkpoint(path=str(tiny)).encoder(),
        reward=Always(),
    )
