"""Verifies an access token as an application written in Python would, by PyJWT from JWKS alone."""

import json
import sys

import jwt

jwks_url, issuer, token = sys.argv[1:]
key = jwt.PyJWKClient(jwks_url).get_signing_key_from_jwt(token)
claims = jwt.decode(
    token,
    key,
    algorithms=["RS256", "ES256", "EdDSA"],
    audience=issuer,
    issuer=issuer,
    options={"require": ["exp", "iat", "iss", "aud", "sub", "jti"]},
)
header, payload, signature = token.split(".")
changed = json.dumps({**claims, "roles": ["admin"]}).encode()
forged = ".".join([header, jwt.utils.base64url_encode(changed).decode(), signature])
try:
    jwt.decode(forged, key, algorithms=["RS256", "ES256", "EdDSA"], audience=issuer)
    sys.exit("a changed token was accepted")
except jwt.InvalidSignatureError:
    print(json.dumps(claims))
