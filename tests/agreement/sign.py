"""Documents as another implementation of COSE signs them, for ours to read.

Usage: sign.py FILE, with a key, its certificates, the kind and the content as tests/foreign/tests/agreement/documents.rs
gives them. The last line is a JSON object: what was done to a document, and the document.
"""

import json
import sys

from cryptography.hazmat.primitives import serialization
from pycose.algorithms import Es256
from pycose.headers import KID, Algorithm, ContentType, X5chain
from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import Sign1Message


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        given = json.load(file)
    numbers = serialization.load_pem_private_key(given["key"].encode(), None).private_numbers()
    whole = lambda number: number.to_bytes(32, "big")
    key = EC2Key(
        crv=P256,
        x=whole(numbers.public_numbers.x),
        y=whole(numbers.public_numbers.y),
        d=whole(numbers.private_value),
    )
    chain = [bytes.fromhex(der) for der in given["chain"]]
    content, kind = bytes.fromhex(given["content"]), given["kind"].encode()

    def signed(protected=None, unprotected=None, external=kind, tag=True):
        message = Sign1Message(
            phdr=protected or {Algorithm: Es256, X5chain: chain},
            uhdr=unprotected or {},
            payload=content,
            external_aad=external,
        )
        message.key = key
        return message.encode(tag=tag).hex()

    print(
        json.dumps(
            {
                "honest": signed(),
                "of another kind": signed(external=b"webos-manifest-v1"),
                "without a tag": signed(tag=False),
                "with an unprotected header": signed(unprotected={KID: b"n1"}),
                "with a header that is not used": signed({Algorithm: Es256, X5chain: chain, ContentType: 60}),
                "with a key's name beside": signed({Algorithm: Es256, X5chain: chain, KID: b"n1"}),
                "without certificates": signed({Algorithm: Es256}),
                "with its certificates reversed": signed({Algorithm: Es256, X5chain: chain[::-1]}),
            }
        )
    )


if __name__ == "__main__":
    main()
