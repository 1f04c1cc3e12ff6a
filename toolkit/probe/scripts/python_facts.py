"""Facts of the interpreter that runs this: version, folders, environment markers. Standard library only."""

from __future__ import annotations

import os
import platform
import site
import struct
import sys

TYPE_CHECKING = False  # typing itself would cost the import of typing
if TYPE_CHECKING:
    from toolkit.probe.scripts.child import Child

__all__ = ["collect", "markers"]


def markers() -> dict[str, str]:
    """Values of the environment markers of dependency specifiers (packaging.python.org) for this interpreter."""
    implementation = sys.implementation.version
    version = ".".join(str(part) for part in implementation[:3])
    if implementation[3] != "final":
        version += implementation[3][0] + str(implementation[4])
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def collect(child: Child, arguments: dict[str, object]) -> None:
    """Report what the interpreter says of itself."""
    user_site = site.getusersitepackages() if hasattr(site, "getusersitepackages") else None
    base = getattr(sys, "base_prefix", sys.prefix)
    conda = os.path.isdir(os.path.join(sys.prefix, "conda-meta"))
    child.add(
        {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "bits": struct.calcsize("P") * 8,
            "executable": sys.executable,
            "prefix": sys.prefix,
            "environment": "venv" if base != sys.prefix else "conda" if conda else "system",
            "user_site": user_site,
            "user_site_used": bool(site.ENABLE_USER_SITE) and user_site in sys.path,
            "path_variable": bool(os.environ.get("PYTHONPATH")),
            "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
            "machine": platform.machine(),
            "markers": markers(),
        }
    )
