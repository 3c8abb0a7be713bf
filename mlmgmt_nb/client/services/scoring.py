"""Scoring with services, and tests of their answers. URL and key of a service are requested once and kept."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.scoring import Scored, Scorer, encode_input, needs_argument, swagger_arguments
from mlmgmt_nb.client.scoring_tests.options import LoadOptions, check_options
from mlmgmt_nb.client.services.keys import ServiceKeys
from mlmgmt_nb.contract import ServiceResponse
from mlmgmt_nb.contract.extensions import Service
from mlmgmt_nb.errors import ConnectError, ScoringError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from mlmgmt_nb.client.scoring_tests.judging import Check
    from mlmgmt_nb.client.scoring_tests.report import ScoringReport
    from mlmgmt_nb.client.scoring_tests.test import ScoringTest

__all__ = ["ServiceScoring", "missing_url"]

T = TypeVar("T")


class ServiceScoring(ServiceKeys):
    """Send inputs to services, with their primary keys."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._scorers: dict[str, Scorer] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy everything except cached keys."""
        return {**self.__dict__, "_scorers": {}}

    def swagger(self, service: ServiceResponse | str) -> dict[str, Any]:
        """Return the Swagger description of the service; its `definitions.ServiceInput.example` is a sample.

        Raises:
            ScoringError, TransportError: as for `run`.
        """
        return self._with_scorer(service, lambda scorer: scorer.swagger())

    def run(self, service: ServiceResponse | str, data: Any, *, timeout: float = 60.0) -> Any:
        """Score data with a service, and return the decoded answer.

        Example:
            >>> ws.services.run("iris", [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
            [0, 2]

        Args:
            service: the service.
            data: a dict by argument of the driver's `run`, whose values may be DataFrames (sent as records) and NumPy
                arrays (sent as lists); a DataFrame or array for a driver with one argument; any other value with a JSON
                form; text and bytes are sent unchanged.
            timeout: maximum seconds to wait for the answer.

        Raises:
            UsageError: the data cannot be sent. Nothing was sent.
            DriverError: the driver raised an exception; the service's log has the traceback.
            ScoringError: the service answered with another error.
            TransportError: the service did not answer.
        """
        check_options({"timeout": timeout})
        return self._with_scorer(service, lambda scorer: scorer.score(_body(scorer, data), timeout))

    def ask(self, service: ServiceResponse | str, data: Any, *, timeout: float = 60.0) -> Scored:
        """Score data as `run` does, but without retries, and return status, seconds and request id with the answer.

        Example:
            >>> answer = ws.services.ask("iris", [[5.1, 3.5, 1.4, 0.2]])
            >>> answer.value, answer.status
            ([0], 200)

        Args:
            service: the service.
            data: as `run` takes it.
            timeout: maximum seconds to wait for the answer.

        Raises:
            UsageError, DriverError, ScoringError, TransportError: as for `run`.
        """
        check_options({"timeout": timeout})
        return self._with_scorer(service, lambda scorer: scorer.ask(_body(scorer, data), timeout))

    def description(self, service: ServiceResponse | str) -> Mapping[str, Any]:
        """Return the result of `swagger`; empty for a service without a description."""
        return self._with_scorer(service, lambda scorer: scorer.description())

    def test(
        self,
        service: ServiceResponse | str,
        cases: pd.DataFrame | Sequence[Any],
        *,
        expect: str | Check | None = None,
        against: ServiceResponse | str | None = None,
        on_progress: Callable[[ScoringReport], None] | None = None,
        **options: Unpack[LoadOptions],
    ) -> ScoringReport:
        """Send cases to a service and judge its answers. An interrupt ends the test early and keeps the results so far.

        Example:
            >>> cases = [[[5.1, 3.5, 1.4, 0.2]], [[6.7, 3.0, 5.2, 2.3]]]
            >>> report = ws.services.test("iris", cases, expect=lambda rows, answer: len(answer) == len(rows))
            >>> report.summary["requests"], report.summary["passed"]
            (2, 2)
            >>> report.assert_ok()

        Args:
            service: the service.
            cases: a DataFrame with a row for each case, or a list of inputs as `run` takes them.
            expect: the column with the expected answers, which is not sent; or a function of input and answer that
                returns whether the answer is right.
            against: another service, whose answers are the right ones.
            on_progress: called a few times a second with the report so far.
            **options: see `LoadOptions`.

        Raises:
            UsageError: the cases or options are wrong. Nothing was sent.
        """
        return self.scoring_test(service, cases, expect=expect, against=against, **options).run(on_progress)

    def scoring_test(
        self,
        service: ServiceResponse | str,
        cases: pd.DataFrame | Sequence[Any],
        *,
        expect: str | Check | None = None,
        against: ServiceResponse | str | None = None,
        **options: Unpack[LoadOptions],
    ) -> ScoringTest:
        """Return the test that `test` runs, so that you can start, watch and stop it.

        Args:
            service, cases, expect, against: as for `test`.
            **options: see `LoadOptions`.

        Raises:
            UsageError: the cases or options are wrong. Nothing was sent.
        """
        from mlmgmt_nb.client.scoring_tests.cases import cases_of  # not needed to deploy
        from mlmgmt_nb.client.scoring_tests.test import ScoringTest

        if not (expect is None or isinstance(expect, str) or callable(expect)):
            raise UsageError(
                f"expect is {reprlib.repr(expect)}, neither the name of a column nor a function",
                field="expect",
                fix="Add the expected answers to the cases, and give the name of their column.",
            )
        found = self.get(service.id or "" if isinstance(service, ServiceResponse) else service)
        scorer = self._scorer(found)
        column = expect if isinstance(expect, str) else None
        return ScoringTest(
            scorer,
            cases_of(cases, scorer.description(), column),
            name=found.name or "",
            check=None if isinstance(expect, str) else expect,
            against=None if against is None else self._scorer(self.get(self.id_of(against))),
            expect=column,
            **options,
        )

    def _with_scorer(self, service: ServiceResponse | str, call: Callable[[Scorer], T]) -> T:
        """Call with the known scoring URL and key; get them again if they are no longer right."""
        name = (service.id or "") if isinstance(service, ServiceResponse) else service
        try:
            return self._with_known_scorer(name, call)
        except ScoringError as error:
            error.service = name
            raise

    def _with_known_scorer(self, name: str, call: Callable[[Scorer], T]) -> T:
        known = self._scorers.get(name)
        if known is not None:
            try:
                return call(known)
            except ConnectError:
                pass
            except ScoringError as error:
                if error.status_code not in {401, 404}:
                    raise
        self._scorers[name] = self._scorer(self.get(name))
        return call(self._scorers[name])

    def _scorer(self, found: Service) -> Scorer:
        if not found.scoring_uri:
            raise missing_url(found.name, found.state)
        return Scorer(self._transport, found.scoring_uri, self.keys(found).primary_key)


def missing_url(name: str | None, state: str | None) -> UsageError:
    """Return the error about a service without a scoring URL."""
    if state == "Succeeded":  # at a cluster that does not respond, or has no address for it now
        return UsageError(f"the scoring URL of service {name!r} is not known yet", field="service", fix="Try again.")
    return UsageError(
        f"service {name!r} has no scoring URL: it is {state}",
        field="service",
        fix=f"`ws.services.get({name!r})` shows its error or its progress.",
    )


def _body(scorer: Scorer, data: Any) -> bytes:
    return encode_input(data, swagger_arguments(scorer.swagger()) if needs_argument(data) else None)
