"""What streams ask the database; everything here runs in a thread."""

import json
import uuid
from collections.abc import Collection
from typing import Any, NamedTuple

from django.db import connection
from django.db.models.signals import post_delete
from django.dispatch import receiver

from roadmap.accounts import Sender, still_known
from roadmap.models import Event, Roadmap
from roadmap.runs.events import CHANNEL

SLICE = 200  # rows that are read at a time: nobody builds the whole of a long history at once
DELETED = "deleted"  # in an announcement, in the place of an event's number

Numbered = tuple[int, bytes]


class Reader(NamedTuple):
    """Who reads the stream of which roadmap."""

    roadmap_id: uuid.UUID
    person: int
    sender: Sender


class Found(NamedTuple):
    """What a stream begins with: the number that its reader is at, and the next events."""

    reader: Reader
    number: int
    events: list[Numbered]

    @property
    def last(self) -> int:
        """The number of the last one of these."""
        return self.events[-1][0] if self.events else self.number


def read_events(roadmap_id: uuid.UUID, number: int) -> list[Numbered]:
    """The next events after that number, at most `SLICE`."""
    found = Event.objects.filter(roadmap=roadmap_id, number__gt=number).order_by("number")
    return [
        (number, f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())
        for number, kind, data in found.values_list("number", "kind", "data")[:SLICE]
    ]


def read_owned(roadmap_id: uuid.UUID, sender: Sender, number: int) -> Found | None:
    """That number, or the newest there is, and the next events after it; None if the sender has no such roadmap.

    Raises:
        BadToken: nobody that may come in.
    """
    person = sender.person()
    newest = (
        Roadmap.objects.owned_by(person).filter(pk=roadmap_id).values_list("last_event", flat=True).first()
    )
    if newest is None:
        return None
    number = min(number, newest)
    return Found(Reader(roadmap_id, person, sender), number, read_events(roadmap_id, number))


def may_read(readers: Collection[Reader]) -> set[Reader]:
    """Those whose roadmap is still there and still theirs, and who may still come in."""
    roadmaps = Roadmap.objects.filter(pk__in={reader.roadmap_id for reader in readers})
    owners = dict(roadmaps.values_list("pk", "owner"))
    known = still_known({reader.sender for reader in readers})
    return {one for one in readers if owners.get(one.roadmap_id) == one.person and one.sender in known}


@receiver(post_delete, sender=Roadmap)
def announce_deletion(instance: Roadmap, **_: Any) -> None:
    """Streams hear of it when the transaction is committed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{instance.pk} {DELETED}"])
