"""Chat: memory at work. What was said before that matters now, for one person alone."""

from dataclasses import dataclass

import numpy as np
from page.database import Session
from page.fields import Refused

MOST = 5
NEAR = 0.35  # similarity below which nothing is said to be remembered
SUMMARY = 4  # messages of the running summary

# Similarity and the weight of age, which the score is made of, are shown beside it.
RECALL = """
SELECT r.id, m.conversation, r.sender, r.sent_at, r.body, r.score, 1 - (m.embedding <=> $1) AS similarity,
    greatest(0.25, power(0.5, extract(epoch FROM now() - r.sent_at)::float8 / extract(epoch FROM $3::interval)::float8))
        AS weight
FROM memory.recall($1, $2, now(), $3::interval) r JOIN memory.messages m USING (id)
ORDER BY r.score DESC, r.id
"""
SAY = """
INSERT INTO memory.messages (conversation, sender, body, embedding) VALUES ($1, $2, $3, $4)
RETURNING id, conversation, sender, sent_at, body
"""
SUMMARISE = "SELECT memory.update_summary($1, $2) AS messages"
CONTEXT = "SELECT memory.context($1, $2, $3) AS context"
CONVERSATIONS = """
SELECT m.conversation, count(*) AS messages, max(m.sent_at) AS last,
    (array_agg(m.body ORDER BY length(m.body) DESC, m.id))[1] AS longest
FROM memory.messages m GROUP BY m.conversation ORDER BY last DESC, m.conversation LIMIT 60
"""
MESSAGES = """
SELECT m.id, m.sender, m.sent_at, m.body FROM memory.messages m
WHERE m.conversation = $1 ORDER BY m.sent_at, m.id
"""
SUMMARY_OF = """
SELECT m.id, m.sender, m.body FROM memory.summaries s JOIN memory.messages m ON m.id = ANY (s.messages)
WHERE s.conversation = $1 ORDER BY m.sent_at, m.id
"""
# A conversation's number, if it is this person's or nobody's yet.
NEXT = "SELECT nextval('page.conversations') AS conversation"
OWN = "SELECT EXISTS (SELECT FROM memory.messages m WHERE m.conversation = $1) AS own"


@dataclass
class Said:
    person: str
    conversation: int | None
    text: str
    vector: np.ndarray
    half_life: int  # days


def as_person(s: Session, person: str, people: list[str]) -> None:
    """From here on, the policies show the rows of this person alone."""
    if person not in people:
        raise Refused("There is no such person.", 404)
    s.set("memory.owner", person)


def conversations(s: Session) -> dict:
    return {"conversations": s.run("", CONVERSATIONS).rows}


def messages(s: Session, conversation: int) -> dict:
    s.run("", SUMMARISE, [conversation, SUMMARY])
    return {
        "messages": s.run("", MESSAGES, [conversation]).rows,
        "summary": s.run("", SUMMARY_OF, [conversation]).rows,
    }


def say(s: Session, said: Said) -> dict:
    """What is remembered is looked for before the message is written, so that it does not find itself."""
    recall = s.run(
        "Recall: similar, weighted by age", RECALL, [said.vector, MOST, f"{said.half_life} days"], plan=True
    )
    conversation = said.conversation
    if conversation is None:
        conversation = s.run("", NEXT).rows[0]["conversation"]
    elif not s.run("", OWN, [conversation]).rows[0]["own"]:
        raise Refused("There is no such conversation.", 404)
    written = s.run(
        "Remember: the message is written", SAY, [conversation, said.person, said.text, said.vector]
    )
    summary = s.run("Running summary", SUMMARISE, [conversation, SUMMARY])
    context = s.run("Context for a language model", CONTEXT, [conversation, said.vector, MOST])
    return {
        "message": written.rows[0],
        "recalled": recall.rows,
        "summary": s.run("", SUMMARY_OF, [conversation]).rows,
        "context": context.rows[0]["context"],
        "remembers": bool(recall.rows) and max(each["similarity"] for each in recall.rows) >= NEAR,
        "timings": {
            "recall_ms": recall.milliseconds,
            "write_ms": written.milliseconds,
            "summary_ms": summary.milliseconds,
        },
        "statements": [each.shown() for each in (recall, written, summary, context)],
    }


def context(s: Session, conversation: int, vector: np.ndarray) -> str:
    return s.run("", CONTEXT, [conversation, vector, MOST]).rows[0]["context"] or ""


def answered(s: Session, conversation: int, sender: str, text: str, vector: np.ndarray) -> dict:
    """A language model's answer becomes a message like any other."""
    return s.run("", SAY, [conversation, sender, text, vector]).rows[0]
