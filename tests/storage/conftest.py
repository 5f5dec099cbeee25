"""The servers."""

from support.urls import bucket, fresh_network, s3_server, web

__all__ = ["bucket", "fresh_network", "s3_server", "web"]
