"""Find the user's embedded service, or start it as a separate process: one for each state folder.

The service writes `service.json` into its state folder once it listens, and holds a lock on `service.lock` while it
lives. What `service.json` says is believed only when the server there answers, under the folder's token, with the same
process id and folder: what a copy of a folder says about the original is not. Processes that share a folder and a
database have `service-2.json`, `service-2.lock` and so on; any of them is as good as the other.
"""

from mlmgmt_nb.local.endpoint import Endpoint, get, pinned
from mlmgmt_nb.local.folder import is_locked, state_folder
from mlmgmt_nb.local.lifecycle import ensure, resume, stop
from mlmgmt_nb.local.records import find, responding

__all__ = [
    "Endpoint",
    "ensure",
    "find",
    "get",
    "is_locked",
    "pinned",
    "responding",
    "resume",
    "state_folder",
    "stop",
]
