"""Windows job objects: they end a child and all it started, at our word and when our process dies."""

from __future__ import annotations

import subprocess
import sys

__all__ = ["hold", "kill_tree", "release"]

if sys.platform == "win32":
    import contextlib
    import ctypes
    from ctypes import wintypes

    import psutil

    # winnt.h: JobObjectExtendedLimitInformation and its flag.
    _EXTENDED_LIMIT_INFORMATION = 9
    _KILL_ON_JOB_CLOSE = 0x2000

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
            ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_ulonglong * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    def _kernel() -> ctypes.WinDLL:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        kernel.CreateJobObjectW.argtypes = (wintypes.LPVOID, wintypes.LPCWSTR)
        kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD)
        kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        kernel.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
        kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
        return kernel

    def hold(process: subprocess.Popen[bytes]) -> object:
        """Put the child into a job that Windows ends together with us; ``None`` when it refuses."""
        kernel = _kernel()
        job = kernel.CreateJobObjectW(None, None)
        if not job:
            return None
        limits = _ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
        kernel.SetInformationJobObject(job, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits))
        if not kernel.AssignProcessToJobObject(job, int(process._handle)):  # type: ignore[attr-defined,unused-ignore]
            kernel.CloseHandle(job)
            return None
        return job

    def kill_tree(process: subprocess.Popen[bytes], job: object) -> None:
        """End the child and what it started: through the job, and by walking the tree where there is none."""
        if job is not None:
            _kernel().TerminateJobObject(job, 1)
            return
        if process.poll() is not None:  # its number may belong to another process by now
            return
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        with contextlib.suppress(OSError):
            process.kill()

    def release(job: object) -> None:
        """Close the job, which ends whatever is still in it."""
        if job is not None:
            _kernel().CloseHandle(job)

else:

    def hold(process: subprocess.Popen[bytes]) -> object:
        """There are no jobs outside Windows."""
        return None

    def kill_tree(process: subprocess.Popen[bytes], job: object) -> None:
        """End the child; elsewhere the runner kills its process group instead."""
        process.kill()

    def release(job: object) -> None:
        """There are no jobs outside Windows."""
