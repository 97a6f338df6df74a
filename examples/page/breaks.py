"""Passages of a length that the model reads, also of texts that have no sentences."""

import re

LONGEST = 1_200  # characters without the end of a sentence

PIECE = re.compile(r".*?[.!?][\"')]?(?:\s+|$)|.+")
END = re.compile(r"[.!?][\"')]?\s*$")
HEADING = re.compile(r"#+ +(.*)")


def added(text: str) -> str:
    """A passage ends at the end of a sentence. Where none comes for long (lists, languages without spaces), the section
    is begun anew. Nothing of the text is changed."""
    if len(text) <= LONGEST:
        return text
    lines: list[str] = []
    section, run = "", 0
    for line in text.splitlines():
        if heading := HEADING.match(line):
            section, run = heading[1], 0
            lines.append(line)
            continue
        current = ""
        for piece in PIECE.findall(line):
            for part in parts(piece):
                if run + len(part) > LONGEST and run > 0:
                    lines += [current, f"# {section}"]
                    current, run = "", 0
                current += part
                run = 0 if END.search(part) else run + len(part)
        lines.append(current)
    return "\n".join(lines)


def parts(piece: str) -> list[str]:
    """A piece that is too long is cut between words, if it has any."""
    cuts = []
    while len(piece) > LONGEST:
        cut = piece.rfind(" ", 1, LONGEST) + 1 or LONGEST
        cuts.append(piece[:cut])
        piece = piece[cut:]
    return [*cuts, piece]
