"""Scripts that run inside somebody else's interpreter: standard library only, Python 3.8 or newer."""

__all__: list[str] = []
