"""Why Vault or OpenBao has no value at a path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradepulse_rotator import errors

if TYPE_CHECKING:
    from collections.abc import Mapping


def of_version(path: str, mount: str, full: str, answer: object) -> errors.NotFoundError | None:
    """Return what the answer says of a version that is gone, None where it says nothing of one."""
    meta = _at(_at(answer, "data"), "metadata")
    if not isinstance(meta, dict):
        return None
    version = meta.get("version")
    if meta.get("destroyed") is True:
        return errors.NoValueError(f"vault: {path}: version {version} was destroyed in the store: write a new version there")
    remedy = f"bring it back with vault kv undelete -mount={mount} -versions={version} {full}"
    return errors.DeletedError(f"vault: {path}: version {version} was deleted in the store: {remedy}")


def of_mount(path: str, mount: str, answer: object) -> errors.InvalidError | None:
    """Return what is wrong with a mount, given what the server says of it: None for a KV version 2 engine."""
    where = f"vault: {path}: mount {mount}: "
    found = _at(answer, "data")
    at = str(_at(found, "path") or "").strip("/")
    kind, version = _at(found, "type"), _at(_at(found, "options"), "version")
    if not at:
        return errors.InvalidError(f"{where}the server shows the token none of this name; set it to the path of a KV version 2 engine")
    if at != mount:
        return errors.InvalidError(f"{where}it is a path in the mount {at}; set the mount to {at}")
    if kind not in {"kv", "generic"}:
        return errors.InvalidError(f"{where}it is an engine of type {kind}; set it to the path of a KV version 2 engine")
    if version != "2":
        remedy = f"run vault kv enable-versioning {mount}, or set it to a KV version 2 engine"
        return errors.InvalidError(f"{where}it is a KV version 1 engine, which keeps no versions; {remedy}")
    return None


def _at(found: object, key: str) -> object:
    answer: Mapping[str, object] | None = found if isinstance(found, dict) else None
    return answer.get(key) if answer is not None else None
