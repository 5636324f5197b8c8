"""SIGTERM and ctrl-C: a run saves before it exits."""

import contextlib
import os
import signal
import threading
from typing import Any


class Interrupts:
    """SIGTERM and ctrl-C: the end at once while nothing can be lost, then a flag to poll.

        with Interrupts() as interrupts:
            import, read, compile                # a signal ends the process here, as `kill` does
            interrupts.hold()
            while ...:
                if interrupts.requested:
                    save; return interrupts.exit_code

    A second ctrl-C ends the process at once, also while the main thread compiles, where Python's
    handlers don't run. Outside the main thread nothing is caught. Exit codes are 130 after ctrl-C
    and 143 after SIGTERM, as shells count.

    Attributes:
      requested: number of the first signal since `hold`, or None.
    """

    def __init__(self):
        self.requested: int | None = None
        self._holding = False
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """130 after ctrl-C, 143 after SIGTERM; 0 without a signal."""
        return 0 if self.requested is None else 128 + self.requested

    def hold(self) -> None:
        """From here on the first signal waits for whoever polls `requested`."""
        self._holding = True

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is not threading.main_thread():
            return self
        reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._previous_writer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # Python writes the number of each signal into the pipe as it comes in.
        self._watcher = threading.Thread(target=self._watch, args=(reader,), daemon=True)
        self._watcher.start()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_) -> None:
        if not self._previous:
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
        signal.set_wakeup_fd(self._previous_writer)
        os.close(self._writer)
        self._watcher.join()

    def _request(self, number: int, frame: Any) -> None:
        if self.requested is None:
            self.requested = number

    def _watch(self, reader: int) -> None:
        interrupts = signals = 0
        with open(reader, "rb", buffering=0) as pipe:
            while received := pipe.read(1):
                number = received[0]
                if number not in (signal.SIGINT, signal.SIGTERM):
                    continue
                interrupts += number == signal.SIGINT
                signals += 1
                if not self._holding:
                    _tell("stopped before the first step; the same command goes on")
                    os._exit(128 + number)
                if interrupts == 2:
                    os._exit(128 + signal.SIGINT)
                if signals == 1:
                    _tell("saving, then stopping (ctrl-C again stops at once)")


def _tell(message: str) -> None:
    # Not print, whose lock the main thread may hold.
    with contextlib.suppress(OSError):
        os.write(2, f"\n{message}\n".encode())
