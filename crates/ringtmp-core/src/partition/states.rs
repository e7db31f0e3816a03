//! What rows are made of: the ways from a layer to the last one, and what is wanted of them.

use std::ops::Range;

/// Seconds closer to each other than this share are equal: sums in another order differ by as much.
pub(super) const ROUNDING: f64 = 1e-9;

/// What is wanted of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The fewest seconds at its busiest stage or link.
    Fastest,
    /// The most peers.
    MostPeers,
    /// The least use of the shared medium.
    LeastAir,
    /// The shortest way to the tail and back: it is what credits have to suffice for.
    ShortestTrip,
    /// The least memory lacking, whatever the seconds.
    LeastLacking,
}

/// Which ways are looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Want {
    pub aim: Aim,
    /// Seconds per micro-batch that no stage and no link takes more of.
    pub seconds: f64,
    /// Whether memory has to suffice for the credits with which a micro-batch takes no more either. Without them what is found is
    /// a bound of what there can be.
    pub credits: bool,
}

/// What the stages from some layer to the last come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct State {
    /// The most that one of them, or a link between them, has to do, in seconds per micro-batch.
    pub seconds: f64,
    /// The sum of the squares of what each has to do: of equal sums that which is divided most evenly is least.
    pub squares: f64,
    /// F and B of all of them, and the hops between them, both ways.
    pub trip: f64,
    /// Seconds per micro-batch that they take up of the shared medium.
    pub air: f64,
    /// Bytes that their peers lack, in all.
    pub lacking: f64,
    /// How many they are.
    pub peers: usize,
    /// Where the first of them ends.
    pub end: usize,
    /// The row of the next one.
    pub next: Option<usize>,
}

impl State {
    /// Behind the last layer.
    pub(super) const NOTHING: Self = Self {
        seconds: 0.0,
        squares: 0.0,
        trip: 0.0,
        air: 0.0,
        lacking: 0.0,
        peers: 0,
        end: 0,
        next: None,
    };

    /// What is to be least above all.
    pub(super) fn cost(&self, aim: Aim) -> f64 {
        match aim {
            Aim::Fastest => self.seconds,
            Aim::MostPeers => -(self.peers as f64),
            Aim::LeastAir => self.air,
            Aim::ShortestTrip => self.trip,
            Aim::LeastLacking => self.lacking,
        }
    }

    /// Whose [`State::cost`] is above this certainly does not beat it.
    pub(super) fn cost_max(&self, aim: Aim) -> f64 {
        let cost = self.cost(aim);
        cost + 2.0 * ROUNDING * cost.abs()
    }

    /// Whether it is rather what is wanted than `other`.
    pub(super) fn beats(&self, other: &Self, aim: Aim) -> bool {
        let costs = |state: &Self| {
            let second = match aim {
                Aim::Fastest => state.squares,
                Aim::MostPeers | Aim::ShortestTrip => state.seconds,
                Aim::LeastAir | Aim::LeastLacking => state.trip,
            };
            [state.cost(aim), second]
        };
        for (own, others) in costs(self).into_iter().zip(costs(other)) {
            if (own - others).abs() > ROUNDING * own.abs().max(others.abs()) {
                return own < others;
            }
        }
        aim == Aim::MostPeers && self.squares < other.squares * (1.0 - ROUNDING)
    }
}

/// Of one peer as the first of some stages, the best state for each layer it might begin with.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub device: usize,
    pub states: Vec<Option<State>>,
    /// Their [`State::cost`], infinite where there is none: all that is read of most.
    pub costs: Vec<f64>,
}

/// Writes the [`State::cost`] of each, infinite where there is none.
pub(super) fn put_costs(states: &[Option<State>], aim: Aim, costs: &mut Vec<f64>) {
    let cost = |state: &Option<State>| state.map_or(f64::INFINITY, |state| state.cost(aim));
    costs.clear();
    costs.extend(states.iter().map(cost));
}

/// The shards of some peers: device and layers, head first.
pub(super) type Shards = Vec<(usize, Range<usize>)>;

/// Follows the states from the first layer on.
pub(super) fn shards(rows: &[Row], head: usize) -> Shards {
    let mut shards = Vec::new();
    let (mut row, mut from) = (Some(head), 0);
    while let Some((device, state)) =
        row.and_then(|row| Some((rows[row].device, rows[row].states[from]?)))
    {
        shards.push((device, from..state.end));
        (row, from) = (state.next, state.end);
    }
    shards
}
