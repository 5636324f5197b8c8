"""What games are played on, by name."""

from jaxgan.tasks import classification, labelled, paired, points, unpaired, upscaling
from jaxgan.tasks.task import Task

__all__ = ["TASKS", "Task"]

TASKS = {
    "unpaired": unpaired.TASK,
    "paired": paired.TASK,
    "labelled": labelled.TASK,
    "points": points.TASK,
    "upscaling": upscaling.TASK,
    "classification": classification.TASK,
}
