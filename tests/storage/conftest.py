"""The servers."""

from support.remote.fixtures import bucket, fresh_network, s3_server, web

__all__ = ["bucket", "fresh_network", "s3_server", "web"]
