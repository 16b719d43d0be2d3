"""Pages of the site that are made and not written, and links that leave `docs/`.

mkdocs calls the functions `on_*`. Made are the reference of the configuration, of the metrics and
of the API, and pages for CONTRIBUTING.md, CHANGELOG.md and the notebooks.
"""

import html
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from config_keys import CONF, ROOT, Choice, Key, choices, groups
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebooks import notebook_page

from g2rpo.metric_table import METRICS

PACKAGE = ROOT / "src" / "g2rpo"
TOP = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages at the top of the repository, with their names on the site."""
MADE = {
    "src/g2rpo/metric_table.py": "reference/metrics.md",
    "conf": "reference/configuration/index.md",
}
"""Pages that show a file or a folder of the repository."""
PROGRAMS = "The programs"
_CODE = re.compile(r"(<code[^>]*>)(.*?)</code>", re.S)
_LINK = re.compile(r"(\]\()([^)\s#]+)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation, under `Reference`."""
    reference: list[Any] = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference.append({"Configuration": [f"reference/configuration/{_page(g)}" for g in _groups()]})
    reference.append({"API": list(_api_nav())})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and the files of the repository that pages link to."""
    made = {f"reference/configuration/{_page(group)}": group_page(group) for group in _groups()}
    made["reference/metrics.md"] = metrics_page()
    made |= {_api_file(module): _api_page(module) for module in _modules()}
    made |= {name: _moved((ROOT / top).read_text(), "", name) for top, name in TOP.items()}
    for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
        folder = notebook.parent.relative_to(ROOT / "docs")
        made[f"{folder / notebook.stem}.md"], pictures = notebook_page(notebook)
        for name, picture in pictures.items():
            files.append(File.generated(config, f"{folder / name}", content=picture))
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    texts = [file.content_string for file in files.documentation_pages()]
    for path in sorted({found for text in texts for found in _linked_files(text)}):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links into the repository into links to pages and files of the site."""
    uri = page.file.src_uri
    return _moved(markdown, posixpath.join("docs", posixpath.dirname(uri)), uri)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let code in table cells break after a word and `.`, `/`, `_` or `=`, and nowhere else."""
    return re.sub(r"<td\b.*?</td>", lambda cell: _CODE.sub(_breakable, cell[0]), html, flags=re.S)


def _breakable(code: re.Match[str]) -> str:
    parts = re.split(r"(<[^>]*>)", code[2])
    parts[::2] = [re.sub(r"(?<=[a-zA-Z])([./=_])(?=\w)", r"\1<wbr>", part) for part in parts[::2]]
    return f"{code[1]}{''.join(parts)}</code>" if "<wbr>" not in code[2] else code[0]


def _moved(text: str, folder: str, uri: str) -> str:
    """Rewrite the links of a text in `folder` of the repository that becomes the page `uri`."""

    def target(found: re.Match[str]) -> str:
        if "://" in found[2] or found[2].startswith("mailto:"):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, found[2]))
        to = _site_uri(path)
        return found[0] if to is None else found[1] + posixpath.relpath(to, posixpath.dirname(uri))

    return _LINK.sub(target, text)


def _site_uri(path: str) -> str | None:
    """Return where a file of the repository is on the site; None if it is no such file."""
    shown = TOP | MADE
    if path in shown:
        return shown[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/").replace(".ipynb", ".md")
    if path.startswith("src/g2rpo/") and (ROOT / path / "__init__.py").is_file():
        return _api_file(f"{path}/__init__.py")
    if path.startswith("src/g2rpo/") and path.endswith(".py"):
        return _api_file(path)
    return f"files/{path}" if (ROOT / path).is_file() else None


def _linked_files(text: str) -> Iterator[str]:
    for _, link in _LINK.findall(text):
        path = re.sub(r"^(\.\./)+", "", link)
        if (_site_uri(path) or "").startswith("files/") and "://" not in link:
            yield path


# configuration


def _groups() -> list[str]:
    return [".", *groups()]


def _page(group: str) -> str:
    return "index.md" if group == "." else f"{group.replace('/', '-')}.md"


def group_page(group: str) -> str:
    """Return the page of a group: a table of keys for each choice, and the files below."""
    found = choices(group)
    title = PROGRAMS if group == "." else group
    files = list(dict.fromkeys(file for choice in found for file in choice.files))
    lines = [f"# {title}", "", _usage(group), ""]
    for choice in found:
        lines += [*_choice_lines(choice, files), ""]
    lines += ["## Files", ""]
    for number, file in enumerate(files):
        lines += [f'``` {{ .yaml title="{file}" linenums="1" #file{number} }}']
        lines += [(ROOT / file).read_text().rstrip(), "```", ""]
    return "\n".join(lines)


def _usage(group: str) -> str:
    if group == ".":
        return (
            "Keys that belong to no group, by program. `python train.py key=value` changes one,"
            " `--cfg job` shows what a command line composes to. Every other key belongs to a group"
            " (the pages of this section): `python train.py group=choice` exchanges a choice,"
            " `group.key=value` changes a number. `???` must be given; `${...}` is the value of"
            " another key."
        )
    if group == "benchmark":
        return "Asked by name: `eval.benchmarks=[mmmu,chartqa]`."
    if group == "rows":
        return "Chosen with `eval.rows=<name>`."
    if group == "judge":
        return "`judge@eval.judge=openai`, and part of `reward=judge` as `reward.judge`."
    if group in ("callbacks", "logger"):
        return f"Several at once: `{group}=[a,b]`."
    found = re.search(rf"^  - {group}: (\w+) +# (.*)$", (CONF / "config.yaml").read_text(), re.M)
    chosen = f"Chosen with `{group}=<choice>`"
    return (
        f"What it decides: {found[2]}. {chosen}; default: `{found[1]}`." if found else f"{chosen}."
    )


def _choice_lines(choice: Choice, files: list[str]) -> Iterator[str]:
    yield f"## {choice.name}"
    yield ""
    yield from (f"{_about(line)}  " for line in choice.about.splitlines())
    yield ""
    if choice.parts:
        yield f"Takes {', '.join(f'`{part}`' for part in choice.parts)}."
        yield ""
    if choice.keys:
        yield '<div class="keys" markdown>'
        yield ""
        yield "| key | default | meaning | line |"
        yield "|---|---|---|---|"
        yield from (_row(key, files.index(key.file)) for key in choice.keys)
        yield ""
        yield "</div>"
    else:
        yield "No keys."


def _about(line: str) -> str:
    """Return a line of a file's first comment; a command, which two spaces end, is code."""
    command, _, meaning = line.partition("  ")
    if not command.startswith("python "):
        return _cell(line)
    return f"{_code(command)}: {_cell(meaning.strip())}" if meaning else _code(command)


def _row(key: Key, number: int) -> str:
    place = f'<a href="#file-file{number}-{key.line}">{Path(key.file).name}:{key.line}</a>'
    return f"| {_code(key.name)} | {_code(key.default)} | {_cell(key.meaning)} | {place} |"


def _code(text: str) -> str:
    """Return text as code that may break after a dot, a comma, a slash or an underscore."""
    breakable = re.sub(r"([.,]|(?<!&#91;)/|&#95;|&#93;)(?!$)|(?=&#91;)", r"\1<wbr>", _escaped(text))
    return f"<code>{breakable}</code>" if text else ""


def _cell(text: str) -> str:
    """Return text in which only words between backticks are marked up, as code."""
    words, code = [], False
    for part in text.split("`"):
        words.append(_code(part) if code else _escaped(part))
        code = not code
    return "".join(words)


def _escaped(text: str) -> str:
    escaped = html.escape(text, quote=False)
    return re.sub(r"([|*_`\[\]{}\\~])", lambda found: f"&#{ord(found[0])};", escaped)


# metrics


def metrics_page() -> str:
    """Return the table of all logged metrics, from `g2rpo.metric_table`."""
    lines = [
        "# Metrics",
        "",
        "Names of the columns of `metrics.csv` and of what loggers get. `<task>` stands for a task,"
        " `<part>` for a part of a reward, and `<benchmark>` for a benchmark. W&B shows the last"
        " value of a run in its table, or the one named in the last column.",
        "",
        '<div class="keys metrics" markdown>',
        "",
        "| name | unit | meaning | of a run |",
        "|---|---|---|---|",
    ]
    for metric in METRICS:
        name = metric.name
        if metric.per_part:
            name = f"{name.rpartition('/')[0]}/<part>"
        suffix = (
            "/<task>/<task>"
            if metric.per_pair
            else "[/<task>]"
            if metric.per_task
            else "/<benchmark>"
            if metric.per_benchmark
            else ""
        )
        cells = (_code(name + suffix), _cell(metric.unit), _cell(metric.meaning), metric.summary)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "</div>", ""])


# API


def _modules() -> list[str]:
    """Return every public module of the package, as a path in the repository."""
    found = [
        file.relative_to(ROOT).as_posix()
        for file in PACKAGE.rglob("*.py")
        if file.name == "__init__.py" or not file.name.startswith("_")
    ]
    return sorted(found)


def _api_file(path: str) -> str:
    name = path.removeprefix("src/g2rpo/").removesuffix(".py")
    return f"reference/api/{name.replace('__init__', 'index')}.md"


def _dotted(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _api_page(path: str) -> str:
    # a search finds guides and keys before modules
    head = "---\nsearch: {boost: 0.1}\n---\n\n"
    return f"{head}# {_dotted(path).removeprefix('g2rpo.')}\n\n::: {_dotted(path)}\n"


def _api_nav() -> Iterator[Any]:
    """Yield the package, then a section for each of its folders, then the single modules."""
    files = [_api_file(path) for path in _modules()]
    yield from _section(files, "reference/api")


def _section(files: list[str], folder: str) -> Iterator[Any]:
    inside = [file for file in files if file.startswith(f"{folder}/")]
    yield from (file for file in inside if file == f"{folder}/index.md")
    names = dict.fromkeys(file.removeprefix(f"{folder}/").partition("/")[0] for file in inside)
    for name in sorted(names):
        if name.endswith(".md"):
            if name != "index.md":
                yield {name.removesuffix(".md"): f"{folder}/{name}"}
        else:
            yield {name: list(_section(files, f"{folder}/{name}"))}
