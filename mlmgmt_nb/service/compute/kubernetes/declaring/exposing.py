"""How services are exposed by the cluster itself: types of Services, Ingresses, and the URLs that come from them."""

from __future__ import annotations

from typing import Any

from mlmgmt_nb.service.cluster_settings import ClusterSettings

__all__ = ["ingress", "port_of", "service_type", "url_of"]

Object = dict[str, Any]

_TYPES = {"nodeport": "NodePort", "loadbalancer": "LoadBalancer"}
_HTTP, _HTTPS = 80, 443


def service_type(settings: ClusterSettings, *, needs_node_port: bool) -> str:
    """Return the type of the Services of a cluster."""
    return _TYPES.get(settings.expose, "NodePort" if needs_node_port else "ClusterIP")


def port_of(settings: ClusterSettings) -> int:
    """Return the port of the Services of a cluster: 443 for a load balancer with TLS."""
    return _HTTPS if settings.expose == "loadbalancer" and settings.tls else _HTTP


def ingress(name: str, metadata: Object, settings: ClusterSettings) -> Object:
    """Return the Ingress of a service: the path of its name, at the host of all services."""
    backend = {"service": {"name": metadata["name"], "port": {"name": "http"}}}
    path = {"path": f"/api/v1/service/{name}", "pathType": "Prefix", "backend": backend}
    spec: Object = {"rules": [{"host": settings.host, "http": {"paths": [path]}}]}
    if settings.serves_tls:
        secret = {"secretName": settings.tls_secret} if settings.tls_secret else {}
        spec["tls"] = [{"hosts": [settings.host], **secret}]
    if settings.ingress_class:
        spec["ingressClassName"] = settings.ingress_class
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def url_of(name: str, service: Object, settings: ClusterSettings, node: str | None) -> str | None:
    """Return the scoring URL of a service that the cluster exposes, or None if it has no address yet.

    Args:
        name: name of the service, for the API.
        service: its Service, as the cluster has it.
        node: address of a node.
    """
    host, port = _address_of(service, settings, node)
    if not host or (port is None and settings.expose == "nodeport"):
        return None
    scheme = "https" if settings.serves_tls else "http"
    shown = f"[{host}]" if ":" in host else host
    place = shown if port in {None, _HTTP, _HTTPS} else f"{shown}:{port}"
    return f"{scheme}://{place}/api/v1/service/{name}/score"


def _address_of(service: Object, settings: ClusterSettings, node: str | None) -> tuple[str | None, int | None]:
    """Return the host and the port of a service, as far as they are known; the port of an Ingress is the default."""
    if settings.expose == "nodeport":
        return node, service["spec"]["ports"][0].get("nodePort")
    if settings.expose != "loadbalancer":
        return settings.host, None
    host = settings.host
    if host is None:
        found: Object = next(iter(service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()), {})
        host = found.get("hostname") or found.get("ip")
    return host, port_of(settings)
