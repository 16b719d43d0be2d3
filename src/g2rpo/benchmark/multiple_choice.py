"""Multiple-choice questions as VLMEvalKit asks them, scored by its rules or by robust ones."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from g2rpo.benchmark.base import BenchmarkBase, Judge
from g2rpo.benchmark.columns import choices_of, list_of, needed, row_of, text_of
from g2rpo.benchmark.grading import ask, option_prompt
from g2rpo.records import Judgment
from g2rpo.scoring.extract import clean, tagged, without_thinking
from g2rpo.scoring.option import REFUSAL, infer_option, lettered, read_option

_REQUEST = "Please select the correct answer from the options above. \n"
UNREAD = Judgment(score=0.0, parsed=False)


class MultipleChoice(BenchmarkBase):
    """`paper` scores by VLMEvalKit's rules; `robust` cleans the completion and uses ours."""

    task = "general_vqa"
    protocols: ClassVar[Sequence[str]] = ("paper", "robust")
    answer_type = "multiple choice"
    extra: ClassVar[tuple[str, ...]] = ("category", "l2_category", "split")
    """Columns that a row keeps if the record has them."""

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Read options from columns A, B, ... or from a list.

        The answer is a letter, the 0-based number of an option, or its text.
        """
        row = row_of(self.name, record, "hint", *self.extra)
        row["choices"] = choices_of(record)
        if not row["choices"]:
            raise ValueError(
                f"{self.name}, record {row['id']!r}: column A, options or choices is missing;"
                " expected the options"
            )
        row["answer"] = gold_letter(
            self.name, row["id"], needed(self.name, record, "answer"), row["choices"]
        )
        for column in ("l2-category", "L2-category"):
            if text_of(record.get(column)):
                row["l2_category"] = text_of(record[column])
        return row

    def question(self, row: Mapping[str, Any], protocol: str) -> str:
        """Return VLMEvalKit's prompt: hint, question, options, and what to do."""
        return ask_options(row["question"], options_of(row), hint=row.get("hint"))

    def judgment(
        self,
        completion: str,
        row: Mapping[str, Any],
        *,
        protocol: str = "paper",
        judge: Judge | None = None,
    ) -> Judgment:
        """Score 1 if the letter read is the row's.

        If the rules read no letter, a judge is asked which option the completion chose.
        """
        self.check_protocol(protocol)
        return judge_option(
            completion,
            row,
            options_of(row),
            row["answer"],
            robust=protocol == "robust",
            judge=judge,
        )


def judge_option(
    completion: str,
    row: Mapping[str, Any],
    options: Mapping[str, str],
    gold: str,
    *,
    robust: bool,
    judge: Judge | None = None,
) -> Judgment:
    """Score a choice among options with letters."""
    text = clean(completion) if robust else completion
    letter = stated_option(completion, options) if robust else infer_option(text, options)
    by = "rule"
    if letter is None and judge is not None and text:
        reply = ask(judge, option_prompt(text_of(row.get("question")), options, text))
        letter, by = (None if reply is None else infer_option(reply, options)), "judge"
    if letter is None:
        return UNREAD
    return Judgment(
        score=float(letter == gold.strip()), parsed=letter != REFUSAL, answer=letter, by=by
    )


def stated_option(completion: str, options: Mapping[str, str]) -> str | None:
    r"""Return the option that a completion names in its box, else in the answer around it.

    >>> stated_option(r"The answer is C. \boxed{6099}", {"B": "5,100", "C": "6,100"})
    'C'
    """
    text = clean(completion)
    letter = read_option(text, options)
    if letter is None and "\\boxed" in completion:
        letter = read_option(tagged(without_thinking(completion)), options)
    return letter


def options_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row's options by letter; A to D without texts if it has none."""
    choices = row.get("choices")
    if isinstance(choices, Mapping):
        return {str(letter): str(text) for letter, text in choices.items()}
    return lettered(list_of(choices) or []) or dict.fromkeys("ABCD", "")


def ask_options(question: str, options: Mapping[str, str], *, hint: Any = None) -> str:
    """Return a question with its options as VLMEvalKit writes them."""
    head = f"Hint: {hint}\n" if text_of(hint) else ""
    listed = "".join(f"{letter}. {text}\n" for letter, text in options.items())
    return "".join(
        [head, f"Question: {question}\n", *(["Options:\n", listed, _REQUEST] if listed else [])]
    )


def gold_letter(benchmark: str, identity: str, answer: Any, choices: Mapping[str, str]) -> str:
    """Return the gold option's letter.

    The answer is the letter, the option's 0-based number (as text for AI2D on the Hub), or its
    text.
    """
    text = text_of(answer).strip()
    if text in choices:
        return text
    letters = list(choices)
    if text.isdigit() and int(text) < len(letters):
        return letters[int(text)]
    matching = [letter for letter, option in choices.items() if option.strip() == text]
    if len(matching) == 1:
        return matching[0]
    bare = text.strip("().").upper()
    if bare in choices:
        return bare
    raise ValueError(
        f"{benchmark}, record {identity!r}: column answer: expected one of {', '.join(letters)},"
        f" got {text!r}"
    )
