"""Services: create, update, get, list, delete; their keys and logs; and scoring with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

from mlmgmt_nb.client.bodies import ServiceSettings, checked, is_uuid, not_found, settings_fields
from mlmgmt_nb.client.http.paging import PAGE_SIZE, Pager
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport
from mlmgmt_nb.client.kernel_versions import warn_of_versions
from mlmgmt_nb.client.monitoring.collected import read_collected
from mlmgmt_nb.client.monitoring.logs import LogPart, read_log
from mlmgmt_nb.client.monitoring.metrics import ServiceMetrics, parse_metrics
from mlmgmt_nb.client.operations import Operations
from mlmgmt_nb.client.polling import Poller
from mlmgmt_nb.client.scoring import Scored, Scorer, encode_input, needs_argument, swagger_arguments
from mlmgmt_nb.client.scoring_tests.cases import cases_of
from mlmgmt_nb.client.scoring_tests.report import ScoringReport
from mlmgmt_nb.client.scoring_tests.test import Check, LoadOptions, ScoringTest, described
from mlmgmt_nb.contract import (
    OPERATIONS,
    AuthKeys,
    ComputeResource,
    Image,
    ServiceRegenerateKeyRequest,
    ServiceResponse,
)
from mlmgmt_nb.contract.extensions import SERVICES_LIST, VARIABLES, Service, ServiceCreate, ServiceUpdate
from mlmgmt_nb.errors import ConnectError, NotFoundError, ScoringError, UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Services"]

T = TypeVar("T")

_COMMON_COMPUTES = frozenset({"local", "docker"})
"""Computes that each service of ours has; it reports itself whether `docker` is available."""


class Services:
    """The services of the account. Where a method takes a service, it takes its id, its name or a `Service`.

    Args:
        compute: the default compute of new services.

    Example:
        >>> service = ws.services.get("iris")
        >>> service.state, service.num_replicas
        ('Succeeded', 1)
        >>> ws.services.keys("iris")
        AuthKeys(primary_key=***, secondary_key=***)
    """

    def __init__(self, transport: Transport, operations: Operations, compute: str = "local") -> None:
        self._transport = transport
        self._compute = compute
        self._operations = operations
        self._scorers: dict[str, Scorer] = {}

    def __getstate__(self) -> dict[str, Any]:
        """For `pickle` and `copy`: all but the keys that are kept."""
        return {**self.__dict__, "_scorers": {}}

    def create(
        self,
        name: str,
        image: Image | str,
        *,
        compute_resource_id: str | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Poller[Service]:
        """Start an image as a web service.

        Args:
            name: its name, unique in the account: 3 to 32 of a-z, 0-9, `-` and `.`.
            image: the image, or its id.
            compute_resource_id: where it is to run; when None, where the image was built for if an `Image` is given, or
                the compute of the workspace.
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: a property breaks a limit. Nothing was sent.
            ConflictError: another service has the name.
        """
        of_image = image.compute_resource_id if isinstance(image, Image) else None
        body = _create_request(name, _image_id(image), compute_resource_id or of_image or self._compute, settings)
        self._check_support(body)
        return self._operations.started(self._transport.call("services_create", body=body), self._get)

    def check(self, name: str, *, compute_resource_id: str = "local", **settings: Unpack[ServiceSettings]) -> None:
        """Check the arguments of `create` before an image exists. Nothing is sent.

        Example:
            >>> ws.services.check("iris", memory="a lot")
            Traceback (most recent call last):
            ...
            mlmgmt_nb.errors.UsageError: containerResourceReservation.memory: not valid
            Give memory as Kubernetes does: `300Mi` or `1G`.

        Args:
            name: of the service.
            compute_resource_id: where it would run.
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: a property breaks a limit.
        """
        _create_request(name, "not known yet", compute_resource_id, settings)

    def check_server(self, *, compute_resource_id: str = "local", **settings: Unpack[ServiceSettings]) -> None:
        """Check that the server has the compute and supports the settings. Only extensions need a request.

        Args:
            compute_resource_id: where the service would run.
            **settings: see `ServiceSettings`.

        Raises:
            UsageError: the compute is unknown, or the server does not support environment variables.
        """
        self._check_compute(compute_resource_id)
        self._check_support(checked(ServiceUpdate, **settings_fields(**settings)))

    def _check_compute(self, compute: str) -> None:
        """Refuse a name that is neither a compute nor an alias. The server has a rule for resource ids of 2017."""
        if compute in _COMMON_COMPUTES or compute.startswith("/"):
            return
        try:
            known = {each["id"] for each in self._transport.send("GET", "/computes").json()["value"]}
        except NotFoundError:  # another server, which does not list its computes
            return
        if compute not in known:
            raise UsageError(
                f"compute_resource_id: compute {compute!r} is not known to this service",
                field="compute_resource_id",
                fix=f"Use one of {', '.join(sorted(known))}.",
            )

    def _check_support(self, body: ServiceCreate | ServiceUpdate) -> None:
        if body.environment is None and body.secrets is None:
            return
        try:
            supported = self._transport.send("GET", "/extensions").json()["value"]
        except NotFoundError:
            supported = ()
        if VARIABLES not in supported:
            raise UsageError(
                "environment: this server does not support environment variables and secrets of services",
                field="environment",
                fix="Leave them out, and have the driver read a file that you give as a dependency.",
            )

    def update(
        self,
        service: ServiceResponse | str,
        *,
        image: Image | str | None = None,
        **settings: Unpack[ServiceSettings],
    ) -> Poller[Service]:
        """Change a service, under the same URL and keys.

        Example:
            >>> changed = ws.services.update("iris", max_concurrent_requests=20).result()
            >>> changed.max_concurrent_requests_per_container
            20

        Args:
            service: the service.
            image: another image, or its id. With an `Image` a warning says if this kernel has other versions than those
                that its model was packaged with.
            **settings: what is to change, see `ServiceSettings`; the rest stays.

        Raises:
            UsageError: a property breaks a limit. Nothing was sent.
            NotFoundError: the service does not exist.
        """
        body = checked(
            ServiceUpdate,
            image_id=None if image is None else _image_id(image),
            **settings_fields(**settings),
        )
        self._check_support(body)
        if isinstance(image, Image):
            warn_of_versions(image.manifest)
        answer = self._transport.call("services_update", id=self.id_of(service), body=body)
        return self._operations.started(answer, self._updated)

    def get(self, id_or_name: str) -> Service:
        """Return a service by its id or name.

        Args:
            id_or_name: its id or name.

        Raises:
            NotFoundError: it does not exist.
        """
        if not is_uuid(id_or_name):
            service = self.find(id_or_name)
            if service is not None:
                return service
        try:
            return self._get(id_or_name)
        except NotFoundError as error:
            raise not_found("service", id_or_name, error) from error

    def find(self, name: str) -> Service | None:
        """Return the service of this name, or None."""
        return next((service for service in self.list(service_name=name) if service.name == name), None)

    def list(
        self,
        *,
        service_name: str | None = None,
        model_id: str | None = None,
        model_name: str | None = None,
        manifest_id: str | None = None,
        manifest_name: str | None = None,
        image_id: str | None = None,
        compute_resource_id: str | None = None,
        count: int = PAGE_SIZE,
    ) -> Pager[Service]:
        """Return the services that match every filter given, newest first.

        Args:
            service_name: the service of this name.
            model_id, model_name: services with this model, or with a model of this name.
            manifest_id, manifest_name: services of this manifest, or of manifests of this name.
            image_id: services of this image.
            compute_resource_id: services on this compute.
            count: maximum number of services per page.
        """
        query = {
            "serviceName": service_name,
            "modelId": model_id,
            "modelName": model_name,
            "manifestId": manifest_id,
            "manifestName": manifest_name,
            "imageId": image_id,
            "computeResourceId": compute_resource_id,
        }
        return Pager(self._transport, SERVICES_LIST, Service, query, count)

    def delete(self, service: ServiceResponse | str) -> bool:
        """Delete a service. Return False if it did not exist."""
        try:
            service_id = self.id_of(service)
        except NotFoundError:
            return False
        return self._transport.call("services_delete", id=service_id).status_code != 204

    def keys(self, service: ServiceResponse | str) -> AuthKeys:
        """Return both keys of a service; `repr` does not show them."""
        return decode(self._transport.call("services_get_keys", id=self.id_of(service)), AuthKeys)

    def regenerate_key(
        self, service: ServiceResponse | str, key_type: Literal["Primary", "Secondary"] = "Primary"
    ) -> AuthKeys:
        """Replace one key of a service immediately, and keep the other. Return both keys.

        Args:
            service: the service.
            key_type: which key.
        """
        service_id = self.id_of(service)
        body = checked(ServiceRegenerateKeyRequest, key_type=key_type)
        answer = self._transport.call("services_regenerate_keys", id=service_id, body=body, accept={404, 405})
        if answer.status_code in {404, 405}:  # a server that has the path of the 2017 client only
            answer = self._transport.call("services_regenerate_keys_alias", id=service_id, body=body)
        return decode(answer, AuthKeys)

    def logs(self, service: ServiceResponse | str, *, offset: int = 0, tail: int | None = None) -> LogPart:
        """Return the log of a service and its replicas.

        Args:
            service: the service.
            offset: byte where to start: the `next_offset` of an earlier part.
            tail: number of lines at the end.
        """
        path = OPERATIONS["services_get"].url("", id=self.id_of(service))
        return read_log(self._transport, f"{path}/logs", offset=offset, tail=tail)

    def metrics(self, service: ServiceResponse | str) -> ServiceMetrics:
        """Return what the replicas of a service have counted, how many there are, and how long requests took.

        Raises:
            NotFoundError: the service does not exist, or the server has no metrics of services.
        """
        path = OPERATIONS["services_get"].url("", id=self.id_of(service))
        return parse_metrics(self._transport.send("GET", f"{path}/metrics").text)

    def data(
        self, service: ServiceResponse | str, *, model: str | None = None, identifier: str | None = None
    ) -> pd.DataFrame:
        """Return the data that the driver collected with `ModelDataCollector`; see `client.monitoring.collected`.

        Args:
            service: the service, created or updated with `collect_model_data=True`.
            model: only rows of the model of this name.
            identifier: only rows collected under this identifier, such as `inputs`.
        """
        path = OPERATIONS["services_get"].url("", id=self.id_of(service))
        return read_collected(self._transport, f"{path}/data", model=model, identifier=identifier)

    def swagger(self, service: ServiceResponse | str) -> dict[str, Any]:
        """Return the Swagger description of the service; its `definitions.ServiceInput.example` is a sample.

        Raises:
            ScoringError, TransportError: as `run`.
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
                arrays (sent as lists); a DataFrame or array for a driver with one argument; anything else that JSON
                has; text and bytes go as they are.
            timeout: maximum seconds to wait for the answer.

        Raises:
            UsageError: the data cannot be sent. Nothing was sent.
            DriverError: the driver raised; the service's log has the traceback.
            ScoringError: the service answered with another error.
            TransportError: the service did not answer.
        """
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
            UsageError, DriverError, ScoringError, TransportError: as `run`.
        """
        return self._with_scorer(service, lambda scorer: scorer.ask(_body(scorer, data), timeout))

    def description(self, service: ServiceResponse | str) -> Mapping[str, Any]:
        """Return the result of `swagger`; empty for a service without a description."""
        return self._with_scorer(service, described)

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
                tells whether the answer is right.
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
        """Return what `test` runs, so that you can start, watch and stop it.

        Args:
            service, cases, expect, against: as those of `test`.
            **options: see `LoadOptions`.

        Raises:
            UsageError: the cases or options are wrong. Nothing was sent.
        """
        found = self.get(service.id or "" if isinstance(service, ServiceResponse) else service)
        scorer = self._scorer(found)
        column = expect if isinstance(expect, str) else None
        return ScoringTest(
            scorer,
            cases_of(cases, described(scorer), column),
            name=found.name or "",
            check=None if isinstance(expect, str) else expect,
            against=None if against is None else self._scorer(self.get(self.id_of(against))),
            expect=column,
            **options,
        )

    def id_of(self, service: ServiceResponse | str) -> str:
        """Return the id of a service that is given as such, by its id or by its name."""
        if isinstance(service, ServiceResponse):
            return service.id or ""
        return service if is_uuid(service) else self.get(service).id or ""

    def _get(self, service_id: str) -> Service:
        return decode(self._transport.call("services_get", id=service_id), Service)

    def _updated(self, service_id: str) -> Service:
        # A kept connection may still lead to a replica of before, which answers once more before it goes.
        self._transport.close()
        return self._get(service_id)

    def _with_scorer(self, service: ServiceResponse | str, call: Callable[[Scorer], T]) -> T:
        """Call with the known scoring URL and key; get them again if they are no longer right."""
        name = (service.id or "") if isinstance(service, ServiceResponse) else service
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
            raise UsageError(
                f"service {found.name!r} has no scoring URL: it is {found.state}",
                field="service",
                fix="Wait for its operation; `ws.services.get(...)` shows its error.",
            )
        return Scorer(self._transport, found.scoring_uri, self.keys(found).primary_key)


def _create_request(
    name: str, image_id: str | None, compute_resource_id: str, settings: ServiceSettings
) -> ServiceCreate:
    return checked(
        ServiceCreate,
        name=name,
        image_id=image_id,
        compute_resource=ComputeResource(id=compute_resource_id, type="Cluster"),
        **settings_fields(**settings),
    )


def _body(scorer: Scorer, data: Any) -> bytes:
    return encode_input(data, swagger_arguments(scorer.swagger()) if needs_argument(data) else None)


def _image_id(image: Image | str) -> str | None:
    return image.id if isinstance(image, Image) else image
