"""What the preview says of prompts: the right ones, in numbers that can be checked, with everything wrong named and nothing loaded."""

import base64
import io
import json
import logging
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from g2rpo import cli
from g2rpo.data.loading import Loading
from g2rpo.data.mixture import TaskMix
from g2rpo.data.skips import Skips
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import Reward
from g2rpo.model.checkpoint import Checkpoint
from g2rpo.model.encoder import QwenEncoder
from g2rpo.records import TASKS, Prompt
from g2rpo.report.preview import Preview
from g2rpo.reward.openvlthinker import OpenVLThinkerReward

HOSTILE = "<script>alert(1)</script><img src=http://example.org/x.png>&\"'"
BOX = '{"boxes": [100, 250, 600, 750]}'


class Listed:
    """The given prompts, all for training."""

    def __init__(self, prompts: Sequence[Prompt], loading: Loading | None = None) -> None:
        self.prompts = list(prompts)
        self.loading = loading or Loading(workers=0)
        self.skips = Skips(on_error="skip")

    def size(self, task: str, split: str) -> int:
        return sum(prompt.task == task for prompt in self.prompts) if split == "train" else 0

    def get(self, task: str, index: int, split: str) -> Prompt:
        return [prompt for prompt in self.prompts if prompt.task == task][index]


class Always:
    """The same accuracy for every answer."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        return {"accuracy": 1.0, "format": 1.0, "structure": 0.0, "total": 1.0}


class Raising:
    """No verdict on anything but the empty answer and garbage."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        if prompt.answer in completion:
            raise ZeroDivisionError("no verdict")
        return {"accuracy": 0.0, "format": 1.0, "total": 0.1}


def asked(
    answer: str = "3", kind: str = "numerical", *, task: str = "math", images: Sequence[Any] = (), line: int = 1, text: str = "how many?"
) -> Prompt:
    where = {"file": "data/rows.jsonl", "line": line}
    return Prompt(id=f"rows/{line}", task=task, text=text, images=tuple(images), answer=answer, answer_type=kind, source="Made", meta=where)


@pytest.fixture(scope="module")
def encoder(tiny_folder: Path) -> QwenEncoder:
    return Checkpoint(path=str(tiny_folder)).encoder()


@pytest.fixture
def page_of(encoder: QwenEncoder, tmp_path: Path) -> Callable[..., str]:
    """`page_of([prompt], reward=...)`: the preview of these prompts."""

    def write(prompts: Sequence[Prompt] | Listed, *, reward: Reward | None = None, count: int = 8, seed: int = 0) -> str:
        source = prompts if isinstance(prompts, Listed) else Listed(prompts)
        tasks = [task for task in TASKS if source.size(task, "train")]
        stream = PromptStream(source=source, mix=TaskMix(weights=dict.fromkeys(tasks, 1.0)), seed=seed)
        path = Preview(prompts=count).write(
            tmp_path / "run", source=source, tasks=tasks, next_of=stream.next_of, seed=seed, encoder=encoder,
            reward=reward or OpenVLThinkerReward(),
        )  # fmt: skip
        return path.read_text()

    return write


def cards(html: str) -> list[str]:
    return re.findall(r"<article .*?</article>", html, flags=re.DOTALL)


def flags(html: str) -> list[str]:
    """What the only card is flagged for."""
    (card,) = cards(html)
    found = re.search(r'<ul class="flags">(.*?)</ul>', card)
    assert ('class="card flagged"' in card) == (found is not None)
    return re.findall(r"<li>(.*?)</li>", found[1]) if found else []


def verdicts(card: str) -> dict[str, list[str]]:
    rows = re.findall(r"<tr><td>(gold|empty|garbage)</td>(.*?)</tr>", card)
    return {name: re.findall(r"<td[^>]*>(.*?)</td>", cells) for name, cells in rows}


def pictures(html: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)]


def tiles(html: str) -> dict[str, str]:
    found = re.findall(r'<div class="name">(.*?)</div><div class="value">(.*?)</div>', html)
    return {name: re.sub("<[^>]+>", "", value) for name, value in found}


def test_a_preview_of_a_configuration_trains_nothing_and_prints_its_path_last(
    composed: Callable[..., Any], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    caplog.set_level(logging.INFO)
    cli.preview(composed("model=folder", f"model.path={tiny_folder}", "prompts=2", f"run_dir={tmp_path / 'run'}", config="preview"))
    target = tmp_path / "run" / "preview.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"preview: {target}"
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["preview.html"]
    ids = re.findall(r'<div class="where"><b>(.*?)</b>', target.read_text())
    assert ids == [f"gym/train/{task}/{index}" for task in TASKS for index in (0, 1)]
    lines = [record.getMessage() for record in caplog.records if record.name == "g2rpo"]
    assert [line.split(" shown")[0] for line in lines[:-1]] == [f"{task:<12} 2" for task in TASKS]
    assert lines[-1] == "12 prompts, 0 flagged, 0 too long; 0 records skipped by the source"


@pytest.mark.parametrize("value", ["0", "-3", "2.5", "true", "many"])
def test_a_preview_of_no_number_of_prompts_is_refused(
    value: str, composed: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        cli.preview(composed(f"prompts={value}", f"run_dir={tmp_path}", config="preview"))
    assert caplog.records[-1].getMessage().startswith("prompts: expected at least 1 prompt of each task, got ")


def test_the_prompts_shown_are_those_that_training_draws_first(page_of: Callable[..., str]) -> None:
    prompts = [asked(task=task, line=line) for line, task in enumerate(["math", "chart", "chart"] * 6)]
    source = Listed(prompts)
    drawn = PromptStream(source=source, mix=TaskMix(weights={"math": 1.0, "chart": 2.0}), seed=5).draw(18)
    first = {task: [prompt.id for prompt in drawn if prompt.task == task][:3] for task in ("math", "chart")}
    shown = re.findall(r'<div class="where"><b>(.*?)</b>', page_of(prompts, count=3, seed=5))
    assert shown == first["math"] + first["chart"]
    assert first["math"] != [prompt.id for prompt in prompts if prompt.task == "math"][:3]


def test_a_task_with_fewer_prompts_shows_each_once(page_of: Callable[..., str]) -> None:
    assert len(cards(page_of([asked(line=1), asked(line=2)], count=5))) == 2


def test_a_right_gold_answer_is_not_flagged_and_its_verdicts_are_shown(page_of: Callable[..., str]) -> None:
    html = page_of([asked("<answer>3</answer>", text="how many?", line=7)])
    assert flags(html) == []
    wrong = ["0", "1", "0.5", "0.6"]  # 0.1 for the format and 0.5 for the structure
    assert verdicts(cards(html)[0]) == {"gold": ["1", "1", "0.5", "1.5"], "empty": wrong, "garbage": wrong}
    assert [word for word in ("data/rows.jsonl, line 7", "<code>3</code>", "numerical", "Made") if word not in cards(html)[0]] == []


def test_a_gold_answer_without_full_accuracy_is_flagged_on_its_card_in_the_list_and_in_the_terminal(
    page_of: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    html = page_of([asked(r"\sqrt{2}", "math", line=4)])
    words = "the gold answer gets accuracy 0 instead of 1"
    assert flags(html) == [words]
    assert '<td class="bad">0</td>' in cards(html)[0]
    assert re.search(rf'<a href="#p1">data/rows.jsonl, line 4: .*?</a>.*?<br>{words}</li>', html)
    assert '<article id="p1"' in html
    assert tiles(html)["Flagged"] == "1"
    assert [record.getMessage() for record in caplog.records] == [f"flagged: data/rows.jsonl, line 4: prompt 'rows/4': {words}"]


def test_a_reward_that_pays_for_nothing_and_for_garbage_is_flagged(page_of: Callable[..., str]) -> None:
    assert flags(page_of([asked()], reward=Always())) == [
        "an empty answer gets accuracy 1 instead of 0",
        "a garbage answer gets accuracy 1 instead of 0",
    ]


def test_a_reward_that_raises_is_this_prompts_problem(page_of: Callable[..., str]) -> None:
    html = page_of([asked("12345")], reward=Raising())
    assert flags(html) == ["the reward fails for the gold answer: ZeroDivisionError: no verdict"]
    assert verdicts(cards(html)[0]) == {"gold": ["not judged"], "empty": ["0", "1", "-", "0.1"], "garbage": ["0", "1", "-", "0.1"]}


def test_a_record_that_no_answer_can_satisfy_is_complained_of_once(page_of: Callable[..., str]) -> None:
    (flag,) = flags(page_of([asked("7 cm")]))
    assert flag.startswith("the reward fails, whatever the answer: ValueError: prompt")


def test_a_gold_box_is_drawn_at_its_place_and_given_in_pixels(page_of: Callable[..., str]) -> None:
    html = page_of([asked(BOX, "spatial grounding", task="grounding", images=[Image.new("RGB", (80, 40))])])
    assert flags(html) == []
    assert re.findall(r'viewBox="([^"]+)"[^>]*>.*?<path class="box gold" d="([^"]+)"', html) == [("0 0 1000 1000", "M100 250H600V750H100Z")]
    assert "gold box in pixels: 8, 10, 48, 30" in html


def test_points_of_a_gold_answer_are_drawn_by_their_kind(page_of: Callable[..., str]) -> None:
    gold = json.loads(BOX) | {"positive_points": [[200, 300], [300, 310], [400, 320]], "negative_points": [[1, 2], [3, 4], [5, 6]]}
    html = page_of([asked(json.dumps(gold), "segmentation", task="grounding", images=[Image.new("RGB", (80, 40))])])
    assert re.findall(r'class="dot (\w+)" d="M([\d ]+)h0"', html) == [
        ("inside", "200 300"), ("inside", "300 310"), ("inside", "400 320"), ("outside", "1 2"), ("outside", "3 4"), ("outside", "5 6"),
    ]  # fmt: skip


def test_a_box_is_not_drawn_over_several_images(page_of: Callable[..., str]) -> None:
    html = page_of([asked(BOX, "spatial grounding", task="grounding", images=[Image.new("RGB", (80, 40))] * 2)])
    assert "svg class" not in html
    assert "the answer does not say which image" in html


@pytest.mark.parametrize(("box", "words"), [([10, 20, 1280, 720], "outside the grid"), ([0.1, 0.2, 0.5, 1], "shares of the image")])
def test_coordinates_in_pixels_or_shares_are_flagged(box: list[float], words: str, page_of: Callable[..., str]) -> None:
    image = Image.new("RGB", (80, 40))
    (flag,) = flags(page_of([asked(json.dumps({"boxes": box}), "spatial grounding", task="grounding", images=[image])]))
    assert words in flag


def test_tokens_and_sizes_are_what_the_model_is_given(page_of: Callable[..., str], encoder: QwenEncoder) -> None:
    # patches of 8 px merged 2 x 2: 64 x 48 is 4 x 3 tokens; 512 x 512 is scaled down to the model's bound of 128 x 128, 8 x 8 tokens
    html = page_of([asked(images=[Image.new("RGB", (64, 48)), Image.new("RGB", (512, 512))])])
    text = len(encoder.tokenizer(encoder.chat_text(asked(images=["a", "b"])))["input_ids"]) - 2
    assert f"{text + 12 + 64} tokens: {text} of text and marks, 76 of images" in html
    assert "64 x 48 px &middot; model sees 64 x 48, 12 tokens" in html
    assert "512 x 512 px &middot; model sees 128 x 128, 64 tokens" in html
    assert re.findall(r"image_pad\|&gt; &times; (\d+)<", html) == ["12", "64"]
    assert "how many?&lt;|im_end|&gt;" in html
    assert tiles(html)["Longest prompt"] == f"{text + 76} tokens"


def test_a_prompt_over_the_limit_of_tokens_is_named(page_of: Callable[..., str]) -> None:
    long, short = asked(line=1, text="how many? " * 30), asked(line=2)
    html = page_of(Listed([long, short], Loading(workers=0, max_prompt_tokens=60)))
    long_line = r'<p class="long">too long for training: \d+ tokens are more than data\.loading\.max_prompt_tokens=60</p>'
    assert len(re.findall(long_line, html)) == 1
    assert "Too long for training" in html
    assert tiles(html)["Flagged"] == "0"


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_shown(page_of: Callable[..., str], tmp_path: Path) -> None:
    whole, cut, gone = tmp_path / "whole.png", tmp_path / "cut.png", tmp_path / "gone.png"
    noise = torch.randint(0, 256, (40, 40, 3), generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.to(torch.uint8).numpy()).save(whole)
    cut.write_bytes(whole.read_bytes()[:2000])
    html = page_of([asked(images=[str(cut), str(whole), str(gone)])])
    first, second = flags(html)
    assert first.startswith(f"image {cut}: ")
    assert second == f"image {gone}: No such file or directory"
    assert [image.size for image in pictures(html)] == [(40, 40)]
    assert "Not encoded" in html
    assert verdicts(cards(html)[0])["gold"][0] == "1"


def test_a_text_that_the_encoder_refuses_is_named(page_of: Callable[..., str]) -> None:
    (flag,) = flags(page_of([asked(text="what is <|image_pad|>?")]))
    assert flag.startswith("the model&#x27;s encoder refuses the prompt: ValueError: prompt")


def test_what_the_source_skipped_is_counted_and_listed(page_of: Callable[..., str]) -> None:
    source = Listed([asked()])
    source.skips.unusable_prompts.update({"math": 2, "unknown": 1})
    source.skips.records += ["rows.jsonl, line 3: answer: it is empty", "rows.jsonl, line 8: <b>"]
    html = page_of(source)
    assert tiles(html)["Records skipped"] == "3"
    assert "<p>math 2, unknown 1</p>" in html
    assert "<li>rows.jsonl, line 3: answer: it is empty</li><li>rows.jsonl, line 8: &lt;b&gt;</li><li>and 1 more, not listed</li>" in html


def test_the_table_counts_by_task(page_of: Callable[..., str]) -> None:
    prompts = [asked(line=1), asked("7 cm", line=2), asked("B", "multiple choice", line=3), asked("B", "OCR", task="chart", line=4)]
    table = re.search(r'<section id="tasks">.*?<tbody>(.*?)</tbody>', page_of(prompts), re.DOTALL)
    assert table is not None
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table[1])]
    cells = {re.sub("<[^>]+>", "", row[0]): [re.sub("<[^>]+>", " ", cell).strip() for cell in row[1:6]] for row in rows}
    assert cells == {"math": ["3", "0", "3", "numerical 2 multiple choice 1", "1"], "chart": ["1", "0", "1", "OCR 1", "0"]}


def test_the_page_has_no_script_and_asks_no_server_whatever_a_record_says(page_of: Callable[..., str]) -> None:
    prompt = Prompt(
        id=HOSTILE, task="math", text=HOSTILE, images=(HOSTILE,), answer=HOSTILE, answer_type=HOSTILE, source=HOSTILE,
        meta={"file": HOSTILE, "line": 1},
    )  # fmt: skip
    source = Listed([prompt, asked(images=[Image.new("RGB", (8, 8))])])
    source.skips.records.append(HOSTILE)
    source.skips.unusable_prompts[HOSTILE] += 1
    html = page_of(source)
    tags: list[tuple[str, dict[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, dict(attrs)))  # type: ignore[method-assign]
    parser.feed(html)
    assert {tag for tag, _ in tags} & {"script", "link", "iframe", "object"} == set()
    targets = [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href") and value]
    assert [target for target in targets if not target.startswith(("data:image/", "#"))] == []
    assert "default-src 'none'" in html


def test_a_page_of_large_photographs_stays_small(page_of: Callable[..., str]) -> None:
    noise = torch.randint(0, 256, (300, 450, 3), generator=torch.Generator().manual_seed(0))
    photograph = Image.fromarray(noise.to(torch.uint8).numpy()).resize((2400, 1600))
    html = page_of([asked(images=[photograph] * 3, line=line) for line in (1, 2)])
    assert [image.size for image in pictures(html)] == [(512, 341)] * 6
    assert len(html) < 6 * 180_000


def test_a_drawing_is_carried_without_loss(page_of: Callable[..., str]) -> None:
    drawing = Image.new("RGB", (64, 64), "#123456")
    drawing.putpixel((3, 5), (255, 0, 0))
    (carried,) = pictures(page_of([asked(images=[drawing])]))
    assert carried.convert("RGB").tobytes() == drawing.tobytes()
