"""Accounts and what belongs to them: sessions, devices, profiles, account data, push rules, filters.

Every change to an account, its devices or its tokens happens under the lock ``account_key(user)``, so what is read,
decided and written about one account is never interleaved. Names are claimed in the batch itself.
"""
