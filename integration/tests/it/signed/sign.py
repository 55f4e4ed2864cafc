"""Signs requests by the library http-message-signatures of PyPI: JSON in, JSON out, one list each.

A request is method, url, headers, body, and of the signature key (a file), keyid, algorithm, covered,
created, nonce and whether the algorithm is named in it. What comes back are its headers, signed.
"""

import datetime
import json
import sys
from pathlib import Path

import http_message_signatures as hms
from cryptography.hazmat.primitives.serialization import load_pem_private_key

ALGORITHMS = {
    name: getattr(hms.algorithms, name)
    for name in (
        "ECDSA_P256_SHA256",
        "ECDSA_P384_SHA384",
        "ED25519",
        "RSA_PSS_SHA512",
        "RSA_V1_5_SHA256",
        "HMAC_SHA256",
    )
}


class Message:
    def __init__(self, request):
        self.method = request["method"]
        self.url = request["url"]
        self.headers = dict(request["headers"])


class Keys(hms.HTTPSignatureKeyResolver):
    def __init__(self, file, algorithm):
        self.file = file
        self.algorithm = algorithm

    def resolve_private_key(self, key_id):
        pem = Path(self.file).read_bytes()
        # A shared secret is bytes: here, what everybody may know.
        return pem if self.algorithm == "HMAC_SHA256" else load_pem_private_key(pem, None)


def sign(request):
    message = Message(request)
    body = request["body"].encode()
    signer = hms.HTTPMessageSigner(
        signature_algorithm=ALGORITHMS[request["algorithm"]],
        key_resolver=Keys(request["key"], request["algorithm"]),
    )
    signer.sign(
        message,
        key_id=request["keyid"],
        created=datetime.datetime.fromtimestamp(request["created"], datetime.timezone.utc),
        nonce=request["nonce"],
        label="sig1",
        include_alg=request["names_algorithm"],
        covered_component_ids=tuple(request["covered"]),
        body=body if body else None,
    )
    return message.headers


print(json.dumps([sign(request) for request in json.load(sys.stdin)]))
