//! The contract between edge and auth: claims, JWS, JWKS, revocation records, header names. Never does IO.
