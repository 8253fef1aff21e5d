"""Mutations of the real code, each without one rule of the protocol: the search must find a violation for each.

Names are those of the models in which the rules were found: "final minus" of the claims, C1 to C14 of the calls.
Nothing of this is a switch in the product; each mutation replaces one function for as long as it lasts.
"""

from collections.abc import Callable

from msgspec import Struct

from tests.simulation import call_mutations as calls
from tests.simulation import claim_mutations as claims
from tests.simulation import delete_mutations as deletes
from tests.simulation import order_mutations as order
from tests.simulation import thread_mutations as threads
from tests.simulation import warm_mutations as warm
from tests.simulation.fault_injector import NO_FAULTS, Odds
from tests.simulation.plan import Plan
from tests.simulation.swapped import Applied


class Mutation(Struct, frozen=True):
    """A rule to remove. `odds` and `plan` select the schedules to search; `finds`: prefixes of the violation."""

    name: str
    apply: Callable[[], Applied]
    finds: tuple[str, ...]
    odds: Odds
    plan: Plan


_DEAF = Odds(lost=0.4, slow=0.2)
_BUSY = Odds(crash=0.02, unanswered=0.05, late=0.05, slow=0.1, again=0.4, lag=0.2)
_RACES = Odds(again=0.6, slow=0.15, lag=0.3, freeze=0.02)
_LATE_WRITERS = Odds(slow=0.6, freeze=0.05)
_HANDS = Odds(crash=0.02, twice=0.2, late=0.05, unanswered=0.05, lost=0.05, sandbox_dies=0.2, freeze=0.01)
_UNANSWERED = Odds(lost=0.25, unanswered=0.05, slow=0.1, crash=0.02, late=0.05)
_LOST = Odds(lost=0.4, slow=0.1)
_DYING = Odds(crash=0.04, slow=0.1)
_FRAIL = Odds(crash=0.04, sandbox_dies=0.6, slow=0.1)
_TOO_LATE = Odds(late=0.3, lag=0.9)
_REPEATED = Odds(twice=0.5, late=0.1, unanswered=0.1, lag=0.4, slow=0.1)

_MANY = Plan(replicas=2, workers=1, messages=3, updates=1)
_ALONE = Plan(replicas=1, workers=1, messages=3, updates=1)
_CHATTY = Plan(replicas=1, workers=1, messages=8, calls=8)
_POISON = Plan(messages=2, poison=True)
_DEADLY = Plan(messages=1, deadly=True)
_VANISH = Plan(messages=3, vanish=True)
_TOOLS = Plan(replicas=2, workers=2, messages=2, calls=6)
_GONE = Plan(replicas=2, workers=2, messages=2, calls=6, hold=0.0, reads=True)
_LAST = Plan(replicas=1, workers=1, messages=1, calls=6, hold=0.0)
_LEFT = Plan(replicas=2, workers=2, messages=2, calls=6, hold=0.0, steady=("harness",))
_STOPPED = Plan(replicas=2, workers=1, messages=6, calls=12, impatient=8)
_LONG = Plan(replicas=2, workers=1, messages=2, calls=6, hold=0.0, steady=("worker",))
_TWO = Plan(replicas=2, workers=1, clocks=1, messages=2, calls=8)
_THREADS = Plan(replicas=1, workers=1, messages=6, calls=4, child=True)
_TWO_STOPPED = Plan(replicas=1, workers=1, messages=6, calls=12, impatient=8, child=True)
_MIXED = Plan(replicas=1, workers=1, messages=4)
_PAIRS = Plan(replicas=1, workers=1, messages=2, pairs=8)
_UPDATED = Plan(replicas=1, workers=1, messages=2, pairs=8, updates=16)
_CHANGED = Plan(replicas=2, workers=1, messages=6, updates=8, calls=6)
_APART = Plan(replicas=2, workers=2, hosts=2, messages=3, calls=6)
_DELETED = Plan(replicas=2, workers=1, messages=4, calls=4, delete=True)
_LATE = Plan(replicas=2, workers=1, messages=4, calls=4, delete=True, last_pass=False)
_CLOSED = Plan(replicas=2, workers=1, messages=8, calls=4, delete=True, archive=True)

MUTATIONS = [
    Mutation("re-claim with the old trigger", claims.reclaim_with_the_old_trigger, ("2:", "4:"), _RACES, _MANY),
    Mutation("take only the trigger", claims.take_only_the_trigger, ("1:",), _RACES, _MANY),
    Mutation("look for the own commit id", claims.no_look_for_the_own_commit, ("2:",), _BUSY, _MANY),
    Mutation("claim by commit, not by name", claims.claims_known_by_name, ("2:",), _RACES, _ALONE),
    Mutation("unlimited deliveries", claims.three_deliveries_at_most, ("4:",), _BUSY, _MANY),
    Mutation("NAK until taken", claims.ack_under_a_foreign_claim, ("1:", "4:"), _BUSY, _MANY),
    Mutation("a NAK has a delay", claims.nak_without_a_delay, ("4:",), _BUSY, _MANY),
    Mutation("taking over a claim that stands still", claims.never_take_over_a_standing_claim, ("4:",), _BUSY, _VANISH),
    Mutation("counting takeovers", claims.never_count_takeovers, ("4:",), NO_FAULTS, _POISON),
    Mutation("a turn is closed before its calls", claims.cancel_before_the_turn_is_closed, ("4:",), _RACES, _LONG),
    Mutation("parking what is taken unread", claims.close_without_parking, ("1:",), NO_FAULTS, _DEADLY),
    Mutation("claim before reading", claims.read_before_the_claim, ("4:",), NO_FAULTS, _DEADLY),
    Mutation("arrivals name what came before them", claims.arrivals_believed_whole, ("1:", "4:"), _DEAF, _CHATTY),
    Mutation("no ack of the open claim's trigger", claims.head_without_the_trigger_check, ("4:",), _RACES, _MANY),
    Mutation("the inbox is read up to the trigger", claims.inbox_not_read_up_to_the_trigger, ("1:",), _RACES, _MANY),
    Mutation("the trigger is taken in the end", claims.let_go_before_the_trigger_is_taken, ("1:",), _RACES, _MANY),
    Mutation("a ping before a NAK for another", claims.nak_without_a_ping, ("live:",), NO_FAULTS, _MANY),
    Mutation("C1 call bound to a generation", calls.c1_not_bound_to_a_generation, ("3:",), _HANDS, _TOOLS),
    Mutation("C2 placed before the answer", calls.c2_placed_after_the_answer, ("4:",), _DYING, _LEFT),
    Mutation("C3 placements outlive the registration", calls.c3_placements_expire, ("4:",), _DYING, _LEFT),
    Mutation(
        "C4 placed until the results are stored", calls.c4_placement_emptied_before_the_results, ("4:",), _FRAIL, _LEFT
    ),
    Mutation("C5 results only of open calls", calls.c5_results_taken_blindly, ("3:",), _HANDS, _TOOLS),
    Mutation("C6 worker remembers finished calls", calls.c6_finished_calls_forgotten, ("3:",), _REPEATED, _TOOLS),
    Mutation(
        "C7 released when the worker has accepted",
        calls.c7_released_before_it_was_accepted,
        ("4:",),
        _LOST,
        _LAST,
    ),
    Mutation(
        "C8 cancel before an interrupt closes the call", calls.c8_no_cancel_on_interrupt, ("3:",), _TOO_LATE, _STOPPED
    ),
    Mutation("C9 the worker watches its lease", calls.c9_a_lease_nobody_watches, ("3:",), _HANDS, _TOOLS),
    Mutation("C10 somebody reports dead workers", calls.c10_nobody_reports_dead_workers, ("4:",), _DYING, _LEFT),
    Mutation("C11 an unconfirmed result is published", calls.c11_no_fallback_to_the_inbox, ("4:",), _UNANSWERED, _LEFT),
    Mutation("C12 confirmed after the append", calls.c12_confirmed_before_the_append, ("3:",), _HANDS, _TOOLS),
    Mutation("C13 reported after the expiry", calls.c13_reported_while_registered, ("3:",), _HANDS, _TOOLS),
    Mutation("C14 emptied if unchanged", calls.c14_placement_emptied_whatever_it_names, ("4:",), _DYING, _LEFT),
    Mutation(
        "H1 a loss closes the calls of its hand only",
        calls.h1_a_loss_closes_the_calls_of_all_hands,
        ("3:",),
        _HANDS,
        _TWO,
    ),
    Mutation("H2 a hand is bound to its own calls only", calls.h2_bound_whatever_the_hand, ("3:",), _HANDS, _TWO),
    Mutation("H3 the host is remembered", calls.h3_the_host_is_forgotten, ("7:",), _HANDS, _APART),
    Mutation("H4 a foreign host declines", calls.h4_a_foreign_host_starts_empty, ("7:",), _HANDS, _APART),
    Mutation("D1 a deleted session is left alone", deletes.d1_a_deleted_session_is_claimed, ("9:",), _BUSY, _DELETED),
    Mutation("D2 a late snapshot is erased", deletes.d2_a_snapshot_is_stored_and_left, ("9:",), _LATE_WRITERS, _LATE),
    Mutation("D4 no snapshot is replaced", deletes.d4_a_value_is_replaced, ("9:",), _RACES, _LATE),
    Mutation("D3 a tombstone ends the claim", deletes.d3_a_tombstone_leaves_the_claim, ("9:",), _BUSY, _CLOSED),
    Mutation("O1 changes wait for changes", order.o1_all_ready_calls_run_at_once, ("8:",), _HANDS, _TOOLS),
    Mutation("O2 reads wait for changes", order.o2_reads_wait_for_nothing, ("8:",), NO_FAULTS, _MIXED),
    Mutation("O3 changes wait for reads", order.o3_changes_do_not_wait_for_reads, ("8:",), NO_FAULTS, _MIXED),
    Mutation("W1 claimed without a gap", warm.w1_claimed_without_the_gap_check, ("1:",), _DEAF, _PAIRS),
    Mutation("W2 forgotten when refused", warm.w2_kept_over_a_refusal, ("4:",), NO_FAULTS, _UPDATED),
    Mutation("W3 deltas after the ack", warm.w3_deltas_before_the_acknowledgement, ("start:",), _TOO_LATE, _CHANGED),
    Mutation("W4 a refused request is dropped", warm.w4_a_refused_request_is_answered, ("start:",), _RACES, _CHANGED),
    Mutation(
        "W5 a start is of a request that saw what precedes it",
        warm.w5_a_refused_request_is_announced_again,
        ("start:",),
        _RACES,
        _CHANGED,
    ),
    Mutation(
        "T1 the claim is kept while a thread has work",
        threads.t1_released_while_a_thread_has_work,
        ("4:",),
        NO_FAULTS,
        _THREADS,
    ),
    Mutation(
        "T2 the session is idle with its last thread",
        threads.t2_the_session_is_idle_with_each_thread,
        ("status:",),
        NO_FAULTS,
        _THREADS,
    ),
    Mutation(
        "T3 another thread's append keeps a request open",
        threads.t3_a_step_is_decided_again_after_any_append,
        ("live:",),
        NO_FAULTS,
        _THREADS,
    ),
    Mutation(
        "T4 an interrupt closes the calls of its thread only",
        threads.t4_an_interrupt_closes_the_calls_of_all_threads,
        ("3:",),
        NO_FAULTS,
        _TWO_STOPPED,
    ),
]
