"""Lists of the server, fetched on demand, one page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from mlmgmt_nb.client.http.frames import to_frame
from mlmgmt_nb.client.http.responses import decode
from mlmgmt_nb.client.http.transport import Transport, origin
from mlmgmt_nb.contract import OPERATIONS, Operation
from mlmgmt_nb.errors import ServerError, UsageError
from mlmgmt_nb.short_repr import cut

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PAGE_SIZE", "Page", "Pager"]

PAGE_SIZE = 1000
"""Number of items requested for a page; a server may return fewer."""

T = TypeVar("T", bound=msgspec.Struct)


class Page(NamedTuple, Generic[T]):
    """A page: its items, and the token with which `Pager.by_page` continues after it (None on the last page)."""

    value: Sequence[T]
    continuation_token: str | None

    def __repr__(self) -> str:
        return f"<Page of {len(self.value):,} items{', and more' if self.continuation_token else ''}>"


class Pager(Generic[T]):
    """All items of a list. Iterating fetches page after page; each iteration starts again.

    Example:
        >>> models = ws.models.list(tag="prod")
        >>> [model.name for model in models]
        ['iris']
        >>> models.to_frame()[["name", "version"]]
           name  version
        0  iris        1

    Args:
        transport: sends the requests.
        operation: the list operation, or its id in the contract; its 200 answer is a page type or a list.
        item: type of the items.
        query: the filters; None values are left out.
        count: maximum number of items in a page, or None for an operation without pages.

    Attributes:
        item: type of the items.
    """

    def __init__(
        self,
        transport: Transport,
        operation: Operation | str,
        item: type[T],
        query: Mapping[str, str | None],
        count: int | None = PAGE_SIZE,
    ) -> None:
        if count is not None and count < 1:
            raise UsageError(f"count is {count}", field="count", fix="Request at least 1 item per page.")
        self._transport = transport
        self._operation = OPERATIONS[operation] if isinstance(operation, str) else operation
        self.item = item
        self._query = {**query, "count": None if count is None else str(count)}

    @property
    def title(self) -> str:
        """The kind of the items, such as `models`."""
        return self._operation.path.strip("/")

    def __iter__(self) -> Iterator[T]:
        for page in self.by_page():
            yield from page.value

    def by_page(self, continuation_token: str | None = None) -> Iterator[Page[T]]:
        """Yield the pages, from the first or after the page that a token belongs to.

        Example:
            >>> pages = ws.models.list(tag="prod", count=50).by_page()
            >>> page = next(pages)
            >>> len(page.value), page.continuation_token
            (1, None)

        Args:
            continuation_token: the token of a page, to start after it.

        Raises:
            UsageError: the token does not belong to this list.
            ServerError: the server's `nextLink` leads to another server, which would receive the bearer token.
        """
        path = self._operation.path
        if continuation_token is not None and not continuation_token.startswith(path + "?"):
            raise UsageError(
                f"the continuation token is not one of {path}", field="continuation_token", fix="Take it from a page."
            )
        token = continuation_token
        while True:
            page = self._first() if token is None else self._decoded(self._transport.send("GET", token))
            if page.continuation_token is not None and page.continuation_token == token:
                raise ServerError(f"the nextLink of {path} leads back to the same page", status_code=200)
            yield page
            token = page.continuation_token
            if token is None:
                return

    def to_frame(self) -> pd.DataFrame:
        """Return all items as a DataFrame; see `mlmgmt_nb.client.http.frames` for its columns and dtypes."""
        return to_frame(self.item, (page.value for page in self.by_page()))

    def __reduce__(self) -> tuple[Any, ...]:
        raise UsageError(
            "a list of server resources cannot be copied or pickled", field="list", fix="Take its items: `list(...)`."
        )

    def __repr__(self) -> str:
        filters = "".join(
            f" {name}={cut(repr(value), 40)}"
            for name, value in self._query.items()
            if value and name not in {"count", "archived"}
        )
        return f"<Pager of {self._operation.path}{filters}>"

    def _first(self) -> Page[T]:
        query = {name: value for name, value in self._query.items() if value is not None}
        return self._decoded(self._transport.send("GET", self._operation.path, query=query))

    def _decoded(self, response: Any) -> Page[T]:
        answer = decode(response, self._operation.answers[200].body)
        if isinstance(answer, list):
            return Page(answer, None)
        next_link = None if answer.next_link is msgspec.UNSET else answer.next_link
        return Page(answer.value, self._token(next_link) if next_link else None)

    def _token(self, next_link: str) -> str:
        """Return the part of a `nextLink` after the base URL; it stays valid if the service moves to another port."""
        base_url, path = self._transport.base_url, self._operation.path
        try:
            same_origin = origin(next_link) == origin(base_url)
        except UsageError:
            same_origin = False
        _, found, query = next_link.partition(path + "?")
        if not same_origin or not found:
            raise ServerError(
                f"the nextLink of {path} is not on this server: {next_link}",
                status_code=200,
                fix=f"It was not followed, because the token is meant for {base_url} only.",
            )
        return f"{path}?{query}"
