"""Push rules: which events notify a user, and how.

`ruleset` holds the values and reads them from JSON, `defaults` the rules that every user starts with, `edit` what a
user changed and how it lies over the defaults, and `evaluate` finds the rule that an event matches. Only changes are
stored, so a default rule that a later version of the spec adds is there for every user at once.

Evaluation runs for every local member on every event, so both sides are prepared: an event once for all members
(`evaluate.prepare_event`) and a ruleset once for all events (`evaluate.CompiledRuleset`).

Spec: client-server-api/#push-notifications
"""
