"""The table of keys: name, kind, default and meaning of everything that can be configured.

The reader, the sample file and the reference for operators are all made from this table. A key's default is written
as it would be in the file and read like a value from the file; ``""`` means "not set". A dot in a name stands for a
table: ``tls.certs`` is ``certs`` in ``[global.tls]``. The field of `Config` has the same name.
"""

from __future__ import annotations

from conduit_py.config.entry import Key, Section
from conduit_py.config.kinds import (
    BOOL,
    DURATION,
    EMAIL,
    IP,
    LISTENING,
    MODE,
    NETWORK,
    PATH,
    SECRET,
    SERVER_GLOB,
    SERVER_NAME,
    SIZE,
    TEXT,
    USER_ID,
    choice,
    integer,
    list_of,
    number,
    url,
    within,
)
from conduit_py.config.registrations import REGISTRATION
from conduit_py.config.storage_keys import STORAGE, YEAR_S
from conduit_py.config.tables import DIRECTORY_STRUCTURE, IGNORED_KEYS, PROXY, RETENTION

_NETWORK_RANGES_NOT_PUBLIC: list[object] = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "fc00::/7",
    "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip

U16_MAX = 2**16 - 1
U32_MAX = 2**32 - 1
DAY_MS = 86_400_000


def _rate(name: str, per_second: float, burst: int, doc: str) -> tuple[Key, Key]:
    return (
        Key(
            f"rate_limits.{name}.per_second",
            number(0.0001, 100_000),
            per_second,
            f"{doc}, each second in the long run.",
            reload=True,
        ),
        Key(
            f"rate_limits.{name}.burst",
            integer(1, 1_000_000),
            burst,
            "How many of these may come at once.",
            reload=True,
        ),
    )


SECTIONS: tuple[Section, ...] = (
    Section(
        "Identity and listening",
        (
            Key(
                "server_name",
                SERVER_NAME,
                "localhost",
                "The part after the colon in user and room ids. Set it before the first start: it cannot be changed"
                ' later. Example: "example.org".',
            ),
            Key("address", IP, "127.0.0.1", "IP address to listen on. Loopback, because a reverse proxy is expected."),
            Key("port", integer(0, U16_MAX), 8000, "TCP port to listen on. 0 lets the system choose one."),
            Key(
                "unix_socket_path",
                PATH,
                "",
                "Listen on this Unix socket instead of address and port. Whoever can open it is a trusted proxy.",
            ),
            Key("unix_socket_perms", MODE, "660", "Permissions of the Unix socket: octal digits, in quotes."),
            Key(
                "trusted_proxies",
                list_of(NETWORK),
                ["127.0.0.0/8", "::1/128"],
                "Peers whose X-Forwarded-For is believed: your reverse proxies. Ranges of addresses.",
                reload=True,
            ),
            Key(
                "tls.certs",
                PATH,
                "",
                "PEM file with the certificate chain, to speak HTTPS without a reverse proxy.",
                reload=True,
            ),
            Key("tls.key", PATH, "", "PEM file with the private key of that certificate.", reload=True),
            Key(
                "well_known.client",
                url("https", "http"),
                "",
                "Base URL that clients are sent to. Not set: https:// and the server name.",
            ),
            Key(
                "well_known.server",
                SERVER_NAME,
                "",
                "Host and port that other servers are sent to. Not set: the server name, with port 443 if it has none.",
            ),
            Key(
                "well_known.support_page",
                url("https", "http"),
                "",
                "Web page that helps the users of this server.",
            ),
            Key("well_known.support_email", EMAIL, "", "E-mail address of whoever runs this server, told to anyone."),
            Key("well_known.support_mxid", USER_ID, "", "User id of whoever runs this server, told to anyone."),
            Key(
                "well_known.support_role",
                choice("m.role.admin", "m.role.security"),
                "m.role.admin",
                "What that person is to be asked: anything, or what is sensitive.",
            ),
        ),
    ),
    STORAGE,
    Section(
        "Requests",
        (
            Key(
                "workers",
                integer(1, 1024),
                "",
                "Threads for work that would hold up others: password hashes, thumbnails, state resolution. Not set:"
                " one for each processor.",
            ),
            Key(
                "max_request_size",
                within(SIZE, 131_072, U32_MAX),
                20_971_520,
                "Largest request body and media upload, in bytes. 131072 at least.",
            ),
            Key(
                "client_sync_timeout_default",
                integer(0, DAY_MS),
                0,
                "How long a sync that names no timeout waits for news, in ms. The specification says 0.",
            ),
            Key(
                "client_sync_timeout_max", integer(0, DAY_MS), 90_000, "The longest that a sync waits for news, in ms."
            ),
            Key("rate_limits.enabled", BOOL, True, "Whether the limits below are applied.", reload=True),
            *_rate("login", 0.1, 10, "Attempts to log in, for each account and each address"),
            *_rate("registration", 0.05, 5, "Attempts to register, for each address"),
            *_rate("message", 10, 100, "Events that one user sends"),
            *_rate("room_creation", 0.1, 10, "Rooms that one user creates"),
            *_rate("join", 0.5, 20, "Rooms that one user joins"),
            *_rate("invite", 0.5, 20, "Invitations that one user sends"),
            *_rate("media_upload", 2, 50, "Files that one user uploads"),
            *_rate("media_fetch", 20, 200, "Files and thumbnails that one user or server fetches"),
            *_rate("federation", 50, 500, "Requests of one other server"),
        ),
    ),
    Section(
        "Accounts",
        (
            Key("allow_registration", BOOL, False, "Whether people can register accounts themselves.", reload=True),
            Key(
                "registration_token",
                SECRET,
                "",
                "What people have to know to register. Not set: allow_registration lets everybody in.",
                reload=True,
            ),
            Key("allow_guest_registration", BOOL, False, "Whether clients can get guest accounts.", reload=True),
            Key(
                "require_admin_token",
                BOOL,
                False,
                "Whether the first account, the administrator's, needs the token printed at the first start.",
            ),
            Key(
                "emergency_password",
                SECRET,
                "",
                "Password of the server's own account, @conduit, which is an administrator while it is set.",
            ),
            Key("jwt_secret", SECRET, "", "Key of the JSON web tokens that are accepted as logins."),
            Key(
                "access_token_ttl",
                within(DURATION, 60, 10 * YEAR_S),
                "",
                "After how long an access token has to be refreshed, for clients that can. Not set: never. Example:"
                ' "7d".',
            ),
            Key(
                "openid_token_ttl",
                within(DURATION, 1, 10 * YEAR_S),
                3600,
                "How long an OpenID token is valid, in seconds or as text.",
            ),
            Key(
                "appservices",
                list_of(REGISTRATION),
                [],
                "Registration files (YAML) of application services such as bridges. Their addresses are exempt from"
                " ip_range_denylist.",
            ),
            Key(
                "enable_lightning_bolt", BOOL, True, "Whether the display names of new accounts end in ⚡️.", reload=True
            ),
            Key(
                "password_hash.time",
                integer(1, 100),
                2,
                "Passes of one argon2id password hash. With the next two defaults, OWASP's recommendation.",
            ),
            Key(
                "password_hash.memory",
                integer(8192, 4_194_304),
                19_456,
                "Memory of one password hash, in KiB: 19 MiB, because several logins at once must fit a small host.",
            ),
            Key("password_hash.parallelism", integer(1, 64), 1, "Threads of one password hash."),
        ),
    ),
    Section(
        "Rooms",
        (
            Key("allow_room_creation", BOOL, True, "Whether users can create rooms. Administrators always can."),
            Key("allow_encryption", BOOL, True, "Whether users can turn on encryption in rooms."),
            Key(
                "default_room_version",
                choice(*map(str, range(1, 13))),
                "12",
                "Version of rooms that are created without naming one. In quotes.",
            ),
            Key("allow_unstable_room_versions", BOOL, True, "Whether rooms of unstable versions are served too."),
        ),
    ),
    Section(
        "Presence and typing",
        (
            Key("allow_local_presence", BOOL, True, "Whether users of this server see each other's presence."),
            Key(
                "allow_incoming_presence",
                BOOL,
                False,
                "Whether presence from other servers is taken in. Off, because it keeps clients busy with strangers.",
            ),
            Key(
                "allow_outgoing_presence",
                BOOL,
                False,
                "Whether presence is sent to other servers. Off, because it is most of the traffic of a small server.",
            ),
            Key("presence_idle_timeout", within(DURATION, 1, YEAR_S), 300, "When a silent user is away, in seconds."),
            Key(
                "presence_offline_timeout",
                within(DURATION, 1, YEAR_S),
                1800,
                "When a silent user is offline, in seconds.",
            ),
            Key("typing_client_timeout_min", integer(1, 3600), 15, "Shortest time that a user is typing, in seconds."),
            Key("typing_client_timeout_max", integer(1, 3600), 45, "Longest time that a user is typing, in seconds."),
            Key(
                "typing_federation_timeout",
                integer(1, 3600),
                30,
                "How long a user of another server counts as typing, in seconds.",
            ),
        ),
    ),
    Section(
        "Federation",
        (
            Key("allow_federation", BOOL, False, "Whether this server talks with other servers."),
            Key(
                "trusted_servers",
                list_of(SERVER_NAME),
                ["matrix.org"],
                "Servers asked for the signing keys of servers that are gone. An empty list asks none.",
            ),
            Key(
                "ignored_keys",
                IGNORED_KEYS,
                ["l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og"],
                "Signing keys never to be trusted: public keys in base64, or a table of server names with lists of key"
                " ids. The default is a key that many servers shared by mistake (GHSA-qwcj-h6m8-vp6q).",
            ),
            Key(
                "forbidden_remote_server_names",
                list_of(SERVER_GLOB),
                [],
                'Servers that are neither talked nor listened to; * and ? are wildcards. Example: ["*.example.org"].',
                reload=True,
            ),
            Key("max_concurrent_requests", integer(1, U16_MAX), 100, "Requests to other servers at the same time."),
            Key(
                "max_fetch_prev_events",
                integer(1, U16_MAX),
                100,
                "How many missing earlier events are fetched on account of one event.",
            ),
            Key(
                "proxy",
                PROXY,
                "none",
                'Proxy for outgoing requests. For all of them: { global = { url = "socks5h://localhost:9050" } }.'
                ' For some hosts: { by_domain = [{ url = "socks5h://localhost:9050", include = ["*.onion"] }] };'
                " the first one whose include is more specific than its exclude is taken.",
            ),
            Key(
                "ip_range_denylist",
                list_of(NETWORK),
                _NETWORK_RANGES_NOT_PUBLIC,
                "Addresses that no outgoing request goes to, because names that others choose must not lead inside.",
            ),
            Key(
                "ca_certificates",
                PATH,
                "",
                "PEM file of certificate authorities that are trusted besides the system's.",
            ),
        ),
    ),
    Section(
        "Media",
        (
            Key("media.backend", choice("filesystem", "s3"), "filesystem", "Where media files are kept."),
            Key(
                "media.path",
                PATH,
                "",
                'Directory of the media files. Not set: "media" in database_path. With s3, the path inside the bucket.',
            ),
            Key(
                "media.directory_structure",
                DIRECTORY_STRUCTURE,
                {"depth": 2, "length": 2},
                "How many directories deep the files lie, and how many hash digits name each. {} keeps all in one.",
            ),
            Key(
                "media.retention",
                RETENTION,
                [{"scope": "remote", "accessed": "30d"}, {"scope": "thumbnail", "accessed": "30d"}],
                'Which media are deleted: for the scope "local", "remote" or "thumbnail", the longest time since it was'
                ' accessed and created, such as "30d", and the space all of it may take, such as "15GiB". Without a'
                " scope: the times for all scopes not named, and the space for everything. Of local media, nothing is"
                " deleted unless you say so here.",
                reload=True,
            ),
            Key(
                "media.remote_size_max",
                within(SIZE, 131_072, 1 << 40),
                104_857_600,
                "Largest file of another server that is fetched, in bytes; of images beyond it, only thumbnails are.",
            ),
            Key(
                "media.allow_legacy",
                BOOL,
                False,
                "Whether the deprecated download paths, which ask for no access token, serve all media. Off, they serve"
                " what was uploaded while this was on and answer 404 for the rest, as the specification wants it.",
            ),
            Key("media.endpoint", url("https", "http"), "", "s3: URL of the service."),
            Key("media.bucket", TEXT, "", "s3: name of the bucket."),
            Key("media.region", TEXT, "", "s3: region of the bucket."),
            Key("media.key", SECRET, "", "s3: access key id."),
            Key("media.secret", SECRET, "", "s3: secret access key."),
            Key("media.duration", integer(1, 604_800), 30, "s3: how long a signed request is valid, in seconds."),
            Key("media.bucket_use_path", BOOL, False, "s3: name the bucket in the path and not in the host."),
        ),
    ),
    Section(
        "Calls",
        (
            Key(
                "turn.uris",
                list_of(TEXT),
                [],
                'TURN servers. Example: ["turn:turn.example.org?transport=udp"].',
                reload=True,
            ),
            Key(
                "turn.secret",
                SECRET,
                "",
                "The secret shared with the TURN servers, from which passwords are made.",
                reload=True,
            ),
            Key("turn.username", TEXT, "", "A fixed user name, if there is no shared secret.", reload=True),
            Key("turn.password", SECRET, "", "The password for that name.", reload=True),
            Key(
                "turn.ttl",
                within(DURATION, 1, YEAR_S),
                86_400,
                "How long a password made so is valid, in seconds.",
                reload=True,
            ),
        ),
    ),
    Section(
        "Logging and measuring",
        (
            Key(
                "log",
                TEXT,
                "warn,state_res=warn,_=off",
                "What is logged: a level (off, error, warn, info, debug, trace), and levels for parts of the server,"
                " such as conduit_py.service=debug.",
                reload=True,
            ),
            Key(
                "log_format", choice("text", "json"), "text", "Lines for people, or one JSON object each.", reload=True
            ),
            Key(
                "metrics_address",
                LISTENING,
                "",
                "Where numbers for Prometheus are served, to anyone who asks: an address, or the path of a Unix socket."
                ' Not set: nowhere. Examples: "[::1]:9090", "/run/conduit_py/metrics.sock".',
            ),
            Key(
                "allow_jaeger",
                BOOL,
                False,
                "Whether traces of requests are exported over OTLP, to where the variable OTEL_EXPORTER_OTLP_ENDPOINT"
                " says. Needs conduit_py[tracing] to be installed.",
            ),
            Key("tracing_flame", BOOL, False, "Whether a profile for flame graphs is written."),
        ),
    ),
)

KEYS: dict[str, Key] = {key.name: key for section in SECTIONS for key in section.keys}

TABLES: frozenset[str] = frozenset(name[:end] for name in KEYS for end in range(len(name)) if name[end] == ".")
"""Names of tables whose contents are keys: ``tls``, ``rate_limits``, ``rate_limits.login`` and so on."""
