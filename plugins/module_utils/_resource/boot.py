# SPDX-License-Identifier: GPL-3.0-or-later
"""Which boot of this machine it is.

The kernel's own id does not serve. In a container it is a file that is mounted over another one, and the sandbox of the checker's unit hides the
mount. So modules and checker would see two boots. A file below /run is the same for both, and it does not survive a boot.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

FILE = Path("/run/holdfast/boot_id")
_KERNEL = Path("/proc/sys/kernel/random/boot_id")


def boot_id(path: Path = FILE) -> str:
    """The id of this boot. The first caller makes it. A user without rights gets the kernel's. Raises `OSError`."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    except PermissionError:
        return _KERNEL.read_text(encoding="ascii").strip()
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{uuid.uuid4()}")
        fresh.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
    except (FileNotFoundError, PermissionError):
        return _KERNEL.read_text(encoding="ascii").strip()
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass  # another process was first
    finally:
        fresh.unlink()
    return path.read_text(encoding="ascii").strip()
