"""What games are played on, by name."""

from jaxgan.tasks import labelled, points, unpaired
from jaxgan.tasks.task import Task

__all__ = ["TASKS", "Task"]

TASKS = {"unpaired": unpaired.TASK, "labelled": labelled.TASK, "points": points.TASK}
