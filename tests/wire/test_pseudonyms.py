"""Tags: equal for equal normal forms, useless without the key, never zero, never seen."""

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskengine.errors import StartRefused
from riskengine.types import ENTITIES
from riskengine.wire.pseudonyms import ABSENT, Pseudonyms, TagKey, digest_of, is_bare_pan, normal_ip, normalise
from tests.wire.builders import KEY

PANS = ["4111111111111111", "5500005555555559", "378282246310005", "6011000990139424", "4222222222222"]
EQUAL = [
    ("email", "Jane.Roe@Example.com", " jane.roe@example.COM "),
    ("email", "STRASSE@example.com", "straße@example.com"),
    ("email", "jane@example.com", "ｊane@example.com"),
    ("phone", "+49 (30) 123-45.67", "49301234567"),
    ("address", "1 Main  Street\n", "1 main street"),
    ("address", "Ångström 1", "A\u030angstro\u0308m 1"),
    ("ip", "2001:DB8::1", "2001:0db8:0:0:0:0:0:1"),
    ("ip", "::ffff:203.0.113.7", "203.0.113.7"),
    ("ip_network", "203.0.113.7", "203.0.113.200"),
    ("ip_network", "203.0.113.0/24", "203.0.113.200"),
    ("ip_network", "2001:db8:1:2::1", "2001:db8:1:ffff::/48"),
    ("email_domain", "jane@Example.com", "example.com"),
]
DIFFERENT = [
    ("account", "a", "A"),
    ("ip", "203.0.113.7", "203.0.113.8"),
    ("ip_network", "203.0.113.7", "203.0.114.7"),
    ("ip_network", "2001:db8:1::1", "2001:db8:2::1"),
    ("email_domain", "a@b.example", "a@c.example"),
    ("address", "1 Main Street", "11 Main Street"),
]


@pytest.mark.parametrize(("entity", "one", "other"), EQUAL)
def test_spellings_of_one_thing_share_a_tag(entity: str, one: str, other: str) -> None:
    """Goal: windows are not split by spelling. Method: pairs of spellings."""
    pseudonyms = Pseudonyms(KEY)

    assert 0 != pseudonyms.tag(entity, one) == pseudonyms.tag(entity, other)


@pytest.mark.parametrize(("entity", "one", "other"), DIFFERENT)
def test_different_things_have_different_tags(entity: str, one: str, other: str) -> None:
    """Goal: normalisation does not merge people. Method: pairs that are near."""
    pseudonyms = Pseudonyms(KEY)

    assert pseudonyms.tag(entity, one) != pseudonyms.tag(entity, other)


def test_tag_depends_on_type_and_key() -> None:
    """Goal: tables of one type or installation do not join with another's. Method: one value, all types, two keys."""
    tags = {
        pseudonyms.tag(entity, "203.0.113.7")
        for pseudonyms in (Pseudonyms(KEY), Pseudonyms(TagKey(b"x" * 32)))
        for entity in ENTITIES
    }

    assert 2 * len(ENTITIES) == len(tags)


def test_tag_is_stable() -> None:
    """Goal: journals of the past stay readable. Method: constants; a change needs a new key epoch, not a new constant."""
    pseudonyms = Pseudonyms(KEY)

    assert [0x597BD0256A9988E1, 0x9694EA3CD9BB450B, 0x7C72E1C9015C960C, 0x0C623E20C4E5E6CA] == [
        pseudonyms.tag("card", "tok_1"),
        pseudonyms.tag("ip", "203.0.113.7"),
        pseudonyms.tag("email", "a@example.com"),
        pseudonyms.tag("address", "1 Main Street"),
    ]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1))
def test_address_forms_agree_with_ipaddress(four: int, six: int) -> None:
    """Goal: the quick parser is a right one. Method: ipaddress as the oracle, compressed and exploded."""
    v4, v6 = ipaddress.IPv4Address(four), ipaddress.IPv6Address(six)

    assert v4.packed == normal_ip(str(v4))
    assert (v6.ipv4_mapped or v6).packed == normal_ip(v6.compressed) == normal_ip(v6.exploded)


@given(st.text(alphabet="0123456789abcdef.:%/ ", max_size=20))
def test_address_is_accepted_as_by_ipaddress(text: str) -> None:
    """Goal: neither stricter nor laxer. Method: near-addresses; zones are the one thing we refuse on purpose."""
    try:
        known = "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        known = False

    assert known == bool(normal_ip(text))


@given(st.text(max_size=60))
def test_normal_form_is_a_fixed_point(text: str) -> None:
    """Goal: whoever sends the normal form meets the same tag. Method: normalise twice."""
    for entity in ("email", "address"):
        once = normalise(entity, text)

        assert once == normalise(entity, once.decode())


def test_hash_of_zero_becomes_one() -> None:
    """Goal: 0 is absent only. Method: a stand-in hasher that digests to 0, since no input is known that does."""

    class Zero:
        def update(self, _: bytes) -> None: ...

        def digest(self) -> bytes:
            return ABSENT

    assert (1).to_bytes(8, "little") == digest_of(Zero, b"x")
    assert ABSENT == digest_of(Zero, b"")


@pytest.mark.parametrize("pan", PANS)
@pytest.mark.parametrize(
    "spell",
    [
        lambda pan: pan,
        lambda pan: " ".join(pan[start : start + 4] for start in range(0, len(pan), 4)),
        "-".join,
        lambda pan: f"  {pan}\n",
        lambda pan: "".join(chr(ord(digit) + 0xFEE0) for digit in pan),
        "\u2011".join,
        "\u00a0".join,
        "\u200b".join,
        lambda pan: "".join(chr(0x660 + int(digit)) for digit in pan),
    ],
    ids=["bare", "fours", "dashes", "padded", "full width", "hyphens", "no-break", "invisible", "arabic"],
)
def test_card_number_is_seen_in_every_spelling(pan: str, spell: Callable[[str], str]) -> None:
    """Goal: no card number slips in. Method: test numbers of five schemes in nine spellings."""
    assert is_bare_pan(spell(pan))


@pytest.mark.parametrize(
    "text", ["", "4111111111111112", "411111111111", "x4111111111111111", "4111111111111111x", "1" * 20, "tok_4111"]
)
def test_other_text_is_no_card_number(text: str) -> None:
    """Goal: ids pass. Method: wrong check digit, wrong length, letters."""
    assert not is_bare_pan(text)


@given(st.integers(10**12, 10**19 - 1))
def test_card_number_agrees_with_luhn(number: int) -> None:
    """Goal: the check is Luhn's. Method: a spelled-out Luhn as the oracle."""
    total = 0
    for place, digit in enumerate(reversed(str(number))):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled

    assert (total % 10 == 0) == is_bare_pan(str(number))


class TestTagKey:
    """The key file."""

    def test_created_key_is_private_and_loads(self, tmp_path: Path) -> None:
        """Goal: init makes a key that serve accepts. Method: create, look at the mode, load, compare fingerprints."""
        created = TagKey.create(tmp_path / "tag.key")

        assert 0o600 == (tmp_path / "tag.key").stat().st_mode & 0o777
        assert created.fingerprint == TagKey.load(tmp_path / "tag.key").fingerprint

    def test_key_is_never_overwritten(self, tmp_path: Path) -> None:
        """Goal: history is not made unknown by mistake. Method: create twice."""
        TagKey.create(tmp_path / "tag.key")
        with pytest.raises(StartRefused, match="exists"):
            TagKey.create(tmp_path / "tag.key")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
    def test_key_that_others_can_read_is_refused(self, tmp_path: Path, mode: int) -> None:
        """Goal: a leak is noticed at start. Method: each bit of others; the message says how to mend it."""
        path = tmp_path / "tag.key"
        TagKey.create(path)
        path.chmod(mode)
        with pytest.raises(StartRefused, match="chmod 600"):
            TagKey.load(path)

    @pytest.mark.parametrize("size", [0, 31, 33])
    def test_key_of_another_size_is_refused(self, tmp_path: Path, size: int) -> None:
        """Goal: a truncated key does not quietly rename everybody. Method: other sizes."""
        path = tmp_path / "tag.key"
        path.write_bytes(b"k" * size)
        path.chmod(0o600)
        with pytest.raises(StartRefused, match="exactly 32 bytes"):
            TagKey.load(path)

    def test_absent_or_odd_file_is_refused(self, tmp_path: Path) -> None:
        """Goal: a clear message, no hanging. Method: no file, a directory, a FIFO without a writer."""
        os.mkfifo(tmp_path / "fifo", 0o600)
        for name, words in (("nothing", "cannot be read"), (".", "regular file"), ("fifo", "regular file")):
            with pytest.raises(StartRefused, match=words):
                TagKey.load(tmp_path / name)

    def test_key_is_not_in_its_repr(self) -> None:
        """Goal: no secret in logs. Method: the bytes and their hex, searched in repr and str."""
        secret = b"canary-secret-canary-secret-cana"
        shown = repr(TagKey(secret)) + str(TagKey(secret)) + repr(vars(Pseudonyms(TagKey(secret))))

        assert "canary" not in shown
        assert secret.hex() not in shown
