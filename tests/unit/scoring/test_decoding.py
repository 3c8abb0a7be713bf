"""Bodies without their content coding and in UTF-8: decoded right, or refused, and never misread."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlmgmt_nb.scoring.errors import RequestError
from mlmgmt_nb.scoring.http.decoding import as_utf8, inflater, is_utf8

UNICODE = ("utf-8", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
).map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode())


def declared(charset: str) -> bytes:
    return f"application/json; charset={charset}".encode()


def with_mark(text: str, charset: str) -> bytes:
    return text.encode(charset) if charset in {"utf-16", "utf-32"} else ("\ufeff" + text).encode(charset)


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


CODERS: dict[str, list[Callable[[bytes], bytes]]] = {
    "gzip": [gzip.compress, lambda data: gzip.compress(data[: len(data) // 2]) + gzip.compress(data[len(data) // 2 :])],
    "x-gzip": [gzip.compress],
    "deflate": [zlib.compress, raw_deflate],
}


class TestCharsets:
    @given(JSON, st.sampled_from(UNICODE), st.booleans())
    def test_unicode_that_says_so(self, text: str, charset: str, marked: bool) -> None:
        body = with_mark(text, charset) if marked else text.encode(charset)
        assert as_utf8(body, declared(charset)) == text.encode()
        assert as_utf8(body, declared(f'"{charset.upper()}"')) == text.encode()

    @given(JSON, st.sampled_from(UNICODE))
    def test_unicode_that_shows_it(self, text: str, charset: str) -> None:
        for content_type in (b"", b"application/json"):
            assert as_utf8(with_mark(text, charset), content_type) == text.encode()

    @pytest.mark.parametrize("charset", UNICODE)
    @pytest.mark.parametrize("text", ['{"a": 1}', "[1]", "12", "1", '"é日"'])
    def test_json_in_unicode_without_a_mark(self, charset: str, text: str) -> None:
        """RFC 4627: the zeros of the first characters tell; `utf-16` itself does not say which end comes first."""
        body = text.encode(f"{charset}-be" if charset in {"utf-16", "utf-32"} else charset)
        for content_type in (b"", declared(charset)):
            assert as_utf8(body, content_type) == text.encode()

    @pytest.mark.parametrize("charset", ["iso-8859-1", "latin1", "iso-8859-15", "windows-1252", "cp1251", "us-ascii"])
    def test_other_charsets(self, charset: str) -> None:
        text = "[1]" if charset == "us-ascii" else '{"name": "д"}' if charset == "cp1251" else '{"name": "é"}'
        assert as_utf8(text.encode(charset), declared(charset)) == text.encode()

    @pytest.mark.parametrize(
        "charset", ["utf-7", "punycode", "idna", "rot13", "base64", "unicode_escape", "nowhere", "\0"]
    )
    def test_charsets_that_are_not_known(self, charset: str) -> None:
        with pytest.raises(RequestError, match=charset.replace("\0", r"\\x00")) as caught:
            as_utf8(b"[1]", declared(charset))
        assert caught.value.status == 415

    def test_which_end_comes_first_must_be_known(self) -> None:
        with pytest.raises(RequestError, match="declare utf-16le or utf-16be") as caught:
            as_utf8("日本".encode("utf-16-be"), declared("utf-16"))
        assert caught.value.status == 415

    @pytest.mark.parametrize("body", [b"\xff\xfe[\0\0", b"\xff\xfe\x00\xd8", b"[\0\0"])
    def test_what_is_not_in_its_charset(self, body: bytes) -> None:
        with pytest.raises(RequestError, match="the body is not UTF-16LE text: ") as caught:
            as_utf8(body, declared("utf-16le"))
        assert caught.value.status == 400

    @given(st.binary(max_size=8), st.sampled_from((b"", b"text/plain", declared("utf-8"), declared("utf-16"))))
    def test_the_short_way_is_right(self, body: bytes, content_type: bytes) -> None:
        if is_utf8(body, content_type):
            assert as_utf8(body, content_type) == body

    @given(JSON)
    def test_utf8_is_left_as_it_is(self, text: str) -> None:
        for content_type in (b"", b"application/json", declared("utf-8")):
            assert is_utf8(text.encode(), content_type)
            assert as_utf8(text.encode(), content_type) == text.encode()


class TestCodings:
    @given(st.data())
    def test_whatever_the_parts(self, data: st.DataObject) -> None:
        coding = data.draw(st.sampled_from(sorted(CODERS)))
        content = data.draw(st.binary(max_size=100) | st.integers(0, 2**20).map(lambda size: b"ab" * size))
        encoded = data.draw(st.sampled_from(CODERS[coding]))(content)
        places = sorted(data.draw(st.lists(st.integers(0, len(encoded)), max_size=5)))
        decoder = inflater(coding.upper().encode())
        assert decoder
        ends = [*places, len(encoded)]
        parts = [p for begin, end in zip([0, *ends], ends, strict=False) for p in decoder.feed(encoded[begin:end])]
        decoder.finish()
        assert b"".join(parts) == content
        assert max(map(len, parts), default=0) <= 2**18

    @pytest.mark.parametrize("coding", CODERS)
    def test_every_end_that_is_missing(self, coding: str) -> None:
        encoded = CODERS[coding][0](b"some content of a body")
        for end in range(1, len(encoded)):
            decoder = inflater(coding.encode())
            assert decoder
            list(decoder.feed(encoded[:end]))
            with pytest.raises(RequestError, match="the data is truncated") as caught:
                decoder.finish()
            assert caught.value.status == 400

    @pytest.mark.parametrize("body", [b'{"a": 1}', b"\x1f\x8b nothing", gzip.compress(b"[1]", mtime=0) + b"more"])
    def test_what_is_not_gzip(self, body: bytes) -> None:
        decoder = inflater(b"gzip")
        assert decoder
        with pytest.raises(RequestError, match="the body is not gzip data, as Content-Encoding says"):
            list(decoder.feed(body))

    def test_more_behind_the_end_of_deflate(self) -> None:
        decoder = inflater(b"deflate")
        assert decoder
        with pytest.raises(RequestError, match="extra data follows its end"):
            list(decoder.feed(zlib.compress(b"[1]") * 2))

    def test_nothing_to_undo(self) -> None:
        assert inflater(b"") is inflater(b" Identity ") is None
        decoder = inflater(b"gzip")
        assert decoder
        assert list(decoder.feed(b"")) == []
        decoder.finish()

    @pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "compress", "x" * 1000])
    def test_codings_that_are_not_known(self, coding: str) -> None:
        with pytest.raises(RequestError, match=coding[:100]) as caught:
            inflater(coding.encode())
        assert caught.value.status == 415
        assert caught.value.headers == {"Accept-Encoding": "gzip, deflate"}
