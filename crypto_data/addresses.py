"""Web addresses: what of one may be seen, and the login that may stand in it.

A configured address may hold `user:password@`. Wherever one is shown, stored, or names a host, it
goes through here first.
"""

from urllib.parse import SplitResult, unquote, urlsplit


def public_url(url: str) -> str:
    """Return an address without login, query and fragment; what is no address as it is.

    Example:
        >>> public_url("https://bob:pw@a.b:81/data/x.zip?key=1")
        'https://a.b:81/data/x.zip'
    """
    parts = _split(url)
    return parts._replace(netloc=_place(parts), query="", fragment="").geturl() if parts else url


def place_of(url: str) -> str:
    """Return host and port as they are written, without a login; `""` where there is no host.

    Example:
        >>> place_of("http://bob:p%40w@127.0.0.1:8000/x"), place_of("")
        ('127.0.0.1:8000', '')
    """
    parts = _split(url)
    return _place(parts) if parts else ""


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """Return an address without its login, query kept, and user and password, None without any.

    Example:
        >>> split_login("http://bob:p%40w@a.b/x?y=1")
        ('http://a.b/x?y=1', ('bob', 'p@w'))
    """
    parts = _split(url)
    if parts is None or "@" not in parts.netloc:
        return url, None
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return parts._replace(netloc=_place(parts)).geturl(), (unquote(user), unquote(password))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.netloc else None


def _place(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
