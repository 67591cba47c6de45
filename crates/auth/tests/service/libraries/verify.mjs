// Verifies an access token as an application written in JavaScript would, by jose from JWKS alone.
import { pathToFileURL } from "node:url";

const [home, jwksUrl, issuer, token] = process.argv.slice(2);
const jose = await import(pathToFileURL(`${home}/node_modules/jose/dist/webapi/index.js`));
const keys = jose.createRemoteJWKSet(new URL(jwksUrl));
const rules = { issuer, audience: issuer, typ: "at+jwt", algorithms: ["RS256", "ES256", "EdDSA"] };
const { payload } = await jose.jwtVerify(token, keys, rules);
const [header, , signature] = token.split(".");
const changed = Buffer.from(JSON.stringify({ ...payload, roles: ["admin"] })).toString("base64url");
try {
  await jose.jwtVerify([header, changed, signature].join("."), keys, rules);
  console.error("a changed token was accepted");
  process.exit(1);
} catch (error) {
  if (error.code !== "ERR_JWS_SIGNATURE_VERIFICATION_FAILED") throw error;
  console.log(JSON.stringify(payload));
}
