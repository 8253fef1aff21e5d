"""The parts that serve tasks of other systems, put together."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from holdfast.bus.jetstream.task_requests import TaskRequests
from holdfast.bus.jetstream.tasks import NatsTasks
from holdfast.process import metering, metrics
from holdfast.session.agents.store import AgentStore
from holdfast.session.environments.store import EnvironmentStore
from holdfast.session.events.disk_space import DiskSpaceCheck
from holdfast.session.http.routing import Route
from holdfast.session.log.repository import SessionRepository
from holdfast.session.tasks import binding_routes, receive_routes, task_routes
from holdfast.session.tasks.ask import TaskRequestHandler
from holdfast.session.tasks.binding_store import BindingStore
from holdfast.session.tasks.gates import Gates
from holdfast.session.tasks.held_back import HeldBack
from holdfast.session.tasks.ingress import TaskIngress
from holdfast.session.tasks.open_places import OpenPlaces
from holdfast.session.tasks.records import TaskRecords
from holdfast.session.tasks.signed_kinds import SignedKinds
from holdfast.session.tasks.signing_secrets import SigningSecrets
from holdfast.session.tasks.task_answers import TaskAnswers
from holdfast.session.tasks.task_intake import TaskIntake
from holdfast.session.tasks.task_session import TaskSessions
from holdfast.session.tasks.unrecorded import UnrecordedTasks
from holdfast.session.vaults.client import VaultClient


@dataclass(frozen=True, kw_only=True)
class TaskParts:
    """`ingress` takes tasks from the queue, `requests` answers those that come as NATS requests."""

    ingress: TaskIngress
    requests: TaskRequestHandler
    places: OpenPlaces
    routes: list[Route]

    @classmethod
    def of(
        cls,
        queue: NatsTasks,
        sessions: SessionRepository,
        agents: AgentStore,
        environments: EnvironmentStore,
        *,
        vaults: VaultClient,
        disk: DiskSpaceCheck,
        stopping: asyncio.Event,
    ) -> Self:
        kv, now = sessions.bus.kv, sessions.now
        records, secrets = TaskRecords(kv), SigningSecrets(vaults)
        bindings = BindingStore(kv, agents, environments, secrets)
        intake = TaskIntake(queue, bindings, TaskAnswers(records, sessions, stopping))
        carried_out = TaskSessions(sessions, agents, environments)
        places = OpenPlaces(Gates(kv), records, carried_out, queue, now)
        held_back = HeldBack(places.gates)
        sessions.at_rest = places.rests
        return cls(
            ingress=TaskIngress(queue, records, bindings, carried_out, places, held_back=held_back, disk=disk, now=now),
            places=places,
            requests=TaskRequestHandler(intake, disk),
            routes=[
                *binding_routes.routes(bindings, now),
                *task_routes.routes(records, UnrecordedTasks(places.gates, held_back), queue),
                *receive_routes.routes(intake, SignedKinds(bindings, secrets), now),
            ],
        )

    def duties(self, heard: TaskRequests, stop: asyncio.Event) -> dict[str, Callable[[], Awaitable[object]]]:
        """What runs until `stop` is set."""
        metering.observe_number(metrics.TASKS_OPEN, lambda: float(self.places.gates.open_count()))
        return {
            "tasks": partial(self.ingress.run, stop),
            "task-gates": self.places.gates.follow,
            "task-places": self.places.free,
            "task-places-sweep": self.places.sweep,
            "task-requests": partial(heard.serve, self.requests.answer, stop),
        }
