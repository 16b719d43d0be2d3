"""What the preview says of prompts: the right ones, in numbers that can be checked, with everything
wrong named and nothing loaded.
"""

import base64
import io
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from report.pages import Element, loaded, parsed

from g2rpo import cli
from g2rpo.data.gym.source import TASKS
from g2rpo.data.loading import Loading
from g2rpo.data.mixture import TaskMix
from g2rpo.data.skips import Skips
from g2rpo.data.stream import PromptStream
from g2rpo.interfaces import Reward
from g2rpo.policy.checkpoint import Checkpoint
from g2rpo.policy.family.qwen_vl import QwenEncoder
from g2rpo.records import Prompt
from g2rpo.report.preview import Preview
from g2rpo.reward.openvlthinker import OpenVLThinkerReward
from g2rpo.training.gold_check import check_golds

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
    """No verdict on anything but wrong answers."""

    def score(self, completion: str, prompt: Prompt) -> dict[str, float]:
        if prompt.answer in completion:
            raise ZeroDivisionError("no verdict")
        return {"accuracy": 0.0, "format": 1.0, "total": 0.1}


def asked(
    answer: str = "3",
    kind: str = "numerical",
    *,
    task: str = "math",
    images: Sequence[Any] = (),
    line: int = 1,
    text: str = "how many?",
) -> Prompt:
    where = {"file": "data/rows.jsonl", "line": line}
    return Prompt(
        id=f"rows/{line}",
        task=task,
        text=text,
        images=tuple(images),
        answer=answer,
        answer_type=kind,
        source="Made",
        meta=where,
    )


@pytest.fixture(scope="module")
def encoder(tiny_folder: Path) -> QwenEncoder:
    return Checkpoint(path=str(tiny_folder)).encoder()


@pytest.fixture
def page_of(encoder: QwenEncoder, tmp_path: Path) -> Callable[..., Element]:
    """`page_of([prompt], reward=...)`: the preview of these prompts."""

    def write(
        prompts: Sequence[Prompt] | Listed,
        *,
        reward: Reward | None = None,
        count: int = 8,
        seed: int = 0,
    ) -> Element:
        source = prompts if isinstance(prompts, Listed) else Listed(prompts)
        tasks = [task for task in TASKS if source.size(task, "train")]
        stream = PromptStream(
            source=source, mix=TaskMix(weights=dict.fromkeys(tasks, 1.0)), seed=seed
        )
        path = Preview(prompts=count).write(
            tmp_path / "run",
            source=source,
            tasks=tasks,
            next_of=stream.next_of,
            seed=seed,
            encoder=encoder,
            reward=reward or OpenVLThinkerReward(),
        )
        return parsed(path.read_text())

    return write


def cards(page: Element) -> list[Element]:
    return page.all("article")


def ids(page: Element) -> list[str]:
    return [card.one("b", kind="id").text for card in cards(page)]


def flags(page: Element) -> list[str]:
    """What the only card is flagged for."""
    (card,) = cards(page)
    found = [line.text for part in card.all("ul", kind="flags") for line in part.all("li")]
    assert ("flagged" in str(card.attributes["class"]).split()) == bool(found)
    return found


def verdicts(card: Element) -> dict[str, list[str]]:
    return {str(re.match("gold|as asked|wrong", row[0])[0]): row[1:] for row in card.rows()}  # type: ignore[index]


def pictures(page: Element) -> list[Image.Image]:
    return [
        Image.open(
            io.BytesIO(base64.b64decode(str(image.attributes["src"]).partition("base64,")[2]))
        )
        for image in page.all("img")
    ]


def tiles(page: Element) -> dict[str, str]:
    return {
        str(tile.children[0]).strip(): tile.one("b").text.strip() for tile in page.all(kind="tile")
    }


def marks(page: Element, kind: str) -> list[tuple[str, str]]:
    """Classes and paths of what is drawn over pictures, without the white rims."""
    drawn = [
        (str(path.attributes["class"]), str(path.attributes["d"]))
        for path in page.all("path", kind=kind)
    ]
    return [(classes, path) for classes, path in drawn if "rim" not in classes]


def test_a_preview_of_a_configuration_trains_nothing_and_prints_its_path_last(
    composed: Callable[..., Any],
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Checkpoint, "policy", lambda self: pytest.fail("the weights were loaded"))
    caplog.set_level(logging.INFO)
    cli.preview(
        composed(
            "model=folder",
            f"model.path={tiny_folder}",
            "prompts=2",
            f"run_dir={tmp_path / 'run'}",
            config="preview",
        )
    )
    target = tmp_path / "run" / "preview.html"
    assert capsys.readouterr().out.splitlines()[-1] == f"preview: {target}"
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["preview.html"]
    assert ids(parsed(target.read_text())) == [
        f"gym/train/{task}/{index}" for task in TASKS for index in (0, 1)
    ]
    lines = [record.getMessage() for record in caplog.records if record.name == "g2rpo"]
    assert [line.split(" shown")[0] for line in lines[:-1]] == [f"{task:<12} 2" for task in TASKS]
    assert lines[-1] == "12 prompts, 0 flagged, 0 too long; 0 records skipped by the source"


@pytest.mark.parametrize("value", ["0", "-3", "2.5", "true", "many"])
def test_a_preview_of_no_number_of_prompts_is_refused(
    value: str, composed: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        cli.preview(composed(f"prompts={value}", f"run_dir={tmp_path}", config="preview"))
    assert (
        caplog.records[-1]
        .getMessage()
        .startswith("prompts: expected at least 1 prompt of each task, got ")
    )


def test_the_prompts_shown_are_those_that_training_draws_first(
    page_of: Callable[..., Element],
) -> None:
    prompts = [
        asked(task=task, line=line) for line, task in enumerate(["math", "chart", "chart"] * 6)
    ]
    source = Listed(prompts)
    drawn = PromptStream(
        source=source, mix=TaskMix(weights={"math": 1.0, "chart": 2.0}), seed=5
    ).draw(18)
    first = {
        task: [prompt.id for prompt in drawn if prompt.task == task][:3]
        for task in ("math", "chart")
    }
    assert ids(page_of(prompts, count=3, seed=5)) == first["math"] + first["chart"]
    assert first["math"] != [prompt.id for prompt in prompts if prompt.task == "math"][:3]


def test_a_task_with_fewer_prompts_shows_each_once(page_of: Callable[..., Element]) -> None:
    assert len(cards(page_of([asked(line=1), asked(line=2)], count=5))) == 2


def test_a_right_gold_answer_is_not_flagged_and_its_verdicts_are_shown(
    page_of: Callable[..., Element],
) -> None:
    html = page_of([asked("<answer>3</answer>", text="how many?", line=7)])
    assert flags(html) == []
    wrong = ["0", "1", "0.5", "0.6"]  # 0.1 for the format and 0.5 for the structure
    assert verdicts(cards(html)[0]) == {
        "gold": ["1", "1", "0.5", "1.5"],
        "as asked": ["1", "1", "0.5", "1.5"],
        "wrong": wrong,
    }
    assert [
        word
        for word in ("data/rows.jsonl, line 7", "gold answer 3", "numerical", "Made")
        if word not in cards(html)[0].text
    ] == []


def test_a_gold_answer_without_full_accuracy_is_flagged_on_its_card_in_the_list_and_in_the_terminal(
    page_of: Callable[..., Element], caplog: pytest.LogCaptureFixture
) -> None:
    html = page_of([asked(r"\sqrt{2}", "math", line=4)])
    words = "the gold answer itself gets accuracy 0 instead of 1; no answer can meet it"
    assert flags(html) == [words]
    assert [cell.text for cell in cards(html)[0].all("td", kind="bad")] == ["0", "0"]
    (listed,) = html.one("section", id="flagged").all("li")
    assert (listed.one("a").attributes["href"], cards(html)[0].attributes["id"]) == ("#p1", "p1")
    assert listed.text.startswith("data/rows.jsonl, line 4: ")
    assert listed.text.endswith(words)
    assert tiles(html)["Flagged"] == "1"
    assert [record.getMessage() for record in caplog.records] == [
        f"flagged: data/rows.jsonl, line 4: prompt 'rows/4': {words}"
    ]


def test_a_reward_that_pays_for_wrong_answers_is_flagged(page_of: Callable[..., Element]) -> None:
    (flag,) = flags(page_of([asked()], reward=Always()))
    assert flag.startswith("the wrong answer '7928' gets accuracy 1 like the right one")


def test_a_reward_that_raises_is_this_prompts_problem(page_of: Callable[..., Element]) -> None:
    html = page_of([asked("12345")], reward=Raising())
    assert flags(html) == ["the reward cannot judge it: ZeroDivisionError: no verdict"]
    assert verdicts(cards(html)[0]) == {
        "gold": ["not judged"],
        "as asked": ["not judged"],
        "wrong": ["0", "1", "0.1"],
    }


def test_a_record_that_no_answer_can_satisfy_is_complained_of_once(
    page_of: Callable[..., Element],
) -> None:
    (flag,) = flags(page_of([asked("7 cm")]))
    assert flag.startswith("the reward cannot judge it: ValueError: prompt")


def test_what_is_flagged_is_what_training_refuses(page_of: Callable[..., Element]) -> None:
    prompts = [
        asked("3", line=1),
        asked(r"\sqrt{2}", "math", line=2),
        asked("7 cm", line=3),
        asked("B", "multiple choice", line=4),
    ]
    flagged = [
        card
        for card in cards(page_of(prompts))
        if "flagged" in str(card.attributes["class"]).split()
    ]
    reward = OpenVLThinkerReward()
    refused = check_golds(Listed(prompts), reward, tasks=("math",), rules=reward, most=100).findings
    shown = [re.search(r"data/rows\.jsonl, line (\d+)", card.text) for card in flagged]
    assert (
        sorted(found[1] for found in shown if found)
        == [str(finding.index + 1) for finding in refused]
        == ["2", "3"]
    )


def test_a_gold_box_is_drawn_at_its_place_and_given_in_pixels(
    page_of: Callable[..., Element],
) -> None:
    html = page_of(
        [asked(BOX, "spatial grounding", task="grounding", images=[Image.new("RGB", (80, 40))])]
    )
    assert flags(html) == []
    assert html.one("svg", kind="boxes").attributes["viewbox"] == "0 0 1000 1000"
    assert marks(html, "box") == [("box gold", "M100 250H600V750H100Z")]
    assert "gold box in pixels: 8, 10, 48, 30" in html.text


def test_points_of_a_gold_answer_are_drawn_by_their_kind(page_of: Callable[..., Element]) -> None:
    gold = json.loads(BOX) | {
        "positive_points": [[200, 300], [300, 310], [400, 320]],
        "negative_points": [[1, 2], [3, 4], [5, 6]],
    }
    html = page_of(
        [
            asked(
                json.dumps(gold),
                "segmentation",
                task="grounding",
                images=[Image.new("RGB", (80, 40))],
            )
        ]
    )
    assert marks(html, "dot") == [
        *(("dot inside", f"M{x} {y}h0") for x, y in ((200, 300), (300, 310), (400, 320))),
        *(("dot outside", f"M{x} {y}h0") for x, y in ((1, 2), (3, 4), (5, 6))),
    ]


def test_a_box_is_not_drawn_over_several_images(page_of: Callable[..., Element]) -> None:
    html = page_of(
        [asked(BOX, "spatial grounding", task="grounding", images=[Image.new("RGB", (80, 40))] * 2)]
    )
    assert html.all("svg") == []
    assert "the answer does not say which image" in html.text


@pytest.mark.parametrize(
    ("box", "words"),
    [([10, 20, 1280, 720], "outside the grid"), ([0.1, 0.2, 0.5, 1], "shares of the image")],
)
def test_coordinates_in_pixels_or_shares_are_flagged(
    box: list[float], words: str, page_of: Callable[..., Element]
) -> None:
    image = Image.new("RGB", (80, 40))
    (flag,) = flags(
        page_of(
            [
                asked(
                    json.dumps({"boxes": box}),
                    "spatial grounding",
                    task="grounding",
                    images=[image],
                )
            ]
        )
    )
    assert words in flag


def test_tokens_and_sizes_are_what_the_model_is_given(
    page_of: Callable[..., Element], encoder: QwenEncoder
) -> None:
    # patches of 8 px merged 2 x 2: 64 x 48 is 4 x 3 tokens; 512 x 512 is scaled down to the model's
    # bound of 128 x 128, 8 x 8 tokens
    html = page_of([asked(images=[Image.new("RGB", (64, 48)), Image.new("RGB", (512, 512))])])
    text = len(encoder.tokenizer(encoder.chat_text(asked(images=["a", "b"])))["input_ids"]) - 2
    assert f"{text + 12 + 64} tokens: {text} of text and marks, 76 of images" in html.text
    assert "64 x 48 px · model sees 64 x 48, 12 tokens" in html.text
    assert "512 x 512 px · model sees 128 x 128, 64 tokens" in html.text
    pads = [span.text for span in html.all("span", kind="placeholder")]
    assert pads == [f"<|image_pad|> \N{MULTIPLICATION SIGN} {count}" for count in (12, 64)]
    assert "how many?<|im_end|>" in html.text
    assert tiles(html)["Longest prompt"] == f"{text + 76} tokens"


def test_a_prompt_over_the_limit_of_tokens_is_named(page_of: Callable[..., Element]) -> None:
    long, short = asked(line=1, text="how many? " * 30), asked(line=2)
    html = page_of(Listed([long, short], Loading(workers=0, max_prompt_tokens=60)))
    assert (
        len(
            re.findall(
                r"too long for training: \d+ tokens are more than"
                r" data\.loading\.max_prompt_tokens=60",
                html.text,
            )
        )
        == 1
    )
    assert "Too long for training" in html.text
    assert tiles(html)["Flagged"] == "0"


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_shown(
    page_of: Callable[..., Element], tmp_path: Path
) -> None:
    whole, cut, gone = tmp_path / "whole.png", tmp_path / "cut.png", tmp_path / "gone.png"
    noise = torch.randint(0, 256, (40, 40, 3), generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.to(torch.uint8).numpy()).save(whole)
    cut.write_bytes(whole.read_bytes()[:2000])
    html = page_of([asked(images=[str(cut), str(whole), str(gone)])])
    first, second = flags(html)
    assert first.startswith(f"image {cut}: ")
    assert second == f"image {gone}: No such file or directory"
    assert [image.size for image in pictures(html)] == [(40, 40)]
    assert "Not encoded" in html.text
    assert verdicts(cards(html)[0])["gold"][0] == "1"


def test_a_text_that_the_encoder_refuses_is_named(page_of: Callable[..., Element]) -> None:
    (flag,) = flags(
        page_of(
            [asked(text="<image>, <image> or <image>?", images=[Image.new("RGB", (64, 64))] * 2)]
        )
    )
    assert flag.startswith("the model's encoder refuses the prompt: ValueError: prompt")


def test_a_warning_of_the_source_flags_the_prompt(page_of: Callable[..., Element]) -> None:
    html = page_of(
        [
            replace(
                asked(),
                meta={"file": "rows.jsonl", "line": 1, "warning": "there is no image, though ..."},
            )
        ]
    )
    assert flags(html) == ["there is no image, though ..."]


def test_what_the_source_skipped_is_counted_and_listed(page_of: Callable[..., Element]) -> None:
    source = Listed([asked()])
    source.skips.unusable_prompts.update({"math": 2, "unknown": 1})
    source.skips.records += ["rows.jsonl, line 3: answer: it is empty", "rows.jsonl, line 8: <b>"]
    html = page_of(source)
    assert tiles(html)["Records skipped"] == "3"
    skipped = html.one("section", id="skipped")
    assert skipped.all("p")[1].text == "math 2, unknown 1"
    lines = [line.text for line in skipped.all("li")]
    assert lines == [
        "rows.jsonl, line 3: answer: it is empty",
        "rows.jsonl, line 8: <b>",
        "and 1 more, not listed",
    ]


def test_the_table_counts_by_task(page_of: Callable[..., Element]) -> None:
    prompts = [
        asked(line=1),
        asked("7 cm", line=2),
        asked("B", "multiple choice", line=3),
        asked("B", "OCR", task="chart", line=4),
    ]
    cells = {row[0]: row[1:6] for row in page_of(prompts).one("section", id="tasks").rows()}
    assert cells == {
        "math": ["3", "0", "3", "numerical 2, multiple choice 1", "1"],
        "chart": ["1", "0", "1", "OCR 1", "0"],
    }


def test_the_page_runs_only_its_own_script_and_asks_no_server_whatever_a_record_says(
    page_of: Callable[..., Element],
) -> None:
    prompt = Prompt(
        id=HOSTILE,
        task="math",
        text=HOSTILE,
        images=(HOSTILE,),
        answer=HOSTILE,
        answer_type=HOSTILE,
        source=HOSTILE,
        meta={"file": HOSTILE, "line": 1},
    )
    source = Listed([prompt, asked(images=[Image.new("RGB", (8, 8))])])
    source.skips.records.append(HOSTILE)
    source.skips.unusable_prompts[HOSTILE] += 1
    html = page_of(source)
    assert len(html.all("script")) == 1  # no plot, no plotly.js
    assert {element.tag for element in html.walk()} & {"link", "iframe", "object"} == set()
    assert loaded(html) == []
    assert html.text.count(HOSTILE) >= 5


def test_a_page_of_large_photographs_stays_small(page_of: Callable[..., Element]) -> None:
    noise = torch.randint(0, 256, (300, 450, 3), generator=torch.Generator().manual_seed(0))
    photograph = Image.fromarray(noise.to(torch.uint8).numpy()).resize((2400, 1600))
    html = page_of([asked(images=[photograph] * 3, line=line) for line in (1, 2)])
    assert [image.size for image in pictures(html)] == [(512, 341)] * 6
    assert sum(len(str(image.attributes["src"])) for image in html.all("img")) < 6 * 180_000


def test_a_drawing_is_carried_without_loss(page_of: Callable[..., Element]) -> None:
    drawing = Image.new("RGB", (64, 64), "#123456")
    drawing.putpixel((3, 5), (255, 0, 0))
    (carried,) = pictures(page_of([asked(images=[drawing])]))
    assert carried.convert("RGB").tobytes() == drawing.tobytes()
