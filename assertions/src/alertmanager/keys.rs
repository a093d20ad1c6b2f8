//! Every key that alertmanager.yml knows where we look at keys: flat tables.

/// Keys of the file itself.
pub(super) const FILE: &[&str] = &[
    "global",
    "inhibit_rules",
    "mute_time_intervals",
    "receivers",
    "route",
    "templates",
    "time_intervals",
    "tracing",
];

/// Keys of `global`.
pub(super) const GLOBAL: &[&str] = &[
    "http_config",
    "jira_api_url",
    "mattermost_webhook_url",
    "mattermost_webhook_url_file",
    "opsgenie_api_key",
    "opsgenie_api_key_file",
    "opsgenie_api_url",
    "pagerduty_url",
    "resolve_timeout",
    "rocketchat_api_url",
    "rocketchat_token",
    "rocketchat_token_file",
    "rocketchat_token_id",
    "rocketchat_token_id_file",
    "slack_api_url",
    "slack_api_url_file",
    "slack_app_token",
    "slack_app_token_file",
    "slack_app_url",
    "smtp_auth_identity",
    "smtp_auth_password",
    "smtp_auth_password_file",
    "smtp_auth_secret",
    "smtp_auth_secret_file",
    "smtp_auth_username",
    "smtp_force_implicit_tls",
    "smtp_from",
    "smtp_hello",
    "smtp_require_tls",
    "smtp_smarthost",
    "smtp_tls_config",
    "telegram_api_url",
    "telegram_bot_token",
    "telegram_bot_token_file",
    "victorops_api_key",
    "victorops_api_key_file",
    "victorops_api_url",
    "webex_api_url",
    "wechat_api_corp_id",
    "wechat_api_secret",
    "wechat_api_secret_file",
    "wechat_api_url",
];

/// Keys of a route.
pub(super) const ROUTE: &[&str] = &[
    "active_time_intervals",
    "continue",
    "group_by",
    "group_interval",
    "group_wait",
    "match",
    "match_re",
    "matchers",
    "mute_time_intervals",
    "receiver",
    "repeat_interval",
    "routes",
];

/// Keys of an inhibition.
pub(super) const INHIBIT_RULE: &[&str] = &[
    "equal",
    "name",
    "source_match",
    "source_match_re",
    "source_matchers",
    "target_match",
    "target_match_re",
    "target_matchers",
];

/// Kinds of integration and whether each tells of the end of alerts by default.
pub(super) const INTEGRATIONS: &[(&str, bool)] = &[
    ("discord", true),
    ("email", false),
    ("incidentio", true),
    ("jira", true),
    ("mattermost", true),
    ("msteams", true),
    ("msteamsv2", true),
    ("opsgenie", true),
    ("pagerduty", true),
    ("pushover", true),
    ("rocketchat", false),
    ("slack", false),
    ("sns", true),
    ("telegram", true),
    ("victorops", true),
    ("webex", true),
    ("webhook", true),
    ("wechat", false),
];
