"""The environment of each process that loads Prefect: Prefect reads it once, at import, so it is made here and given whole.

It must never hold anything of the caller's environment that was not passed in, and never lead to the profile or the home of a user.
"""

import json
from pathlib import Path

from ...settings import Settings
from ..house import Places

__all__ = ["client_surroundings", "home_surroundings", "server_surroundings"]

_COMMON = {
    # no numbers about this machine to anybody
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # a client without a server fails in two seconds instead of starting one of its own for twenty
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # results stay in the ledger; Prefect would pickle them into files
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    "PREFECT_LOGGING_COLORS": "false",
    # a forged browser request has no credential to ride on (it is a header, not a cookie), and without this each client asks once in vain
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "false",
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    # our versions are locked together
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
}

_BATCHED = {
    # SQLite has one writer: events are written in batches, so that the next flow is not answered 503 meanwhile
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "2",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "50",
}


def _home(home: Path) -> dict[str, str]:
    return {"PREFECT_HOME": str(home), "PREFECT_PROFILES_PATH": str(home / "profiles.toml")}


def _plain(home: Path) -> dict[str, str]:
    # what looks for a home finds Prefect's own, never the user's
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(home)}


def server_surroundings(home: Path, port: int, credential: str) -> dict[str, str]:
    """Variables of the server's process; it reaches nobody, so it gets no proxies and no certificates."""
    return {
        **_plain(home),
        **_COMMON,
        **_BATCHED,
        **_home(home),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_AUTH_STRING": credential,
        "PREFECT_API_AUTH_STRING": credential,
        # only its own page may call it from a browser
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # by default it copies its page into the installed package
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "page"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }


def client_surroundings(home: Path) -> dict[str, str]:
    """Variables of a process that talks to some server; which one is said beside them."""
    return {**_COMMON, **_home(home)}


def home_surroundings(settings: Settings) -> dict[str, str]:
    """Variables of a process that is to work in this home with exactly these settings, and with nothing else of ours."""
    home = Places(settings.home).prefect
    found = {**_plain(home), **settings.network_environment, "CUSTODY_HOME": str(settings.home)}
    for name, value in settings.model_dump(mode="json", exclude={"home"}).items():
        for field, setting in value.items() if isinstance(value, dict) else [("", value)]:
            if setting is not None:
                variable = "__".join(part for part in (f"CUSTODY_{name}", field) if part).upper()
                found[variable] = setting if isinstance(setting, str) else json.dumps(setting)
    if settings.index_url is not None:
        found["CUSTODY_DEPENDENCIES__INDEX_URL"] = settings.index_url
    # the server is on this machine, and no proxy is to stand between
    for name in ("NO_PROXY", "no_proxy"):
        found[name] = ",".join(part for part in (found.get(name, ""), "127.0.0.1", "localhost") if part)
    return found
