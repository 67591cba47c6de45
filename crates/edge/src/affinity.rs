//! Cookie affinity. Never trusts what a client sends: a cookie that does not authenticate counts as absent.
