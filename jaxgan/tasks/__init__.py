"""What games are played on, by name."""

from jaxgan.tasks import labelled, points, unpaired
from jaxgan.tasks.task import Bench, Task, sampler

__all__ = ["TASKS", "Bench", "Task", "sampler"]

TASKS = {"unpaired": unpaired.TASK, "labelled": labelled.TASK, "points": points.TASK}
