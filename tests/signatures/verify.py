"""Verifies signed requests with a library that shares no code with fetchline.

Reads the key directory from the first line of standard input, and a request from each further one:
an object with `method`, `url` and `headers`. Prints how many it has verified.
"""

import base64
import json
import sys
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver, algorithms


def public_key(jwk):
    x = base64.urlsafe_b64decode(jwk["x"] + "=" * (-len(jwk["x"]) % 4))
    assert (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519"), jwk
    return Ed25519PublicKey.from_public_bytes(x)


keys = {jwk["kid"]: public_key(jwk) for jwk in json.loads(sys.stdin.readline())["keys"]}
verifier = HTTPMessageVerifier(
    signature_algorithm=algorithms.ED25519,
    key_resolver=MappingKeyResolver(public_keys=keys, private_keys={}),
)
nonces = set()
for line in sys.stdin:
    request = SimpleNamespace(**json.loads(line))
    (result,) = verifier.verify(
        request,
        expect_tag="web-bot-auth",
        require_components=('"@authority"', '"signature-agent";key="sig1"'),
    )
    assert result.parameters["expires"] - result.parameters["created"] <= 24 * 3600
    nonces.add(result.nonce)
print(len(nonces))
