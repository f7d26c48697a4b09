"""What people have on their disks in place of a model."""

from __future__ import annotations

STAND_INS = [
    (
        "Git LFS pointer.*git lfs pull",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 98765432\n",
    ),
    ("web page.*/resolve/", b"<!DOCTYPE html>\n<html><head><title>Hub</title></head></html>"),
    ("web page", b"\xef\xbb\xbf\n  <html>" + b" " * 4000 + b"</html>"),
    ("web page", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
]
"""(pattern of what is said after "is a", the file)."""
