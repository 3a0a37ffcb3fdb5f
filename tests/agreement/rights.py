"""Access lists as Cedar decides them (https://cedarpolicy.com), on the cases of tests/foreign/tests/agreement/rights.rs.

Each list becomes the policies of one resource. Membership becomes Cedar's own hierarchy of entities as it stands at the
moment of the question. Prints each disagreement; the last line counts.
"""

import json
import sys

import cedarpy


def kind(who):
    """The entity that a name stands for."""
    return ("Group", who) if "/group/" in who else ("Principal", who)


def written(entity):
    return f"{entity[0]}::{json.dumps(entity[1])}"


def scope(who):
    if who == "anyone":
        return "principal"
    if who == "authenticated":
        return "principal is Principal"
    entity = kind(who)
    return f"principal in {written(entity)}" if entity[0] == "Group" else f"principal == {written(entity)}"


def policies(questions):
    lines = []
    for index, question in enumerate(questions):
        for who, rights in question["list"]:
            actions = ", ".join(f'Action::"{right}"' for right in rights)
            lines.append(f'permit({scope(who)}, action in [{actions}], resource == Object::"{index}");')
    # Whatever a list says: without a certificate there are r and x only, from the entry of anyone alone.
    lines.append('forbid(principal is Nobody, action, resource) unless { action in [Action::"r", Action::"x"] };')
    return "\n".join(lines)


def entities(groups, now):
    parents = {}
    for group, members in groups.items():
        parents.setdefault(kind(group), [])
        for who, end in members:
            parents.setdefault(kind(who), [])
            if end is None or now < end:
                parents[kind(who)].append(kind(group))
    reference = lambda entity: {"type": entity[0], "id": entity[1]}
    return [
        {"uid": reference(entity), "attrs": {}, "parents": [reference(parent) for parent in above]}
        for entity, above in parents.items()
    ]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        worlds = json.load(file)["worlds"]
    count = granted = disagreements = 0
    for world in worlds:
        for moment in world["moments"]:
            questions = moment["questions"]
            requests = [
                {
                    "principal": written(("Principal", question["subject"]) if question["subject"] else ("Nobody", "")),
                    "action": f'Action::"{question["right"]}"',
                    "resource": f'Object::"{index}"',
                    "context": {},
                }
                for index, question in enumerate(questions)
            ]
            answers = cedarpy.is_authorized_batch(
                requests, policies(questions), entities(world["groups"], moment["now"])
            )
            for question, answer in zip(questions, answers, strict=True):
                if answer.diagnostics.errors:
                    raise RuntimeError(answer.diagnostics.errors)
                count += 1
                granted += answer.allowed
                if answer.allowed != question["said"]:
                    disagreements += 1
                    print(f"seed {world['seed']}, at {moment['now']}: Cedar says {answer.allowed}: {question}")
    print(f"rights: {count} compared, {granted} granted, {disagreements} disagreements")
    return disagreements != 0


if __name__ == "__main__":
    sys.exit(main())
