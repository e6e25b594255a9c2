"""Moving a file without ever replacing another, in one step of the system."""

from __future__ import annotations

import ctypes
import errno
import os

_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def rename_to_free(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    source_folder: int = _AT_FDCWD,
    target_folder: int = _AT_FDCWD,
) -> bool:
    """Rename a file to a name that nothing has. False where the system or the filesystem cannot do
    that in one step (NFS): then nothing was done.

    source_folder, target_folder : descriptors of the folders that relative names are in

    Raises FileExistsError where the name is taken, and OSError.
    """
    if _renameat2 is None:
        return False
    names = os.fsencode(source), os.fsencode(target)
    if not _renameat2(source_folder, names[0], target_folder, names[1], _RENAME_NOREPLACE):
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code))
