"""What is wrong with a configuration, said so that the operator finds the place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: which key, where it was read, what stood there, what should have.

    ``expected`` is empty where the value is right and still refused; ``refusal`` then says why.
    """

    key: str
    where: str
    found: str
    expected: str
    refusal: str = ""

    def __str__(self) -> str:
        if self.refusal:
            return f"{self.where}: {self.key} is {self.found}; {self.refusal}"
        return f"{self.where}: {self.key} is {self.found}; expected {self.expected}"


class ConfigError(Exception):
    """The configuration cannot be used. The text has one line for each problem; ``problems`` has those of values."""

    def __init__(self, *lines: Problem | str) -> None:
        super().__init__("\n".join(map(str, lines)))
        self.problems = tuple(line for line in lines if isinstance(line, Problem))
