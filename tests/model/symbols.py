"""The symbol table as programs: inserts under a lock that the kernel drops with its holder, look-ups without one.

Two slots, and two keys with one hash: each look-up must tell them apart by the key itself. `used` is the next row; the
intent of an insert is in `pending` (slot + 1, 0: none) and `pending.used` (what `used` will be).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .explorer import Results, Scenario
from .machine import Process
from .program import Memory, Program, Step, check, jump, kernel, let, load, only, store, unless

HASH = 7
NO_ROW = -1

WORDS: Memory = {
    "lock": 0,
    "used": 0,
    "pending": 0,
    "pending.used": 0,
    **{f"slot{slot}.{field}": empty for slot in (0, 1) for field, empty in (("hash", 0), ("key", 0), ("row", NO_ROW))},
    **{f"row_slot{row}": 0 for row in (0, 1)},
}


def _slot(field: str) -> Callable[[int], str]:
    return lambda slot: f"slot{slot}.{field}"


def _lock(owner: int) -> Step:
    return kernel("flock", lambda memory: {"lock": owner} if memory["lock"] == 0 else None)


def _repair(broken: str) -> list[Step | str]:
    """Finish or forget the insert that a dead holder of the lock left behind."""
    finish: list[Step | str] = [load("following", "pending.used"), store("used", lambda following: following)]
    if broken == "the repair counts the row once more":
        finish = [load("following", "used"), store("used", lambda following: following + 1)]
    return [
        load("pending", "pending"),
        jump("mended", lambda pending: pending == 0),
        let("slot", lambda pending: pending - 1),
        load("stored", _slot("hash"), acquire=True),
        jump("forgotten", lambda stored: stored == 0),
        *finish,
        "forgotten",
        store("pending", 0, release=True),
        "mended",
    ]


def _find(key: int, *, absent: str, found: str, broken: str) -> list[Step | str]:
    """Probe for a key; jumps to ``absent`` with the first free slot, or to ``found`` with the key's."""
    compare = jump("probe on", lambda held: held != key)
    return [
        let("slot", 0),
        "probe",
        jump("full", lambda slot: slot == 2),
        load("stored", _slot("hash"), acquire=broken != "the hash is a plain load"),  # SYNC POINT: symbol-slot
        jump(absent, lambda stored: stored == 0),
        load("held", _slot("key")),
        *unless(broken == "the key is not compared", compare),
        jump(found),
        "probe on",
        let("slot", lambda slot: slot + 1),
        jump("probe"),
        "full",
        check(False, "the table is full though there is a slot for each symbol"),
        jump("end"),
    ]


def _insert(key: int, owner: int, broken: str) -> Program:
    used: list[Step | str] = [store("used", lambda row: row + 1)]
    clear: list[Step | str] = [store("pending", 0, release=True)]
    intent: list[Step | str] = [store("pending", lambda slot: slot + 1, release=True)]
    publish: list[Step | str] = [store(_slot("hash"), HASH, release=broken != "the hash is a plain store")]
    row_slot: list[Step | str] = [store(lambda row: f"row_slot{row}", lambda slot: slot + 1)]
    early_publish = broken == "the slot is published before its fields"
    late_intent = broken == "the intent is stored after the slot is published"
    late_row_slot = broken == "row_slot is written after the slot is published"
    early_used = broken == "used moves before the slot is published"
    early_clear = broken == "the intent is cleared before used moves"
    unlocked = broken == "no lock"
    return Program(
        [
            *unless(unlocked, _lock(owner)),
            *unless(broken == "no repair", *_repair(broken)),
            *_find(key, absent="free", found="found", broken=broken),
            "free",
            load("row", "used"),
            check(lambda row: row < 2, "there is no row left though there is one for each symbol"),
            jump("end", lambda row: row >= 2),
            store("pending.used", lambda row: row + 1),
            *unless(late_intent, *intent),
            *only(early_publish, *publish),
            *only(early_used, *used),
            store(_slot("row"), lambda row: row),
            store(_slot("key"), key),
            *unless(late_row_slot, *row_slot),
            *unless(early_publish, *publish),  # SYNC POINT: symbol-slot
            *only(late_row_slot, *row_slot),
            *only(late_intent, *intent),
            *only(early_clear, *clear),
            *unless(early_used, *used),
            *unless(early_clear, *clear),
            jump("unlock"),
            "found",
            load("row", _slot("row")),
            "unlock",
            *unless(unlocked, kernel("unlock", lambda _memory: {"lock": 0})),
        ],
        results=("row",),
    )


def _lookup(key: int, broken: str) -> Program:
    """Look a key up, then its row's key: whoever is found is found whole."""
    return Program(
        [
            *_find(key, absent="end", found="found", broken=broken),
            "found",
            load("row", _slot("row")),
            check(lambda row: row != NO_ROW, "a look-up found a symbol without its row"),
            jump("end", lambda row: row == NO_ROW),
            load("at", lambda row: f"row_slot{row}"),
            check(lambda at, slot: at == slot + 1, "the row of a symbol does not lead back to it"),
        ]
    )


def _list_rows(broken: str) -> Program:
    """Ask for the key of row 0, as one does who lists all symbols."""
    return Program(
        [
            load("at", "row_slot0"),
            jump("end", lambda at: at == 0),
            let("slot", lambda at: at - 1),
            load("stored", _slot("hash"), acquire=broken != "the hash is a plain load"),  # SYNC POINT: symbol-slot
            jump("end", lambda stored: stored == 0),
            load("row", _slot("row")),
            jump("end", lambda row: row != 0),
            load("held", _slot("key")),
            check(lambda held: held != 0, "a row was listed without its symbol"),
        ]
    )


def _wrong_table(keys: Sequence[int], memory: Memory, results: Results) -> str | None:
    slots = [slot for slot in (0, 1) if memory[f"slot{slot}.hash"]]
    rows = {memory[f"slot{slot}.key"]: memory[f"slot{slot}.row"] for slot in slots}
    if sorted(rows) != sorted(set(keys)) or len(slots) != len(rows):
        return f"the table holds {sorted(rows)} in {len(slots)} slots, not {sorted(set(keys))}"
    if len(set(rows.values())) != len(rows):
        return f"two symbols share a row: {rows}"
    if memory["used"] != len(rows):
        return f"{memory['used']} rows are used for {len(rows)} symbols"
    if any(memory[f"row_slot{memory[f'slot{slot}.row']}"] != slot + 1 for slot in slots):
        return "a row does not lead back to its symbol"
    for owner, key in enumerate(keys, 1):
        if results[f"inserter{owner}"]["row"] != rows[key]:
            return f"an insert returned row {results[f'inserter{owner}']['row']}, the symbol has row {rows[key]}"
    return None


def inserted(keys: Sequence[int] = (1, 2), *, crashes: int = 1, broken: str = "") -> Scenario:
    """Two inserters, either of which may be killed anywhere and tries again."""
    inserters = []
    for owner, key in enumerate(keys, 1):
        program = _insert(key, owner, broken)
        inserters.append(Process(f"inserter{owner}", program, program, crashes, dies_holding={"lock": owner}))
    return Scenario(WORDS, inserters, lambda memory, results: _wrong_table(keys, memory, results))


def looked_up(*, listing: bool = False, broken: str = "") -> Scenario:
    """One inserter that may be killed anywhere, and one who looks its symbol up, or lists the rows."""
    program = _insert(1, 1, broken)
    inserter = Process("inserter1", program, program, 1, dies_holding={"lock": 1})
    reader = Process("reader", _list_rows(broken) if listing else _lookup(1, broken))
    return Scenario(WORDS, [inserter, reader], lambda memory, results: _wrong_table([1], memory, results))
