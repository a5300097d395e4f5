"""policy.yaml and reason_codes.yaml: each mistake with its message, and what a compiled policy keeps."""

import json

import pytest

from riskengine.errors import ConfigError
from riskengine.expr import Environment
from riskengine.policy.compile import compile_policy, documents_of, find_problems, list_ids
from riskengine.yamlfile import Document, load_yaml
from tests.policy.builders import POLICY, REASONS, compiled, names_of, tag, variables_of

NOW_US = 1_706_745_600_000_000  # 2024-02-01
ENTRY = "{value: c1}"
BUSY = "when: card.count >= 3"
EXPIRES = "expires must be a date such as 2026-12-31 or a time with zone such as 2026-12-31T08:00:00Z"

POLICY_MISTAKES = [
    ("name: small", "name: Small Policy", "2:7: name must be lower_snake_case, at most 64 characters"),
    ("name: small\n", "", "1:1: name is missing"),
    ("version: 1", "version: 2", "1:10: version must be 1"),
    ("rules:", "ruels:", '18:1: unknown key "ruels"; did you mean "rules"?'),
    ("mode: live", "mode: lvie", '3:15: mode must be one of live, shadow, off; did you mean "live"?'),
    ("review: 0.4", "review: 0.9", "5:12: default: review must not be above decline"),
    ("review: 0.4", "review: 0", "5:21: review must be greater than 0"),
    ("review: 0.4", "review: 40%", "5:21: review must be a number"),
    ("id: refund", "id: large", '8:12: the segment id "large" is taken already'),
    ("id: refund", "id: default", '8:12: the segment id "default" is taken already'),
    (
        "when: txn.amount >= 1000",
        "when: txn.amuont >= 1000",
        '7:29: there is no variable txn.amuont; did you mean "txn.amount"?',
    ),
    (
        "entity: account",
        "entity: acount",
        "11:24: entity must be one of account, card, device, ip, email, phone, merchant, payee, address, bin, "
        'ip_network, email_domain; did you mean "account"?',
    ),
    ("action: allow", "action: permit", "11:41: action must be one of allow, block, watch"),
    ("id: good", "id: bad", '11:10: the list id "bad" is taken already'),
    ("id: good", "id: in", '11:10: "in" is a word of CEL; give the list another id'),
    (ENTRY, "{value: not-valid}", "10:62: this is not a valid card"),
    (ENTRY, "{value: 4111}", "10:62: value must be text; put it in quotes"),
    (ENTRY, "{value: c2}", "10:67: this card is on the list already"),
    (ENTRY, "{tag: 12}", "10:60: tag must be text; put it in quotes"),
    (ENTRY, "{tag: xyz}", "10:60: tag must be 16 hex digits"),
    (ENTRY, "{tag: '0000000000000000'}", "10:60: a tag of zeros stands for nobody"),
    (ENTRY, "{value: c1, tag: '00000000000000aa'}", "10:54: item 1 of entries: an entry has either a value or a tag"),
    (ENTRY, "{note: who}", "10:54: item 1 of entries: an entry has either a value or a tag"),
    ("2024-01-01", "01.02.2024", f"10:88: {EXPIRES}"),
    ("2024-01-01", "2024-01-01T00:00:00", f"10:88: {EXPIRES}"),
    (
        "default_verdict: decline}}",
        "default_verdict: decline}, notify: {audience: x}}",
        "14:9: hold: an obligation is exactly one of step_up, hold, limit, notify",
    ),
    ("duration_s: 60", "duration_s: 0", "14:29: duration_s must be at least 1"),
    (
        "methods: [one_time_code]",
        "methods: [one_time_codes]",
        "15:30: item 1 of methods must be one of three_d_secure, one_time_code, biometric, passcode, card_code, "
        'address; did you mean "one_time_code"?',
    ),
    ("on_review: [hold]", "on_review: [hlod]", '17:13: unknown obligation "hlod"; did you mean "hold"?'),
    ("id: busy", "id: many", '20:10: the rule id "many" is taken already'),
    ("[tell, step]", "[tell, stop]", '19:84: unknown obligation "stop"; did you mean "step"?'),
    ("reason: LARGE", "reason: LAREG", '21:79: unknown reason code "LAREG"; did you mean "LARGE"?'),
    ("{verdict: review}", "{}", "20:45: then: a rule asks for a verdict, for obligations, or for both"),
    ("{verdict: review}", "{verdict: approve}", "20:55: verdict must be one of review, decline"),
    ("mode: shadow", "mode: trial", "22:90: mode must be one of enforce, shadow, off"),
    ("on_error: review", "on_error: ignore", "20:88: on_error must be one of skip, review, decline"),
    (BUSY, "when: card.count + 3", "20:22: this gives a number, but true or false is needed here"),
    (BUSY, "when: card.cuont >= 3", '20:27: there is no variable card.cuont; did you mean "card.count"?'),
    (
        BUSY,
        'when: "card.count >= 3 && card.cuont >= 3"',
        '20:47: there is no variable card.cuont; did you mean "card.count"?',
    ),
    ("rules:", "rules:\n  - 5", "19:5: item 1 of rules must be a mapping of keys to values"),
]

REASON_MISTAKES = [
    ("norm: card.mean", "norm: card.maen", '3:83: unknown feature "card.maen"; did you mean "card.mean"?'),
    ("feature: txn.amount", "feature: amount", '4:43: unknown feature "amount"; did you mean "txn.amount"?'),
    ("{observed} payments", "{observd} payments", "3:16: an unknown placeholder; there are {observed} and {norm}"),
    ("{observed} payments", "{observed:x} payments", "3:16: an unknown placeholder; there are {observed} and {norm}"),
    (", norm: card.mean", "", "3:16: {norm} needs the key norm: a feature"),
    ("Something is missing.", '"{observed} is missing."', "7:19: {observed} needs the key feature"),
    ("A large amount.", "'A large amount: {'", "4:17: a lone brace; placeholders are {observed} and {norm}"),
    ("Many cards.", "Many cards., unit: pieces", "5:37: unit must be one of count, money, seconds, days, ratio, hour"),
    ("  MODEL: {", "  Model: {", "8:3: the name Model must be UPPER_SNAKE_CASE, at most 64 characters"),
    ("blocked: LISTED", "blocked: LITSED", '9:10: unknown reason code "LITSED"; did you mean "LISTED"?'),
    ("unevaluated: MISSING\n", "", "1:1: unevaluated is missing"),
    ('["device.cards"]', '["device.crads"]', '13:17: no feature is named "device.crads"; did you mean "device.cards"?'),
    ('["*"]', '["model.*"]', '11:1: nothing covers the feature "txn.amount"; end with the pattern "*"'),
    ("code: MODEL}", "code: MODLE}", '14:29: unknown reason code "MODLE"; did you mean "MODEL"?'),
]


@pytest.mark.parametrize(("old", "new", "message"), POLICY_MISTAKES)
def test_policy_mistake_is_told(old: str, new: str, message: str) -> None:
    """Goal: an analyst finds the mistake. Method: one mistake in a good file, its place and its words."""
    assert f"policy.yaml:{message}" in messages(POLICY.replace(old, new, 1), REASONS)


@pytest.mark.parametrize(("old", "new", "message"), REASON_MISTAKES)
def test_reason_mistake_is_told(old: str, new: str, message: str) -> None:
    """Goal: as for the policy. Method: likewise."""
    assert f"reason_codes.yaml:{message}" in messages(POLICY, REASONS.replace(old, new, 1))


def messages(policy: str, reasons: str) -> list[str]:
    """Returns what compiling two texts is refused with."""
    assert (policy, reasons) != (POLICY, REASONS)
    with pytest.raises(ConfigError) as refused:
        compiled(policy, reasons)
    return [str(problem) for problem in refused.value.problems]


def test_all_mistakes_of_both_files_are_told_at_once() -> None:
    """Goal: no second round. Method: mistakes of form and of reference, in both files, in one go."""
    policy = POLICY.replace("name: small", "name: 5").replace("on_review: [hold]", "on_review: [hlod]")
    policy = policy.replace("card.count >= 5", "card.cuont >= 5").replace("{verdict: review}", "{verdict: 7}")
    found = messages(policy, REASONS.replace("blocked: LISTED", "blocked: LITSED").replace("unit", "unti"))

    assert ["2:7", "17:13", "19:27", "20:55", "9:10"] == [line.split(".yaml:")[1].split(": ")[0] for line in found]


@pytest.mark.parametrize("text", ["- 1", "5", "", "rules: {a: 1}\nlists: 4\nthresholds: [1]\nobligations: [x]\n"])
def test_files_of_another_shape_are_refused_and_nothing_breaks(text: str) -> None:
    """Goal: checks beside the schema survive anything. Method: other shapes at every level, in either file."""
    assert messages(text, REASONS)
    assert messages(POLICY, text)
    assert () == list_ids(load_yaml(text, name="policy.yaml"))


def test_too_many_rules_are_refused() -> None:
    """Goal: a set of rules has 256 bits. Method: 256 rules pass, one more does not."""
    one = "  - {{id: r{}, when: card.count > 1, then: {{verdict: review}}, reason: MANY}}\n"
    full = POLICY + "".join(one.format(index) for index in range(250))

    assert 256 == len(compiled(full).file.rules)
    assert ["policy.yaml:19:3: rules must have at most 256 items"] == messages(full + one.format(250), REASONS)


def test_identifiers_do_not_leave_with_the_content() -> None:
    """Goal: only tags pass the door. Method: look for every value and note in the content; the tags are there."""
    policy = compiled(POLICY.replace(ENTRY, "{value: tok_77, note: card of somebody}"))

    assert b"tok_77" not in policy.content
    assert b"somebody" not in policy.content
    assert f'"tag":"{tag("card", "tok_77"):016x}"'.encode() in policy.content


def test_content_rebuilds_the_policy_without_a_key() -> None:
    """Goal: replay needs no key. Method: compile from the content alone, and compare all that decides."""
    first = compiled()
    policy, reasons = documents_of(first.content)
    environment = Environment(variables_of(policy))
    second = compile_policy(policy, reasons, environment, names_of(policy))

    assert first.content == second.content
    assert first.revision == second.revision
    assert set(first.entries) == set(second.entries)
    assert first.names() == second.names()
    assert [one.text for one in first.rule_conditions] == [one.text for one in second.rule_conditions]


def test_content_of_another_format_is_refused() -> None:
    """Goal: a journal of another version ends in a sentence. Method: a content with another format."""
    content = json.loads(compiled().content)

    with pytest.raises(ConfigError, match="policy of format 2, this program reads format 1; use the one that wrote it"):
        documents_of(json.dumps({**content, "format": 2}).encode())


def test_what_needs_no_features_is_found_without_them() -> None:
    """Goal: a wrong features.yaml hides little. Method: mistakes of every kind; with both files, then with one."""
    policy = POLICY.replace("on_review: [hold]", "on_review: [hlod]").replace("reason: LARGE", "reason: LAREG", 1)
    policy = policy.replace("card.count >= 5", "card.cuont >= 5").replace("mode: live", "mode: lvie")
    reasons = REASONS.replace("blocked: LISTED", "blocked: LITSED").replace("feature: txn.amount", "feature: amount")
    documents = load_yaml(policy, name="policy.yaml"), load_yaml(reasons, name="reason_codes.yaml")

    def places(*pair: Document | None) -> list[str]:
        return sorted(f"{problem.file}:{problem.line}" for problem in find_problems(*pair, tag=tag))

    of_policy = ["policy.yaml:17", "policy.yaml:3"]
    assert sorted(["policy.yaml:21", *of_policy, "reason_codes.yaml:9"]) == places(*documents)
    assert of_policy == places(documents[0], None), "without reasons none of them is unknown"
    assert ["reason_codes.yaml:9"] == places(None, documents[1])
    assert [] == find_problems(load_yaml(POLICY, name="p"), load_yaml(REASONS, name="r"), tag=tag)


def test_content_is_equal_for_equal_policies_only() -> None:
    """Goal: the revision names what decides. Method: comments and notes change nothing, a threshold does."""
    same = compiled("# a comment\n" + POLICY.replace(ENTRY, "{value: c1, note: hello}"))

    assert compiled().content == same.content
    assert compiled().revision != compiled(POLICY.replace("review: 0.4", "review: 0.41")).revision


def test_values_need_a_key() -> None:
    """Goal: the engine never tags. Method: compile raw values without a key."""
    with pytest.raises(ConfigError, match="10:62: without the key of tags only tags can be read"):
        compiled(tag=None)


def test_names_tell_what_bits_mean() -> None:
    """Goal: a reply is built from names and bits. Method: the small policy's names, as JSON keeps them."""
    names = compiled().names()

    assert names == json.loads(json.dumps(names))
    assert ("small", ["default", "large", "refund"]) == (names["policy"], names["segments"])
    assert {"id": "many", "verdict": 3, "mode": "enforce"} == names["rules"][0]
    assert {"id": "large", "verdict": 0, "mode": "enforce"} == names["rules"][2]
    assert {"id": "bad", "action": "block"} == names["lists"][0]
    assert {"hold": {"duration_s": 60, "default_verdict": "decline"}} == names["obligations"][0]
    assert ["hold", "step", "tell"] == names["obligation_ids"]
    assert {"code": "LARGE", "text": "A large amount.", "unit": None} == names["reasons"][1]


def test_what_is_odd_is_warned_of() -> None:
    """Goal: an expired entry, a rule by a model that is not live ... stop no policy. Method: each once."""
    policy = POLICY.replace("mode: live", "mode: shadow").replace(BUSY, "when: model.probability > 0.5")
    policy = policy.replace("txn.amount > 5000", "1 < 2")
    found = compiled(policy, REASONS.replace('"card.*"', '"card.*", "foo.*"'), now_us=NOW_US).warnings

    assert [
        "policy.yaml:20:22: this rule decides by the model, although the model is not live",
        "policy.yaml:21:23: this condition names no feature: it is always the same",
        "policy.yaml:10:44: expired entries: 1",
        'reason_codes.yaml:12:27: no feature matches "foo.*"',
    ] == [str(warning) for warning in found]


def test_list_ids_are_read_before_anything_is_checked() -> None:
    """Goal: the engine can declare list.<id> first. Method: good, bad and repeated ids."""
    data = {"lists": [{"id": "a"}, {"id": "B"}, {"id": 5}, 7, {"id": "a"}, {"id": "in"}, {"id": "c_1"}]}

    assert ("a", "c_1") == list_ids(Document("policy.yaml", data))
