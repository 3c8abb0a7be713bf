"""A copy of the scoring runtime that is made before an image needs it: its files take 0.1 seconds or more to create."""

from __future__ import annotations

import contextlib
import shutil
import threading
from pathlib import Path

from mlmgmt_nb.scoring.distribution import copy_runtime, runtime_files

__all__ = ["RuntimeCopies"]


class RuntimeCopies:
    """Copies of the scoring runtime, each for one image. At most one waits for its image.

    Args:
        folder: the folder of the copy that waits.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[tuple[str, int, int]] | None = None
        self._is_due = True
        self._copying = threading.Lock()

    def prepare(self) -> None:
        """Make the copy for the next image, unless another thread makes it. Try once: the disk may be full.

        Raises:
            OSError: it cannot be written.
        """
        if not self._copying.acquire(blocking=False):
            return
        try:
            if self._is_due:
                self._is_due = False
                self._make()
        finally:
            self._copying.release()

    def _make(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            copy_runtime(self._folder)
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._files = runtime_files(self._folder)

    def move_to(self, folder: Path) -> None:
        """Give a copy of the runtime, as it is installed now, to an image.

        Args:
            folder: the folder for the copy, which does not exist yet.

        Raises:
            OSError: it cannot be written.
        """
        with self._copying:
            files, self._files, self._is_due = self._files, None, True
            if files is not None and files == runtime_files() == runtime_files(self._folder):
                with contextlib.suppress(OSError):  # images may be on another file system
                    self._folder.rename(folder)
                    return
        copy_runtime(folder)
