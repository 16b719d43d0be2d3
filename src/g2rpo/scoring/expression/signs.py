"""Spellings of signs and names: typographic ones, commands of LaTeX, functions, Greek letters."""

from collections.abc import Mapping


def table(text: str) -> dict[str, str]:
    """Return pairs, `a b` on each line, or several with `|` between them, as a dictionary; in a
    value `_` is a space, `0` nothing.
    """
    pairs = (pair.split() for line in text.strip().splitlines() for pair in line.split(" | "))
    return {sign: "" if plain == "0" else plain.replace("_", " ") for sign, plain in pairs}


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


FUNCTIONS = word_set(
    """sqrt cbrt exp ln log lg sin cos tan cot sec csc arcsin arccos arctan asin acos atan sinh cosh
    tanh abs floor ceil"""
)
GREEK = word_set(
    """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi
    rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi
    Omega ell hbar"""
)
NAMES: Mapping[str, str] = table(r"""
    pi \pi | inf \infty | infty \infty | infinity \infty | oo \infty | or or | and and | union \cup
    percent % | degrees ° | degree ° | deg ° | per per | times *
    """)
"""Words of plain text that are signs."""
COMMANDS: Mapping[str, str] = table(
    r"""
    \dfrac \frac | \tfrac \frac | \cfrac \frac | \dbinom \binom | \tbinom \binom
    \cdot * | \times * | \ast * | \div / | \% % | \degree ° | \colon : | \prime '
    \le <= | \leq <= | \leqslant <= | \ge >= | \geq >= | \geqslant >= | \lt < | \gt >
    \ne != | \neq !=
    \approx ≈ | \sim ≈ | \simeq ≈ | \thickapprox ≈ | \equiv =
    \lbrace \{ | \rbrace \} | \lbrack [ | \rbrack ] | \lparen ( | \rparen )
    \vert ` | \lvert ` | \rvert ` | \mid `
    \dots \ldots | \cdots \ldots | \dotsc \ldots | \varnothing \emptyset | \infin \infty | \imath i
    \land and | \wedge and | \& and | \lor or | \vee or
    """.replace("`", "\u2223")
)
"""Commands of LaTeX and the sign that each one is; `\u2223` stands for a vertical bar."""
SILENT = word_set(
    r"""\left \right \big \Big \bigl \bigr \Bigl \Bigr \displaystyle \textstyle \, \; \! \: \quad
    \qquad \limits \$ \( \) \[ \] \nobreak \bf \rm \it \hfill \triangle \angle \measuredangle
    \overrightarrow \overline \underline \vec \hat \boldsymbol \mathbf"""
) | {"\\ ", "\\\n"}
"""Commands that do not change what an expression says."""
SIGNS: Mapping[str, str] = table(r"""
    − - | ‐ - | ‑ - | ﹣ - | － - | — – | × * | ⋅ * | · * | ∙ * | • * | ∗ * | ÷ / | ∕ / | ⁄ /
    ≤ <= | ⩽ <= | ≥ >= | ⩾ >= | ≠ != | ≃ ≈ | ± \pm_ | ∓ \mp_ | ∞ \infty_ | √ \sqrt_ | ∛ \sqrt[3]
    ∪ \cup_ | ∩ \cap_ | ∈ \in_ | ∅ \emptyset_ | ⟨ \langle_ | ⟩ \rangle_ | ∠ 0 | △ 0 | … \ldots_
    ′ ' | ’ ' | ‘ ' | “ 0 | ” 0 | º ° | ˚ ° | ℃ °C | ℉ °F | ¢ _cents | 。 . | ， ,
    ℝ \mathbb{R} | € 0 | £ 0 | ¥ 0
    π \pi_ | θ \theta_ | α \alpha_ | β \beta_ | γ \gamma_ | λ \lambda_ | μ \mu_
    φ \phi_ | ω \omega_
    σ \sigma_ | ρ \rho_ | Δ \Delta_ | Ω \Omega_
    ½ _1/2 | ¼ _1/4 | ¾ _3/4 | ⅓ _1/3 | ⅔ _2/3 | ⅕ _1/5 | ⅙ _1/6 | ⅛ _1/8
    """) | {"\u00a0": " ", "\u200b": "", "\ufeff": "", "\u2061": ""}
"""Typographic signs and their plain spelling."""
