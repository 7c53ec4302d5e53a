"""`generate`: a whole synthetic market from its parameters."""

import numpy as np

from eval.simulation.world.creators import make_creators
from eval.simulation.world.event_log import make_events
from eval.simulation.world.items import make_items
from eval.simulation.world.params import WorldParams
from eval.simulation.world.people import make_people
from eval.simulation.world.truth import Truth, World
from recsys.progress import Progress, quiet


def generate(params: WorldParams, on_progress: Progress = quiet) -> World:
    """
    The world of these parameters: the same parameters give the same world on every run.

    Each part has its own random stream, so that changing `local_affinity` changes behaviour and the log but not a
    single creator, video or person.
    """
    seeds = [np.random.default_rng([params.seed, part]) for part in range(4)]
    on_progress("creators", 0, params.n_creators)
    creators, creator_truth = make_creators(params, seeds[0])
    on_progress("videos", 0, params.n_items)
    items, item_truth, glosses = make_items(params, creators, creator_truth, seeds[1])
    on_progress("people", 0, params.n_users)
    users, people = make_people(params, seeds[2])
    truth = Truth(people=people, items=item_truth)
    events = make_events(params, (creators, items, users), truth, seeds[3], on_progress)
    return World(
        params=params, creators=creators, items=items, users=users, events=events, truth=truth, glosses=glosses
    )
