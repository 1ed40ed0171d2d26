"""Pieces that every part of the OpenAPI document is made of. Pure."""

from __future__ import annotations

from gateway.api.problem import MEDIA_TYPE, Kind
from gateway.api.schemas import Json, ref
from gateway.api.submission import NATIVE


def content(schema: Json, media: str = NATIVE) -> Json:
    """A body of one media type."""
    return {media: {"schema": schema}}


def problems(*kinds: Kind) -> Json:
    """The answers that are problems, by status."""
    by_status: dict[str, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(str(kind.value.status), []).append(kind.value.title)
    return {
        status: {"description": "; or ".join(titles), "content": content(ref("Problem"), MEDIA_TYPE)}
        for status, titles in by_status.items()
    }
