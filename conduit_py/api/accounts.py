"""The operations of the accounts side."""

from __future__ import annotations

from collections.abc import Mapping

from conduit_py.api.auth import Authenticator
from conduit_py.api.client import (
    account_data,
    account_deactivation,
    admin,
    administrative_contact,
    auth_page,
    capabilities,
    device_management,
    fallback,
    login,
    login_token,
    logout,
    mutual_rooms,
    openid,
    password_management,
    password_page,
    profile,
    pushrules,
    refresh,
    registration,
    registration_tokens,
    report_content,
    sso_login_redirect,
    support,
    tags,
    users,
    versions,
    voip,
    wellknown,
    whoami,
)
from conduit_py.api.client import filter as filter_
from conduit_py.config import Config
from conduit_py.http.routes import Routes
from conduit_py.service.users.build import Accounts


def account_routes(
    config: Config, auth: Authenticator, accounts: Accounts, unstable_features: Mapping[str, bool]
) -> list[Routes]:
    """The routes of every module, in the order of the spec's OpenAPI files."""
    return [
        account_data.routes(auth, accounts.account_data),
        account_deactivation.routes(auth, accounts.deactivation),
        admin.routes(auth, accounts.moderation),
        administrative_contact.routes(auth, accounts.contacts),
        auth_page.routes(auth, accounts.auth_pages),
        capabilities.routes(auth, default_room_version=config.default_room_version),
        device_management.routes(auth, accounts.devices),
        fallback.routes(),
        filter_.routes(auth, accounts.filters),
        login.routes(auth, accounts.login, base_url=config.well_known.client),
        login_token.routes(auth, accounts.login_tokens),
        logout.routes(auth, accounts.sessions),
        mutual_rooms.routes(auth, accounts.mutual_rooms),
        openid.routes(auth, accounts.openid, server_name=config.server_name),
        password_management.routes(auth, accounts.change_password, accounts.contacts),
        password_page.routes(auth, accounts.password_links),
        profile.routes(auth, accounts.profile, accounts.profile_reads),
        pushrules.routes(auth, accounts.push_rules),
        refresh.routes(accounts.tokens),
        registration.routes(auth, accounts.register, accounts.contacts),
        registration_tokens.routes(accounts.register),
        report_content.routes(auth, accounts.reports),
        sso_login_redirect.routes(),
        support.routes(config.well_known),
        tags.routes(auth, accounts.account_data),
        users.routes(auth, accounts.user_directory),
        versions.routes(unstable_features),
        voip.routes(auth, accounts.turn),
        wellknown.routes(base_url=config.well_known.client),
        whoami.routes(auth),
    ]
