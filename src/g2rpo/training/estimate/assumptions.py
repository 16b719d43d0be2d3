"""Assumptions about a machine or data that are not at hand: `estimate.gib=80 ...`."""

from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Values that replace measurements; None means that the value is measured or looked up.

    Args:
        gib: Memory of the device of one process in GiB.
        tflops: Peak speed of matrix products in the model's dtype, in 10^12 FLOP/s.
        gb_per_s: Memory bandwidth of the device in 10^9 bytes/s.
        efficiency: Share in (0, 1] of `tflops` that passes through a model reach.
        prompt_tokens: Tokens of a prompt, including its images.
        image_tokens: Image tokens of a prompt.
        completion_tokens: Mean tokens of a completion, for seconds; memory always assumes
            rollout.max_new_tokens.

    Raises:
        ValueError: if a value is out of range.
    """

    gib: float | None = None
    tflops: float | None = None
    gb_per_s: float | None = None
    efficiency: float | None = None
    prompt_tokens: int | None = None
    image_tokens: int | None = None
    completion_tokens: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "image_tokens" else None
            if value is not None and (value < 0 if least == 0 else value <= 0):
                raise ValueError(f"estimate.{field.name}: expected a number above 0, got {value}")
        if self.efficiency is not None and self.efficiency > 1:
            raise ValueError(
                f"estimate.efficiency: expected a share in (0, 1], got {self.efficiency}"
            )
        if self.image_tokens and (self.prompt_tokens or 0) <= self.image_tokens:
            raise ValueError(
                f"estimate.image_tokens={self.image_tokens}: expected fewer than"
                f" estimate.prompt_tokens={self.prompt_tokens}"
            )

    @classmethod
    def read(cls, value: object) -> Self:
        """Read a mapping of the names above to numbers or null.

        Raises:
            ValueError: if a name is unknown or a value is not a number.
        """
        if value is None:
            return cls()
        names = [field.name for field in fields(cls)]
        wrong = sorted(set(value) - set(names)) if isinstance(value, dict) else [value]
        if wrong:
            raise ValueError(
                f"estimate: expected a mapping with some of {', '.join(names)}, got {wrong[0]!r};"
                " try estimate.gib=80"
            )
        assert isinstance(value, dict)
        for name, number in value.items():
            if number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f"estimate.{name}: expected a number, got {number!r}")
        given: dict[str, Any] = value
        return cls(**given)
