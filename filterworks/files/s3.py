"""S3 and what speaks its language: pages of a listing, ranges, conditional and multi-part puts.

s3fs brings credentials, endpoint and connections; its calls are made one by one, each retried by us, so that
memory stays flat and a failed upload leaves nothing behind.
"""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from filterworks.files.formats import is_store, tree_of
from filterworks.files.retrying import StoreError
from filterworks.files.stores import PART, Identity, Store
from filterworks.files.urls import is_hidden

# S3 takes parts of 5 MiB and more, ten thousand of them.
_PARTS = 9_000
# Objects that one answer lists, S3's most.
_PAGE = 1000


def s3_system() -> Any:
    """Return s3fs' file system, which leaves all trying again to us."""
    from s3fs import S3FileSystem

    system = S3FileSystem(
        skip_instance_cache=True,
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": 10,
            "read_timeout": 30,
            "max_pool_connections": 64,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        },
    )
    system.retries = 1
    return system


class S3Store(Store):
    """A bucket of S3."""

    def _ask(self, method: str, key: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = self.call(
            key, lambda: self.system.call_s3(method, Bucket=self.root.root, **arguments)
        )
        return found

    def listed(
        self, folder: str, *, recursive: bool = True, hidden: bool = False
    ) -> Iterator[tuple[str, Identity]]:
        """Yield (name below the folder, identity) of every object in order of key, page by page."""
        prefix = f"{folder}/" if folder else ""
        arguments = {"Prefix": prefix, "MaxKeys": _PAGE, **({} if recursive else {"Delimiter": "/"})}
        while True:
            page = self._ask("list_objects_v2", folder, **arguments)
            for entry in page.get("Contents", ()):
                name = entry["Key"][len(prefix) :]
                # A key that ends in a slash stands for a folder.
                if name and not name.endswith("/") and (hidden or not _is_hidden(name)):
                    yield name, Identity(int(entry["Size"]), str(entry.get("ETag", "")).strip('"'))
            for entry in page.get("CommonPrefixes", ()):
                name = entry["Prefix"][len(prefix) : -1]
                if is_store(name) and (hidden or not is_hidden(name)):
                    inside = self.listed(f"{prefix}{name}", hidden=True)
                    yield from ((f"{name}/{below}", identity) for below, identity in inside)
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def is_folder(self, key: str) -> bool:
        """Return whether there are objects below."""
        prefix = f"{key}/" if key else ""
        return bool(self._ask("list_objects_v2", key, Prefix=prefix, MaxKeys=1).get("KeyCount"))

    def identity(self, key: str) -> Identity | None:
        """Return what an object is known by, or None where there is none."""
        if not key:
            return None
        try:
            found = self._ask("head_object", key, Key=key)
        except StoreError as error:
            if error.kind == "missing":
                return None
            # The answer to HEAD has no body, so it does not say why; this one does if it is refused too.
            self._ask("list_objects_v2", key, Prefix=key, MaxKeys=1)
            raise
        return Identity(int(found["ContentLength"]), str(found.get("ETag", "")).strip('"'))

    def fetch(self, key: str, expected: Identity, place: Path) -> None:
        """Copy an object into a local file, range by range: a dropped connection costs one range."""
        with place.open("wb") as file:
            file.writelines(self.pieces(key, expected))

    def pieces(self, key: str, expected: Identity) -> Iterator[bytes]:
        """Yield the content of an object, range by range."""
        for start in range(0, expected.size, PART):
            yield self._range(key, start, min(start + PART, expected.size) - 1, expected)
        if expected.size == 0 and self.identity(key) != expected:
            raise self.changed(key)

    def _range(self, key: str, start: int, last: int, expected: Identity) -> bytes:
        from fsspec.asyn import sync

        condition = {"IfMatch": f'"{expected.tag}"'} if expected.tag else {}

        async def ask() -> bytes:
            found = await self.system._call_s3(
                "get_object", Bucket=self.root.root, Key=key, Range=f"bytes={start}-{last}", **condition
            )
            async with found["Body"] as body:
                return bytes(await body.read())

        try:
            data: bytes = self.call(key, lambda: sync(self.system.loop, ask))
        except StoreError as error:
            if error.kind == "changed":
                raise self.changed(key) from None
            raise
        if len(data) != last - start + 1:
            raise self.changed(key)
        return data

    def put(self, place: Path, key: str, *, replace: bool) -> Identity:
        """Copy a local file into an object, in one call or in parts: it is there whole or not at all."""
        condition = {} if replace else {"IfNoneMatch": "*"}
        kind = mimetypes.guess_type(place.name)[0]
        options = {"Key": key, **({"ContentType": kind} if kind else {})}
        size = place.stat().st_size
        send = self._send_whole if size < 2 * PART else self._send_parts
        try:
            tag = send(place, options, condition)
        except StoreError as error:
            if error.kind == "unsupported" and condition:
                return super().put(place, key, replace=False)
            if error.kind == "changed":
                return self._same(place, key)
            raise
        return Identity(size, tag.strip('"'))

    def _send_whole(self, place: Path, options: dict[str, Any], condition: dict[str, str]) -> str:
        answer = self._ask("put_object", options["Key"], Body=place.read_bytes(), **options, **condition)
        return str(answer.get("ETag", ""))

    def _send_parts(self, place: Path, options: dict[str, Any], condition: dict[str, str]) -> str:
        key, length = options["Key"], max(PART, math.ceil(place.stat().st_size / _PARTS))
        upload = {
            "Key": key,
            "UploadId": self._ask("create_multipart_upload", key, **options)["UploadId"],
        }
        parts: list[dict[str, Any]] = []
        try:
            with place.open("rb") as file:
                while data := file.read(length):
                    number = len(parts) + 1
                    answer = self._ask("upload_part", key, PartNumber=number, Body=data, **upload)
                    parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            done = {"MultipartUpload": {"Parts": parts}}
            answer = self._ask("complete_multipart_upload", key, **upload, **done, **condition)
        except StoreError as error:
            self._abort(upload)
            if error.kind == "missing" and len(parts) * length >= place.stat().st_size:
                return self._same(place, key).tag  # it was completed, but the answer was lost
            raise
        except BaseException:
            self._abort(upload)
            raise
        return str(answer.get("ETag", ""))

    def _abort(self, upload: dict[str, Any]) -> None:
        # Where the store is out of reach the next run drops it; what went wrong first is what is told.
        with suppress(StoreError):
            self._ask("abort_multipart_upload", upload["Key"], **upload)

    def write(self, key: str, data: bytes, *, replace: bool) -> bool:
        """Write a small object; return False where there is one that must not be replaced."""
        condition = {} if replace else {"IfNoneMatch": "*"}
        try:
            self._ask("put_object", key, Key=key, Body=data, **condition)
        except StoreError as error:
            if error.kind == "changed":
                # The answer to an earlier try may have been lost.
                return self.read(key) == data
            if error.kind == "unsupported" and condition:
                return super().write(key, data, replace=False)
            raise
        return True

    def remove(self, key: str) -> None:
        """Remove an object if it is there."""
        self._ask("delete_object", key, Key=key)

    def drop_unfinished(self, folder: str, is_ours: Callable[[str], bool]) -> None:
        """Abort uploads below the folder that a killed run left unfinished."""
        prefix = f"{folder}/" if folder else ""
        try:
            found = self._ask("list_multipart_uploads", folder, Prefix=prefix).get("Uploads", ())
        except StoreError:
            return  # not every store of this kind lists them, not every user may
        for upload in found:
            if is_ours(upload["Key"][len(prefix) :]):
                self._abort({"Key": upload["Key"], "UploadId": upload["UploadId"]})


def _is_hidden(name: str) -> bool:
    """Return whether a part of a name is hidden; in a folder that is one image nothing is."""
    return any(map(is_hidden, (tree_of(name) or name).split("/")))
