from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RoadmapConfig(AppConfig):
    name = "roadmap"

    def ready(self) -> None:
        post_migrate.connect(make_checkpoint_tables, sender=self)


def make_checkpoint_tables(**kwargs: Any) -> None:
    """The saver keeps its own list of migrations, so it is asked on every `migrate`."""
    from roadmap import checkpointer

    checkpointer.make_tables()
