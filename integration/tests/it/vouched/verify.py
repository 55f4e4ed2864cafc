"""Verifies answers by the library http-message-signatures of PyPI: JSON in, JSON out, one list each.

A row is the request (method, url, fields asked), the answer (status, headers, body in base64), the key as a
JWK (RFC 7517) and its algorithm. What comes back is what is covered, or why it does not verify.
"""

import base64
import json
import sys

import http_message_signatures as hms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ALGORITHMS = {
    "ecdsa-p256-sha256": hms.algorithms.ECDSA_P256_SHA256,
    "ecdsa-p384-sha384": hms.algorithms.ECDSA_P384_SHA384,
    "ed25519": hms.algorithms.ED25519,
    "rsa-pss-sha512": hms.algorithms.RSA_PSS_SHA512,
}
CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}


class Keys(hms.HTTPSignatureKeyResolver):
    def __init__(self, jwk):
        self.jwk = jwk

    def resolve_public_key(self, key_id):
        jwk = self.jwk
        if key_id != jwk["kid"]:
            return None

        def member(name):
            return base64.urlsafe_b64decode(jwk[name] + "==")

        def number(name):
            return int.from_bytes(member(name), "big")

        if jwk["kty"] == "EC":
            return ec.EllipticCurvePublicNumbers(number("x"), number("y"), CURVES[jwk["crv"]]()).public_key()
        if jwk["kty"] == "OKP":
            return ed25519.Ed25519PublicKey.from_public_bytes(member("x"))
        return rsa.RSAPublicNumbers(number("e"), number("n")).public_key()


class Request:
    def __init__(self, row):
        self.method = row["method"]
        self.url = row["url"]
        self.headers = dict(row["asked"])


class Answer:
    def __init__(self, row):
        self.status_code = row["status"]
        self.headers = dict(row["headers"])
        self.request = Request(row)


def verify(row):
    verifier = hms.HTTPMessageVerifier(
        signature_algorithm=ALGORITHMS[row["algorithm"]],
        key_resolver=Keys(row["key"]),
    )
    try:
        [result] = verifier.verify(
            Answer(row), expect_tag="phigate", body=base64.b64decode(row["body"])
        )
    except hms.HTTPMessageSignaturesException as error:
        return {"error": str(error)}
    *covered, _params = result.covered_components
    return {"covered": covered}


print(json.dumps([verify(row) for row in json.load(sys.stdin)]))
