"""URLs: which store, and which key in it."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

from ckptdoctor.errors import UsageProblem

WEB = frozenset({"http", "https"})
HUB = "hf"
BUCKETS = frozenset({"s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"})
"""What obstore takes; every other scheme is asked of fsspec."""
_KINDS = frozenset({"datasets", "spaces"})
_HERE = frozenset({"file", "local"})
_UNREADABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_OF_SIGNATURES = re.compile(
    r"(x-(amz|goog|ms)-.*|sig|se|st|sp|sv|sr|spr|sip|sk[a-z]+|signature|expires|policy|key-pair-id|awsaccesskeyid|"
    r"googleaccessid)\Z",
    re.IGNORECASE,
)
"""What signed URLs of the clouds carry: another signature is the same file."""


class Address(NamedTuple):
    """Where something is.

    Attributes:
        scheme: The part before `://`.
        root: The URL of the store: a bucket, a host, a repository at a revision.
        key: The name in it; "" for the store itself.
    """

    scheme: str
    root: str
    key: str


def parse(url: str) -> Address:
    """Takes a URL apart.

    Raises:
        UsageProblem: It carries a password, or names no store.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    host, _, key = rest.partition("/")
    user, at, server = host.rpartition("@")
    if at and (scheme in WEB or ":" in user):
        raise UsageProblem(f"a URL with a user or a password in it is not taken: {scheme}://…@{server}")
    if scheme in _HERE:
        raise UsageProblem(f"{url} is of this machine: name its path, without {scheme}://")
    if scheme == HUB:
        return _in_repository(rest)
    if not host and scheme in WEB | BUCKETS:
        raise UsageProblem(f"{url} names no {'host' if scheme in WEB else 'bucket'}")
    key = "/".join(part for part in key.split("/") if part)
    return Address(scheme, f"{scheme}://{host}", unquote(key) if scheme in WEB else key)


def _in_repository(rest: str) -> Address:
    """`hf://[datasets/|spaces/]OWNER/NAME[@REVISION]/PATH`."""
    parts = [part for part in rest.split("/") if part]
    kind = [parts.pop(0)] if parts and parts[0] in _KINDS else []
    if len(parts) < 2:  # noqa: PLR2004 - owner and name
        raise UsageProblem(f"hf://{rest} names no repository: hf://OWNER/NAME/PATH is wanted")
    return Address(HUB, f"{HUB}://{'/'.join([*kind, *parts[:2]])}", "/".join(parts[2:]))


def without_query(url: str) -> tuple[str, str]:
    """A web address and its query, in which signatures are; neither is told in any message."""
    if url.partition("://")[0].lower() not in WEB:
        return url, ""
    address, _, query = url.partition("#")[0].partition("?")
    return address, query


def masked(url: str) -> str:
    """A URL that carries a password, or a user for a web server, without them and without its query; others as is."""
    scheme, _, rest = url.partition("://")
    host, slash, key = rest.partition("/")
    user, at, server = host.rpartition("@")
    if not at or (scheme.lower() not in WEB and ":" not in user):
        return url
    return without_query(f"{scheme}://…:…@{server}{slash}{key}")[0]


def choice(query: str) -> str:
    """What of a query may choose the file: all but signatures, of which each is another one."""
    return urlencode([each for each in parse_qsl(query, keep_blank_values=True) if not _OF_SIGNATURES.match(each[0])])


def is_key(key: str) -> bool:
    """Whether something can be read by a key: no part of it is empty or leads elsewhere, each character is one."""
    return not _UNREADABLE.search(key) and not {"", ".", ".."}.intersection(key.split("/"))
