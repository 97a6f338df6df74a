"""Conversations for the memory: all talks of three people of chitchat-dataset, a corpus of real chats."""

from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Callable

import corpora
import psycopg
from kept import Kept

PEOPLE = ["Ada", "Ben", "Cleo"]  # invented: the corpus has no names
FRIEND = "a friend"
CONVERSATIONS = 20  # of each


def of_people(most: int) -> dict[str, list[list[dict]]]:
    """The last conversations of those who talk most, by their invented names."""
    talks = [talk for talk in corpora.talks() if 16 <= len(talk) <= 80]
    often = Counter(sender for talk in talks for sender in sorted({said["sender"] for said in talk}))
    chosen: dict[str, list[list[dict]]] = {}
    for name, (sender, _) in zip(PEOPLE, often.most_common(len(PEOPLE))):
        own = sorted(
            (talk for talk in talks if sender in {said["sender"] for said in talk}),
            key=lambda talk: talk[0]["timestamp"],
        )
        chosen[name] = [
            [said | {"sender": name if said["sender"] == sender else FRIEND} for said in talk]
            for talk in own[-most:]
        ]
    return chosen


def load(db: psycopg.Connection, kept: Kept, progress: Callable[[int, int], None], share: int) -> None:
    people = of_people(CONVERSATIONS // share)
    everything = [said for talks in people.values() for talk in talks for said in talk]
    vectors = iter(kept.embed_all([said["text"] for said in everything], progress))
    # Moved in time, so that each person's last message is an hour old.
    now = datetime.now(timezone.utc) - timedelta(hours=1)
    conversation = 0
    with (
        db.cursor() as cursor,
        cursor.copy(
            "COPY memory.messages (owner, conversation, sender, sent_at, body, "
            "embedding) FROM STDIN (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["text", "int8", "text", "timestamptz", "text", "vector"])
        for name, talks in people.items():
            last = max(at(said) for talk in talks for said in talk)
            for talk in talks:
                conversation += 1
                for said in talk:
                    copy.write_row(
                        (
                            name,
                            conversation,
                            said["sender"],
                            now - (last - at(said)),
                            said["text"].replace("\0", ""),
                            next(vectors),
                        )
                    )


def at(said: dict) -> datetime:
    return datetime.fromisoformat(said["timestamp"].replace("Z", "+00:00"))
