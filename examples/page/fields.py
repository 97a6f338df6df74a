"""What a browser sends: JSON of a limited size, and fields that are checked before anything is done with
them."""

import json
from datetime import date

LARGEST_BODY = 600_000  # bytes
LONGEST_QUESTION = 2_000  # characters


class Refused(Exception):
    """The request cannot be answered; the words are for people."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.words, self.status = words, status


class Fields:
    def __init__(self, body: bytes) -> None:
        try:
            self.values = json.loads(body.decode("utf-8"))
        except (UnicodeDecodeError, ValueError, RecursionError):
            raise Refused("The request is not JSON in UTF-8.")
        if not isinstance(self.values, dict):
            raise Refused("A JSON object is expected.")

    def text(self, name: str, what: str, longest: int = LONGEST_QUESTION, needed: bool = True) -> str:
        value = self.values.get(name)
        if value is None and not needed:
            return ""
        if not isinstance(value, str):
            raise Refused(f"{what}: text is expected.")
        if len(value) > longest:
            raise Refused(f"{what}: {len(value):,} characters are too many; the limit is {longest:,}.")
        if "\0" in value:
            raise Refused(f"{what}: it contains a NUL character, so it is not text.")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise Refused(f"{what}: it contains half of a surrogate pair, so it is not text.")
        # Other control characters are no part of any language.
        if any(c < " " and c not in "\t\r\n" for c in value):
            raise Refused(f"{what}: it contains control characters, so it is not text.")
        if needed and not value.strip():
            raise Refused(f"{what}: it is empty.")
        return value.strip()

    def number(self, name: str, low: float, high: float, default: float) -> float:
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise Refused(f"{name}: a number from {low:g} to {high:g} is expected.")
        return float(value)

    def integer(self, name: str, low: int, high: int, default: int) -> int:
        value = self.number(name, low, high, default)
        if value != int(value):
            raise Refused(f"{name}: a whole number is expected.")
        return int(value)

    def optional_id(self, name: str) -> int | None:
        return None if self.values.get(name) is None else self.integer(name, 1, 2**53, 1)

    def optional_text(self, name: str, longest: int = 200) -> str | None:
        return self.text(name, name, longest, needed=False) or None

    def optional_date(self, name: str) -> date | None:
        value = self.optional_text(name)
        if value is None:
            return None
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise Refused(f"{name}: a date like 2024-12-31 is expected.")
