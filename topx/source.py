"""Bytes to look at piece by piece: those of a file, or those that are in memory already."""

import io
from typing import BinaryIO

import numpy as np

from topx.pieces import Bytes


class Content:
    """Bytes in memory; what is looked at is not copied."""

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self._left: Bytes = np.frombuffer(content, np.uint8)
        self.size = self._left.size

    def look(self, size: int) -> Bytes:
        """The next bytes, at most so many."""
        return self._left[:size]

    def move(self, size: int) -> None:
        """Passes over so many."""
        self._left = self._left[size:]


class File:
    """A file; what was looked at stays as it is. `size` is 0 where that takes more than a look."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held: Bytes = np.empty(0, np.uint8)  # read and not passed over
        self.size = 0
        plain = isinstance(file, io.BytesIO) or isinstance(getattr(file, "raw", None), io.FileIO)
        if plain and file.seekable():
            at, self.size = file.tell(), file.seek(0, io.SEEK_END)
            file.seek(at)

    def look(self, size: int) -> Bytes:
        """The next bytes, so many, fewer at the end of the file only."""
        end = self._held.size
        if end < size:
            buffer = np.empty(size, np.uint8)
            buffer[:end] = self._held
            while end < size and (got := self._read(buffer.data[end:])):
                end += got
            self._held = buffer[:end]
        return self._held[:size]

    def move(self, size: int) -> None:
        """Passes over so many."""
        self._held = self._held[size:]

    def _read(self, room: memoryview) -> int:
        if isinstance(self._file, io.BufferedIOBase):
            return self._file.readinto(room)
        content = self._file.read(len(room))
        room[: len(content)] = content
        return len(content)
