import re

import pytest

from g2rpo.scoring.stem import stem

# Porter 1980, the examples printed beside each rule (whole words, so later steps act on them too),
# and NLTK's own exceptions
PAIRS = """
caresses caress  ponies poni  ties tie  caress caress  cats cat  feed feed  agreed agre
plastered plaster  bled bled  motoring motor
sing sing  conflated conflat  troubled troubl  sized size  hopping hop  tanned tan  falling fall
hissing hiss  fizzed fizz  failing fail
filing file  happy happi  sky sky  relational relat  conditional condit  rational ration
valenci valenc  hesitanci hesit
digitizer digit  conformabli conform  radicalli radic  differentli differ  vileli vile
analogousli analog
vietnamization vietnam  predication predic  operator oper  feudalism feudal  decisiveness decis
hopefulness hope
callousness callous  formaliti formal  sensitiviti sensit  sensibiliti sensibl  triplicate triplic
formative form  formalize formal
electriciti electr  electrical electr  hopeful hope  goodness good  revival reviv  allowance allow
inference infer  airliner airlin
adjustable adjust  defensible defens  irritant irrit  replacement replac  adjustment adjust
dependent depend  adoption adopt
homologou homolog  communism commun  activate activ  angulariti angular  homologous homolog
effective effect  bowdlerize bowdler
probate probat  rate rate  cease ceas  controll control  roll roll  generalizations gener
oscillators oscil
dying die  skies sky  innings inning  died die  cried cri  enjoy enjoy  by by  apology apolog
fully fulli  hopefully hope
"""


@pytest.mark.parametrize(
    ("word", "expected"), [pair.split() for pair in re.split(r"\s{2,}|\n", PAIRS.strip())]
)
def test_stems_are_those_of_the_paper(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_numbers_and_short_words_stay() -> None:
    assert [stem(word) for word in ("4821", "as", "a", "")] == ["4821", "as", "a", ""]
