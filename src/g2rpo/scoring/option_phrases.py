"""The option letter that a sentence states, from the firmest wording to the loosest.

    stated_letter    `the answer is B`, `B is correct`, `no, it is B`
    leading_letter   the letter that the text begins with, which its explanation does not overturn
    named_letter     `option B`, `figure B`, and a letter that stands alone

All return None if the wording does not occur, and an empty text if it names several options.
"""

import re
from collections.abc import Iterator, Mapping

from g2rpo.scoring.guarded import Guarded

LONGEST = 4000
"""Characters of a text that are read for statements, from its end."""
_NOT_WORD = r"(?![A-Za-z0-9'’])"
_LETTER = rf"[(\[{{\"]?\s?([A-Za-z]){_NOT_WORD}"
_FILLER = (
    r"(?:\s++(?:is|are|was|be|would|should|will|must|might|may|could|has|to|the|one|most|likely|probably|best|final"
    r"|right|correct|labell?ed|option|choice|letter|answer|number|and|it|with|for|as|in|this|case"
    r"|question|problem|that|here)\b)*+"
)
_CLOSED = r"([)\]}]|\s*[.,:;!?]|\s*$|\s*\n|\s+(?:is|because|since|as|and|or|with|which|for)\b)?"
_ANSWER = Guarded(
    rf"(?:\b(?:answers?|ans|solution|choose|chose|select|selected|pick|picked|go with|going with"
    rf"|opt for|say|conclude|(?:right|correct|best|matching|appropriate|closest|true)"
    rf"(?:\s+(?:option|choice|one|letter|statement))?)\b\.?{_FILLER}"
    rf"|答案|正确选项|选择|选|所以是)\s*+(?:[:=：是为>]|-+>)*\s*+(?:(?:option|choice|letter)\s*+:?\s*+)?{_LETTER}{_CLOSED}",
    "answer ans solution choose chose select pick go_with going_with opt_for say conclude right"
    " correct best matching appropriate closest true 答案 选 所以是",
)
_RIGHT = (
    r"(?:the\s+|my\s+)?(?:(?:most|best|only|final|closest)\s+)?(?:correct|right|best|true|answer|accurate"
    r"|appropriate|closest|likely|suitable|match|fitting|solution)\b"
)
_IS_RIGHT = re.compile(
    rf"(?<![A-Za-z0-9'’])[(\[]?([A-Z])[)\]]?(?:\s+(?:is|are|would\s+be|must\s+be|should\s+be|seems|looks)"
    rf"\s+{_RIGHT}|\s*[:\-–]\s*(?:yes|correct|right|true|this\s+is\s+correct)\b|\s+it\s+is\b"
    rf"|\s*\((?:most\s+likely|correct|right|best)\b)"
)
_CORRECTION = Guarded(
    rf"(?:\.\.\.|…|\b(?:wait|actually|sorry|correction|rather))[,:\s]+(?:no[,:]?\s+)?"
    rf"(?:(?:it\s+is|it's|i\s+mean)\s+)?"
    rf"(?:option\s+)?{_LETTER}(?=\s*(?:[.!)\]]|$|than\b))",
    "... … wait actually sorry correction rather",
)
_IT_IS = Guarded(
    r"\b(?i:(?:it|this|that)(?:['’]s|\s+(?:is|(?:must|would|should|will|can\s+only|has\s+to)\s+be))\s+"
    r"(?:(?:clearly|probably|definitely|therefore|thus|likely|indeed|the|option|choice|letter)\s+)*)"
    r"(?:(?<![A-Za-z])([A-Z])|[(\[](?i:([a-z]))[)\]])(?=\s*(?:[.,;:!)\]]|$|(?:because|since|as)\b))",
    "it this that",
    0,
)
_ABOUT_OPTIONS = re.compile(r"answer|option|choice|choose|选|答", re.IGNORECASE)
_REMAINS = Guarded(
    r"\b(?:(?i:leaves?|leaving)\s+(?:us\s+with\s+)?(?:only\s+)?|(?i:only)\s+(?=(?:option\s+|choice\s+)?[(\[]?[A-Z][)\]]?\s+"
    r"(?:remains?|is|fits|works|matches|shows|has)\b))(?:option\s+|choice\s+)?[(\[]?([A-Z])(?![A-Za-z0-9'])",
    "leave leaving only",
    0,
)
_WRONG = (
    r"(?:\w+\s+)?(?:wrong|incorrect|false|not|impossible|out|excluded|eliminated|ruled|invalid"
    r"|unlikely|(?:less|least)\s+likely)\b"
)
IS_WRONG = re.compile(
    rf"[)\]]?(?:\s*\((?:less\s+likely|least\s+likely|unlikely|wrong|incorrect|false|no)\b"
    rf"|\s+(?:shows?|has|shows)\s+(?:no|nothing)\b"
    rf"|\s+(?:is|are|was|were|seems?|can|could|does|do|did)(?:n't|not)?\s+{_WRONG}"
    rf"|\s+(?:can't|cannot|isn't|doesn't|wouldn't|aren't)\b|\s*[:\-–]\s*(?:no|not|wrong|incorrect|false)\b)",
    re.IGNORECASE,
)
"""What says behind a letter that it is not the answer."""
_RULED_OUT = re.compile(
    r"(?:\b(?:not|never|neither|nor|no|without|instead of|rather than|unlike|except|exclud\w*"
    r"|eliminat\w*|rul\w* out|discard\w*|cannot be|can't be|if|were"
    r"|(?:anything|everything|all|other) (?:but|than))|n't(?: be)?)\s+"
    r"(?:(?:be|the|option|options|choice|answer|is|were|was|choose|pick|select|say|think|believe|that"
    r"|it|go|with)\s+)*[(\[]?$",
    re.IGNORECASE,
)
"""What stands before a letter that is not the answer."""
_HYPOTHETICAL = re.compile(r"\b(?:if|whether)\b[^.,;\n]*$", re.IGNORECASE)
_OTHER_THING = re.compile(
    r"(?:∠|△|\b(?:angles?|points?|lines?|segments?|triangles?|vert(?:ex|ices)|sides?|arcs?|circles?|planes?"
    r"|sin|cos|tan|cot|plan|company|class|team|person|node|city|vitamin|type|group|at|from|to|between|through|of)\s+(?:[A-Z]\s*(?:,|and|or|to)\s*)*)$",
    re.IGNORECASE,
)
"""What stands before a letter that names some other thing."""
_OPERAND = re.compile(r"(?<![A-Za-z])[A-Z0-9]\s*[=<>+^]\s*$")
_GEOMETRY = Guarded(
    r"∠|△|\b(?-i:angle|triangle|point|segment|line|vertex|circle|chord|arc|radius|diameter)s?\b",
    "∠ △ angle triangle point segment line vertex circle chord arc radius diameter",
)
_LENGTH = re.compile(r"[A-Z](?<=\b[A-Z])[A-Z]{1,3}\s*=")
"""`AB =`: capitals are names of points."""
_ALSO = re.compile(
    r"[)\].]?\s*(?:,?\s*(?:and|or|through|to|&|/)|,)\s*(?:then\s+)?(?:(?:option|choice)\s+)?"
    r"(?:[(\[]?([A-Z])(?![A-Za-z0-9'’])(?!\s*(?:is|was|because|since)\b)|[(\[]([a-z])[)\]])"
)
_BESIDE = re.compile(r"\s+(?:through|to)\s+[A-Z]\b")
_BEFORE = re.compile(r"(?<![A-Za-z0-9'])([A-Z])[)\].]?\s*(?:,|/|&|\bor\b|\band\b)\s*$")
_START = re.compile(
    r"[^\w∠△]*?(?:(?:option|choice|answer)\b\s*:?\s*)?(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\s?[.):,;\]]|([B-HJ-Z])\s*[-–]|([A-Z])\s*$|([A-Z])\s*\n"
    r"|([A-Z])(?=\s+(?:because|since|over|rather than|instead of)\b))(?=\s|$|\n)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMED = Guarded(
    rf"\b(?:options?|choices?|figure|image|picture|diagram|letter|label|graph|statement)\s+(?:labell?ed\s+)?{_LETTER}",
    "option choice figure image picture diagram letter label graph statement",
)
_TOKEN = re.compile(
    r"([A-Z])(?<![A-Za-z0-9'’∠].)(?<![A-Za-z]\..)(?![A-Za-z0-9'’]|\s*[=<>+*^]|\.[A-Za-z]\b)"
    r"(?:(?<![AI])|(?!\s+(?!(?:or|and|nor|is|because|since|as|but)\b)[a-z]))"
)
"""A letter on its own that is no article (`A dog`). It begins with a set, which is found fast."""
_BRACKETED = re.compile(r"[(\[]([A-Z])[)\]]")
_SENTENCE = re.compile(r"\n+|(?<=[.!?;])\s+")
_SO = Guarded(
    r"\b(?:so|hence|thus|therefore|finally|leaves|leaving)\b",
    "so hence thus therefore finally leaves leaving",
)
_ITEM = re.compile(
    r"(?:^|[\n.;,!]\s*)[-*•]?\s*(?:option\s+)?[(\[]?([A-Z])\s*[)\]]?\s*[:).]\s", re.IGNORECASE
)


def stated_letter(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that the text says is the answer; of several statements the last.

    >>> options = dict.fromkeys("ABCD", "")
    >>> stated_letter("The answer is B, so option C cannot be right.", options)
    'B'
    >>> stated_letter("Not C, the answer is (a) or (b)", options), stated_letter("A dog", options)
    ('', None)
    """
    text = text[-LONGEST:]
    statements = (
        *_after_answer(text, options),
        *_after_it_is(text, options),
        *_called_right(text, options),
    )
    return max(statements, default=(0, None))[1]


def leading_letter(text: str, options: Mapping[str, str]) -> str | None:
    """Return the letter that the text begins with, unless the text goes through all options.

    >>> options = dict.fromkeys("ABCD", "")
    >>> leading_letter("B. Because A is a bear.", options), leading_letter("A dog", options)
    ('B', None)
    >>> leading_letter("A: no. B: no. C: yes.", options)
    """
    match = _START.match(text)
    letter = next((group for group in match.groups() if group), "").upper() if match else ""
    if match is None or letter not in options or IS_WRONG.match(text, match.end()):
        return None
    labels = {label[1].upper() for label in _ITEM.finditer(text)} & set(options)
    lists_all = (
        len(labels | {letter}) >= max(2, min(len(options), 3))
        and "\n" not in text[: match.end() + 1]
    )
    also = _ALSO.match(text, match.end() - 1 if text[match.end() - 1] in ",;" else match.end())
    if also and (also[1] or also[2]).upper() in options:
        return ""
    return None if lists_all and _goes_through(text, labels | {letter}) else letter


def named_letter(text: str, options: Mapping[str, str]) -> str | None:
    """Return the one letter that the text, its last sentence, or its last clause names.

    >>> options = dict.fromkeys("ABCD", "")
    >>> named_letter("I see A and C. So B", options), named_letter("A or B", options)
    ('B', None)
    >>> named_letter("Angle B is 5", options), named_letter("∠C is that of option B", options)
    (None, 'B')
    """
    sentences = [part for part in _SENTENCE.split(text.strip()) if part.strip()]
    last = sentences[-1] if sentences else ""
    geometry = bool(_GEOMETRY.search(text) or _LENGTH.search(text))
    for part in (text, last, _SO.split(last)[-1]):
        named = {
            match[1].upper()
            for match in _NAMED.finditer(part)
            if match[1] in options
            and not _is_rejected(part, match)
            and not _BESIDE.match(part, match.end(1))
        }
        alone = set() if geometry else _tokens(part, options)
        if len(named) == 1 and (part is not text or alone <= named):
            return named.pop()
        found = _bracketed(part, options) if geometry else alone
        if len(found) == 1 and not named - found:
            return found.pop()
    return None


def _after_answer(text: str, options: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the place and the letter of `the answer is B`; no letter if several are named."""
    for match in _ANSWER.finditer(text):
        letter = match[1].upper()
        # `answer is a dog`: a small letter, or the article A, must be closed by something
        closed = match[2] is not None or (match[1].isupper() and letter not in "AI")
        small = match[1].islower() and not _ABOUT_OPTIONS.search(match[0])
        if letter in options and closed and not small and not _is_rejected(text, match):
            yield match.start(1), _alone(text, match, options)


def _after_it_is(text: str, options: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    for match in _IT_IS.finditer(text):
        group = 1 if match[1] else 2
        if match[group].upper() in options and not _is_rejected(text, match):
            also = _ALSO.match(text, match.end(group))
            several = also is not None and (also[1] or also[2]).upper() in options
            yield match.start(), "" if several else match[group].upper()


def _called_right(text: str, options: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield the place and the letter of `B is correct`, `sorry, B`, `only B remains`."""
    for pattern in (_IS_RIGHT, _CORRECTION, _REMAINS):
        for match in pattern.finditer(text):
            before = text[max(0, match.start(1) - 40) : match.start(1)]
            if match[1] not in options or _RULED_OUT.search(before):
                continue
            head = text[max(0, match.start() - 12) : match.start()]
            several = (pattern is _IS_RIGHT and _BEFORE.search(head) is not None) or (
                pattern is _REMAINS and _ALSO.match(text, match.end(1)) is not None
            )
            yield match.start(1), "" if several else match[1]


def _alone(text: str, match: re.Match[str], options: Mapping[str, str]) -> str:
    """Return the matched letter; empty if other options stand beside it."""
    head = re.split(r"[\n.;]", text[: match.start()])[-1][-12:]
    found = (_ALSO.match(text, match.end(1)), _BEFORE.search(head))
    beside = {(also[1] or also[also.re.groups]).upper() for also in found if also}
    letter = match[1].upper()
    return "" if beside & set(options) - {letter} else letter


def _is_rejected(text: str, match: re.Match[str]) -> bool:
    """Return whether the letter of a match is named only to be ruled out."""
    start, end = match.span(1 if match[1] else 2)
    before = text[max(0, start - 40) : start]
    hypothetical = _HYPOTHETICAL.search(text[max(0, start - 60) : start])
    return bool(IS_WRONG.match(text, end) or _RULED_OUT.search(before) or hypothetical)


def _tokens(text: str, options: Mapping[str, str]) -> set[str]:
    """Return the letters that stand alone and are options."""
    found: set[str] = set()
    for match in _TOKEN.finditer(text):
        letter = match[1]
        if letter in found:
            continue
        start, end = match.span()
        before = text[max(0, start - 40) : start]
        if (
            letter in options
            and not IS_WRONG.match(text, end)
            and not _RULED_OUT.search(before)
            and not _OTHER_THING.search(before)
            and not _OPERAND.search(before)
        ):
            found.add(letter)
    return found


def _bracketed(text: str, options: Mapping[str, str]) -> set[str]:
    """Return the letters that stand in brackets and are options."""
    found: set[str] = set()
    for match in _BRACKETED.finditer(text):
        letter = match[1]
        if letter in options and letter not in found and not _is_rejected(text, match):
            found.add(letter)
    return found


def _goes_through(text: str, letters: set[str]) -> bool:
    """Return whether the text takes up the options one after the other, each under its label."""
    heads = [match[1].upper() for match in _ITEM.finditer(text)]
    return len(heads) >= 2 and heads == sorted(heads) and len(letters) >= 2
