"""The software bill of materials of an image, in the format of CycloneDX 1.6 (JSON)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mlmgmt_nb import __version__
from mlmgmt_nb.service.building.packages.lock import LOCK_FILE, Lock

__all__ = ["SBOM", "sbom"]

SBOM = "sbom.cdx.json"
"""Name of the file, in `/mlmgmt` of an image."""


def sbom(context: Path, base: str, digest: str) -> str:
    """Return the components of an image: the base image, packages with the hashes of their files, runtime and models.

    Args:
        context: the build context.
        base: reference of the base image.
        digest: digest of the base image.
    """
    runtime = {
        "type": "library",
        "name": "mlmgmt-nb",
        "version": __version__,
        "purl": f"pkg:pypi/mlmgmt-nb@{__version__}",
    }
    components = [
        {"type": "container", "name": base, "version": digest, "bom-ref": "base"},
        {**runtime, "bom-ref": "runtime"},
        *_packages(context),
        *_models(context),
    ]
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode()


def _packages(context: Path) -> Iterator[Mapping[str, Any]]:
    for name, version, digests in Lock((context / LOCK_FILE).read_text(encoding="utf-8")).digests:
        purl = f"pkg:pypi/{name}@{version}" if version else f"pkg:pypi/{name}"
        found: dict[str, Any] = {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
        if digests:
            found["externalReferences"] = [
                {"type": "distribution", "url": purl, "hashes": [{"alg": "SHA-256", "content": each}]}
                for each in digests
            ]
        yield found


def _models(context: Path) -> Iterator[Mapping[str, Any]]:
    described = msgspec.json.decode((context / "app" / "model_config_map.json").read_bytes())["models"]
    for name, model in described.items():
        for version in model["versions"]:
            reference = f"model:{name}:{version}"
            yield {"type": "machine-learning-model", "name": name, "version": version, "bom-ref": reference}
