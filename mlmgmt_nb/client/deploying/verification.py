"""The verification of a service that runs a packaged model: it must answer the sample as the object does."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import msgspec

from mlmgmt_nb import local
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.contract.changes import Candidate
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.contract.resolving import resolve
from mlmgmt_nb.errors import DriverError, MlmgmtError, PackagingError, ScoringError

if TYPE_CHECKING:
    from mlmgmt_nb.client.services import Services
    from mlmgmt_nb.client.services.candidates import ProposedChange
    from mlmgmt_nb.packaging import Difference, Proof

__all__ = ["DeployedService", "Verification"]

_SECONDS = 60.0
_BAD_REQUEST = 400
_LOG_LINES = 100
_LOG_SECONDS, _LOG_PAUSE_SECONDS = 2.0, 0.05


class DeployedService(Service, frozen=True, kw_only=True):
    """A service that runs a packaged model. Its display has three lines: the proof, the URL, and a command to try it.

    Attributes:
        proof: comparison of its answer to the sample with that of the object in the notebook, such as `answers 20 rows
            as the notebook does, bit for bit`.
        command: the command that scores its example, without the name of the program.
    """

    proof: str
    command: str

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """The lines of its display, without the program before the command: pairs of a label and its text."""
        url = self.scoring_uri or ""
        return (f"service {self.name}", self.proof), ("URL", url), ("try it", self.command)


resolve(DeployedService)


@dataclass(frozen=True)
class Verification:
    """The comparison of a running service with the package that it serves.

    Attributes:
        request: the sample as the body of a request; empty without a sample.
        expected: the answer of the package.
        proof: the result of the fresh process that returned it.
        tolerance: maximum relative difference between numbers.
    """

    request: bytes
    expected: Any
    proof: Proof | None
    tolerance: float

    def of(
        self, services: Services, before: ServiceResponse | None, connect: Mapping[str, str]
    ) -> Callable[[Service], Service]:
        """Return the check of a service.

        Args:
            services: the services of the account.
            before: the service before the deployment, or None if it is new.
            connect: the arguments of `connect` that lead to the account.
        """
        return partial(self._checked, services, before, connect)

    def _checked(
        self, services: Services, before: ServiceResponse | None, connect: Mapping[str, str], service: Service
    ) -> Service:
        largest = self._difference(services, before, service) if self.request else 0.0
        command = " ".join(["service run", f"-n {service.name}", *_place(connect)])
        return DeployedService(**msgspec.structs.asdict(service), proof=self._claim(largest), command=command)

    def of_candidate(self, services: Services) -> Callable[[ProposedChange], ProposedChange]:
        """Return the check of a proposed change, which is discarded if its answer differs.

        Args:
            services: the services of the account.
        """

        def checked(change: ProposedChange) -> ProposedChange:
            if self.request:
                self._difference(services, None, change.candidate)
            return change

        return checked

    def _claim(self, largest: float) -> str:
        if self.proof is None:
            return "runs; there was no sample to compare its answer with"
        return self.proof.statement(largest)

    def _difference(self, services: Services, before: ServiceResponse | None, service: ServiceResponse) -> float:
        """Return the largest difference of the answers. Undo the deployment if it exceeds the tolerance.

        Raises:
            PackagingError: they differ, or the service fails to answer.
        """
        from mlmgmt_nb.packaging.proof import compare

        try:
            got = services.run(service, self.request, timeout=_SECONDS)
        except ScoringError as error:
            if not isinstance(error, DriverError) and error.status_code != _BAD_REQUEST:
                raise
            trace = _trace(services, service, error.request_id) if self._shows_values else ""
            undone = _undo(services, before, service)
            raise PackagingError(
                f"the service {service.name!r} fails for the sample that the object in the notebook answers: "
                f"{error.message}; {undone}{trace}",
                proof=self._proof_of(math.inf, ()),
                fix="Give the files and variables of the notebook that it needs: `dependencies`, `environment`.",
            ) from error
        largest, differences = compare(self.expected, got, self.tolerance)
        if not differences:
            return largest
        undone, proof = _undo(services, before, service), self._proof_of(largest, differences)
        raise PackagingError(
            f"the service {service.name!r} does not return the same answers as the object in the notebook; "
            f"{undone}\n{proof}",
            proof=proof,
            fix="Compare the versions of its packages with those of this kernel, or give a `tolerance`.",
        )

    @property
    def _shows_values(self) -> bool:
        return self.proof is None or self.proof.shows_values

    def _proof_of(self, largest: float, differences: tuple[Difference, ...]) -> Proof:
        from mlmgmt_nb.packaging.proof import Proof

        rows = self.proof.rows if self.proof else 1
        return Proof(rows, True, largest, differences, shows_values=self._shows_values)


def _undo(services: Services, before: ServiceResponse | None, service: ServiceResponse) -> str:
    """Delete a new service, or roll another one back; return the outcome as text."""
    if isinstance(service, Candidate):
        services.discard(service.service_id or "")
        return "it was discarded"
    if before is None:
        services.delete(service)
        return "it was deleted"
    services.update(service, image=before.image).result()
    return "it was rolled back to its previous image"


def _trace(services: Services, service: ServiceResponse, request_id: str) -> str:
    """Return the traceback of a request in the log of a service, which may be deleted; empty if there is none.

    A log may have the lines of a request later than its caller has the response.
    """
    until = time.monotonic() + _LOG_SECONDS
    with contextlib.suppress(MlmgmtError):
        while True:
            after = services.logs(service, tail=_LOG_LINES).text.partition(request_id)[2].splitlines()[1:]
            trace = [*takewhile(lambda line: line.startswith(("Traceback", " ")), after)]
            if len(after) > len(trace) > 0 or time.monotonic() > until:
                return "".join(f"\n{line}" for line in trace)
            time.sleep(_LOG_PAUSE_SECONDS)
    return ""


def _place(connect: Mapping[str, str]) -> Iterator[str]:
    """Yield the flags for an account that a command does not find by itself."""
    home, base_url = connect.get("home"), connect.get("base_url")
    if home is not None and local.state_folder(home) != local.state_folder(None):
        yield f"--home {shlex.quote(home)}"
    if base_url is not None and base_url != os.environ.get("MLMGMT_BASE_URL"):
        yield f"--base-url {shlex.quote(base_url)}"
