"""Read YAML that others wrote. Every problem with it is a `YamlError`."""

from __future__ import annotations

__all__ = ["YamlError", "read_yaml"]

_MOST_CHARACTERS = 300


class YamlError(ValueError):
    """A text is not YAML that can be read. The message is one line."""


def read_yaml(text: str) -> object:
    """Decode a YAML document into plain Python values.

    Raises:
        YamlError: it is not valid, or has a value that Python does not, such as the date 2001-99-99.
    """
    import yaml  # only here: the client imports this module each time

    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The library's own constructors of dates and numbers raise these.
        raise YamlError(" ".join(str(error).split())[:_MOST_CHARACTERS]) from error
