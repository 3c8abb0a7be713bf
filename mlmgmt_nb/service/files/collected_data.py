"""Reading collected data from the folder, fsspec URL or Azure storage account that replicas write it to."""

from __future__ import annotations

from mlmgmt_nb.scoring.remote_files import open_files

__all__ = ["Collection"]


class Collection:
    """CSV files in a storage.

    Args:
        where: a folder, an fsspec URL, or the connection string of an Azure storage account.
    """

    def __init__(self, where: str) -> None:
        self._files, self._root = open_files(where)

    def files(self, folder: str) -> dict[str, int]:
        """Return the paths below a folder and their sizes; empty if the folder does not exist.

        Raises:
            Exception: the storage cannot be read; the type depends on the storage.
        """
        place = self._root + folder
        self._files.invalidate_cache()
        try:
            found = self._files.find(place, detail=True)
        except FileNotFoundError:
            return {}
        files = {name.partition(f"{folder}/")[2]: int(info["size"]) for name, info in sorted(found.items())}
        return {name: size for name, size in files.items() if name.endswith(".csv")}

    def read(self, folder: str, name: str) -> bytes:
        """Return a file that `files` has listed."""
        return bytes(self._files.cat_file(f"{self._root}{folder}/{name}"))
