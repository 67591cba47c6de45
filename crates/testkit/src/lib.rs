//! What system tests are made of: misbehaving endpoints, certificates, clients, processes. Never used outside tests.
