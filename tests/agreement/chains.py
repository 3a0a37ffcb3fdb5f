"""A second verifier of transfer certificates, written from docs/protocol.md and sharing no code with the first.

Usage: chains.py FILE, where FILE holds the realms and the cases as tests/foreign/src/cases.rs describes them, with
what the first verifier said. Prints each disagreement; the last line counts.
"""

import datetime
import hashlib
import json
import re
import sys

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pycose.headers import Algorithm
from pycose.algorithms import Es256
from pycose.exceptions import CoseException
from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import Sign1Message

import cbor
from cbor import Malformed

KIND = b"webos-transfer-v1"
SKEW = 60
MAX_CHAIN_BYTES = 32 * 1024
MAX_LINKS = 4
MAX_CERTIFICATES = 4
MAX_CERTIFICATE_BYTES = 4096
MAX_GRANTS = 16
MAX_DEPTH = 3

ISS, SUB, AUD, EXP, NBF, IAT, CTI, CNF = range(1, 9)
GRANTS, DEPTH, VIA, EPOCH, JOB = -70001, -70002, -70003, -70004, -70005
REQUIRED = {ISS, SUB, AUD, EXP, NBF, IAT, CTI, CNF, GRANTS, DEPTH, EPOCH}

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
REALM = rf"{LABEL}(?:\.{LABEL})*"
PRINCIPAL = re.compile(rf"spiffe://({REALM})/(user|server|service)/({LABEL})")
GROUP = re.compile(rf"spiffe://({REALM})/group/({LABEL})")
SERVICE = re.compile(rf"service://({LABEL})\.({REALM})")
VOLUME = re.compile(rf"({LABEL})\.({REALM})")


# What the libraries raise on bytes that they do not understand.
NOT_UNDERSTOOD = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    CoseException,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class Refused(Exception):
    """The chain is refused, and why."""


def need(condition, why):
    if not condition:
        raise Refused(why)


def principal(text):
    need(isinstance(text, str), "a name that is no text")
    match = PRINCIPAL.fullmatch(text)
    need(match and len(match[1]) <= 180, f"'{text}' is no principal")
    return match[1], match[2], match[3]


def thumbprint(key):
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def certified(chain, realms, now):
    """Principal, key, first end and realm of a chain of certificates, leaf first, root left out."""
    need(1 <= len(chain) <= MAX_CERTIFICATES, "too many certificates, or none")
    need(all(len(der) <= MAX_CERTIFICATE_BYTES for der in chain), "a large certificate")
    leaf, *above = [x509.load_der_x509_certificate(der) for der in chain]
    need(not signs_certificates(leaf), "an authority as leaf")
    name = named(leaf)
    realm = realms.get(principal(name)[0])
    need(realm, "an unknown realm")
    usages = {"user": 1, "server": 2, "service": 2}[principal(name)[1]]
    extended = extension(leaf, x509.ExtendedKeyUsage) or []
    wanted = [x509.OID_CLIENT_AUTH, x509.OID_SERVER_AUTH][:usages]
    need(all(usage in extended for usage in wanted), "a leaf for another use")
    end = path(leaf, above, realm["roots"], now)
    need(isinstance(leaf.public_key(), ec.EllipticCurvePublicKey), "no P-256 key")
    need(leaf.public_key().curve.name == "secp256r1", "no P-256 key")
    return name, leaf.public_key(), end, realm


def extension(certificate, kind):
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def signs_certificates(certificate):
    constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    return bool((constraints and constraints.ca) or (usage and usage.key_cert_sign))


def named(leaf):
    """The one SPIFFE id of a leaf, whose DNS twin is there too, and nothing else."""
    names = list(extension(leaf, x509.SubjectAlternativeName) or [])
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    twins = [name.value for name in names if isinstance(name, x509.DNSName)]
    need(len(names) == 2 and len(uris) == 1 and len(twins) == 1, "other names")
    realm, kind, label = principal(uris[0])
    need(twins[0] == f"{label}.{kind}.{realm}", "a wrong twin")
    return uris[0]


def path(leaf, above, roots, now):
    """When the first certificate on the way from this leaf to a root ends."""
    ends, current = [check_dates(leaf, now)], leaf
    while True:
        for root in roots:
            if issued(current, root):
                check_dates(root, now)
                return min(ends + [seconds(root.not_valid_after_utc)])
        parent = next((one for one in above if issued(current, one)), None)
        need(parent is not None and signs_certificates(parent), "it leads to no root")
        constraints = extension(parent, x509.BasicConstraints)
        depth = len(ends) - 1
        need(constraints.path_length is None or depth <= constraints.path_length, "too long a path")
        permit(parent, leaf)
        ends.append(check_dates(parent, now))
        need(len(ends) <= MAX_CERTIFICATES, "too long a path")
        current = parent


def issued(certificate, issuer):
    try:
        certificate.verify_directly_issued_by(issuer)
        return True
    except NOT_UNDERSTOOD:
        return False


def permit(authority, leaf):
    constraints = extension(authority, x509.NameConstraints)
    if constraints is None:
        return
    twin = named_twin(leaf)
    permitted = [one.value for one in constraints.permitted_subtrees or [] if isinstance(one, x509.DNSName)]
    inside = any(twin == one or twin.endswith("." + one) for one in permitted)
    need(inside or not permitted, "a name outside the authority's constraints")


def named_twin(leaf):
    return next(name.value for name in extension(leaf, x509.SubjectAlternativeName) if isinstance(name, x509.DNSName))


def seconds(date):
    return int(date.replace(tzinfo=datetime.timezone.utc).timestamp())


def check_dates(certificate, now):
    start, end = seconds(certificate.not_valid_before_utc), seconds(certificate.not_valid_after_utc)
    need(start - SKEW <= now <= end + SKEW, "a certificate out of its time")
    return end


def opened(link, realms, now):
    """Claims and issuer of one link whose signature matches."""
    shape = cbor.read(link)
    need(isinstance(shape, cbor.Tagged) and shape.tag == 18, "no COSE_Sign1")
    need(isinstance(shape.value, list) and len(shape.value) == 4, "no COSE_Sign1")
    protected, unprotected, payload, signature = shape.value
    need(unprotected == {} and isinstance(unprotected, dict), "an unprotected header")
    need(isinstance(protected, bytes) and isinstance(payload, bytes), "no header or no content")
    header = cbor.read(protected)
    need(isinstance(header, dict) and set(header) == {1, 33} and header[1] == -7, "another header")
    chain = header[33]
    need(isinstance(chain, list) and all(isinstance(der, bytes) for der in chain), "no certificates")
    name, key, end, realm = certified(chain, realms, now)
    message = Sign1Message.decode(link)
    need(message.phdr.get(Algorithm) is Es256 or message.get_attr(Algorithm) is Es256, "another algorithm")
    numbers = key.public_numbers()
    message.key = EC2Key(crv=P256, x=numbers.x.to_bytes(32, "big"), y=numbers.y.to_bytes(32, "big"))
    message.external_aad = KIND
    need(len(signature) == 64 and message.verify_signature(), "the signature does not match")
    return Claims(cbor.read(payload)), name, thumbprint(key), end, realm


class Claims:
    """One link's claims, each as it must be."""

    def __init__(self, values):
        need(isinstance(values, dict), "no claims")
        missing, unknown = REQUIRED - set(values), set(values) - REQUIRED - {VIA, JOB}
        need(not missing and not unknown, f"claims {missing or unknown}")
        self.issuer, self.subject, self.audience = values[ISS], values[SUB], values[AUD]
        for name in (self.issuer, self.subject, self.audience):
            principal(name)
        need(principal(self.audience)[1] == "server", "no server")
        self.start, self.end, self.issued = (number(values[name]) for name in (NBF, EXP, IAT))
        need(isinstance(values[CTI], bytes) and len(values[CTI]) == 16, "another id")
        confirmation = values[CNF]
        need(isinstance(confirmation, dict) and list(confirmation) == [3], "another confirmation")
        self.key = fixed(confirmation[3], 32)
        self.depth, self.epoch = number(values[DEPTH]), number(values[EPOCH])
        need(self.depth <= MAX_DEPTH, "too deep")
        self.via = fixed(values[VIA], 32) if VIA in values else None
        self.job = fixed(values[JOB], 16) if JOB in values else None
        need(isinstance(values[GRANTS], list) and 1 <= len(values[GRANTS]) <= MAX_GRANTS, "grants")
        self.grants = [Grant(grant) for grant in values[GRANTS]]
        need(self.issued <= self.start < self.end, "times that contradict each other")


def number(value):
    need(type(value) is int and 0 <= value < 1 << 64, "no number")
    return value


def fixed(value, length):
    need(isinstance(value, bytes) and len(value) == length, "another length")
    return value


class Grant:
    """A place, whether exactly it, and rights."""

    def __init__(self, values):
        need(isinstance(values, dict), "no grant")
        need(isinstance(values.get("rights"), str), "no rights")
        self.rights = rights(values["rights"])
        places = set(values) - {"rights"}
        if places == {"volume", "path", "exact"}:
            volume, path_, self.exact = values["volume"], values["path"], values["exact"]
            need(isinstance(volume, str) and VOLUME.fullmatch(volume), "no volume")
            need(isinstance(path_, list) and len(path_) <= 256 and all(segment(one) for one in path_), "no path")
            need(type(self.exact) is bool, "exact or not")
            self.place, self.path = ("volume", volume), path_
        else:
            need(len(places) == 1, "no place, or several")
            kind = places.pop()
            form = {"group": GROUP, "service": SERVICE}.get(kind)
            need(form and isinstance(values[kind], str) and form.fullmatch(values[kind]), "no place")
            self.place, self.path, self.exact = (kind, values[kind]), [], True

    def reaches(self, other):
        if self.place != other.place:
            return False
        if self.exact:
            return other.exact and self.path == other.path
        return other.path[: len(self.path)] == self.path


def rights(text):
    result = set()
    need(text != "-", "no rights")
    for part in text.split("+"):
        letters = {"relay"} if part == "relay" else set(part)
        need(letters <= set("rwmxa") | {"relay"}, f"'{text}' are no rights")
        result |= letters
    need(result, "no rights")
    return result


def segment(text):
    return isinstance(text, str) and text not in ("", ".", "..") and not set(text) & {"/", "\0"} and len(text.encode()) <= 255


def verify(case, realms):
    """Raises Refused or Malformed unless the chain is good for who shows it, now."""
    data, now = bytes.fromhex(case["chain"]), case["now"]
    need(len(data) <= MAX_CHAIN_BYTES, "too long")
    links = cbor.read(data)
    need(isinstance(links, list) and 1 <= len(links) <= MAX_LINKS, "no links, or too many")
    need(all(isinstance(link, bytes) for link in links), "no links")
    above = above_bytes = None
    for link in links:
        claims, signer, key, end, realm = opened(link, realms, now)
        need(claims.issuer == signer, "signed by another than it says")
        if above is None:
            need(claims.issuer == claims.subject and claims.via is None, "not its own rights, or no first link")
        else:
            need(claims.via == hashlib.sha256(above_bytes).digest(), "another parent")
            need(signer == above.audience and key == above.key, "not passed on by whom it was for")
            need(claims.subject == above.subject, "another subject")
            need(claims.depth < above.depth, "too deep")
            need(claims.start >= above.start and claims.end <= above.end, "longer than its parent")
            need(above.job is None or claims.job == above.job, "another job")
            for grant in claims.grants:
                for right in grant.rights:
                    need(any(right in one.rights and one.reaches(grant) for one in above.grants), "wider")
        need(claims.start - SKEW <= now < claims.end + SKEW, "out of its time")
        need(claims.end <= end, "longer than its issuer's certificate")
        need(claims.epoch >= realm["epoch"], "an old epoch")
        above, above_bytes = claims, link
    need(above.audience == case["peer"] and above.key.hex() == case["key"], "shown by another")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        content = json.load(file)
    realms = {
        realm["name"]: {
            "roots": [x509.load_der_x509_certificate(bytes.fromhex(root)) for root in realm["roots"]],
            "epoch": realm["epoch"],
        }
        for realm in content["realms"]
    }
    disagreements = accepted = 0
    for case in content["cases"]:
        try:
            verify(case, realms)
            said, why = True, "accepted"
        except (Refused, Malformed, *NOT_UNDERSTOOD) as error:
            said, why = False, str(error)
        accepted += said
        if said != case["said"]:
            disagreements += 1
            print(f"{case['name']}: first {case['why']!r}, second {why!r}: {case['chain']}")
    print(f"chains: {len(content['cases'])} compared, {accepted} accepted, {disagreements} disagreements")
    return disagreements != 0


if __name__ == "__main__":
    sys.exit(main())
