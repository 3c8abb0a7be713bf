"""Read untrusted YAML. Problems with it are reported as `YamlError`."""

from __future__ import annotations

__all__ = ["YamlError", "read_yaml"]

_MOST_CHARACTERS = 300


class YamlError(ValueError):
    """A text is not readable YAML. The message is one line."""


def read_yaml(text: str) -> object:
    """Decode a YAML document into plain Python values.

    Raises:
        YamlError: the text is not valid, or has a value that Python cannot express, such as the date 2001-99-99.
    """
    import yaml  # imported only on use, because the client always imports this module

    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        raise YamlError("it is nested too deeply") from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # PyYAML's constructors of dates and numbers raise these.
        raise YamlError(" ".join(str(error).split())[:_MOST_CHARACTERS]) from error
