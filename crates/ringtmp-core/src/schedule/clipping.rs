//! Clipping by the norm of all stages' gradients: how each stage learns the sum of all squares.
//!
//! ```text
//! all W of the step done   -> squares of the own gradients, parameter by parameter
//! own and later ones known -> their sum, to the stage before        (partial, tail to head)
//! all known, at the head   -> their sum, to the stage after         (total, head to tail)
//! total known              -> update
//! ```
//!
//! A number of fixed size goes from stage to stage. It starts at the tail, which is done first, and grows by one parameter after
//! the other, the last of the model first, so that the sum has the bits it has in one process. The way back is that of the
//! next activations, which it comes in time for.

use super::messages::{Neighbour, SquareSum, SumKind, Violation};
use crate::ids::Step;

/// The lap of the sum, as one stage sees it.
#[derive(Debug)]
pub(super) struct Clipping {
    is_head: bool,
    is_tail: bool,
    /// Laps that are over here: totals that were known.
    totals: Step,
    /// Laps of which the later stages' sum has come.
    partials: Step,
    /// That of the next lap.
    partial: Option<f64>,
    own: Own,
}

/// How far this stage has come with its own part of the newest lap.
#[derive(Debug)]
enum Own {
    /// W are missing, or the squares are being computed.
    Unknown,
    /// Layer after layer; the later stages' sum is missing.
    Squares(Vec<f64>),
    /// On its way to the head.
    Sent,
    /// All stages' sum, for the update.
    Total(f64),
}

/// What a stage that has all W of a step does next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ending {
    /// Compute the squares.
    Squares,
    /// Wait.
    Wait,
    /// Update with this sum.
    Update(f64),
}

impl Clipping {
    pub(super) fn new(is_head: bool, is_tail: bool, first_step: Step) -> Self {
        Self {
            is_head,
            is_tail,
            totals: first_step,
            partials: first_step,
            partial: None,
            own: Own::Unknown,
        }
    }

    /// To be asked while the stage has all W of a step and is not busy.
    pub(super) fn ending(&self) -> Ending {
        match &self.own {
            Own::Unknown => Ending::Squares,
            Own::Squares(_) | Own::Sent => Ending::Wait,
            Own::Total(sum) => Ending::Update(*sum),
        }
    }

    /// The squares of this stage's gradients are there, in the order of layers. Gives what must be sent.
    pub(super) fn squared(&mut self, squares: Vec<f64>) -> Option<SquareSum> {
        self.own = Own::Squares(squares);
        self.add()
    }

    /// A neighbour has sent a sum. Gives what must be sent.
    pub(super) fn arrived(
        &mut self,
        kind: SumKind,
        step: Step,
        sum: f64,
    ) -> Result<Option<SquareSum>, Violation> {
        if !(sum.is_finite() && sum >= 0.0) {
            return Err(Violation::NoSum { step: step.0 });
        }
        // The successor begins a lap only after the total of the one before, which it has from here.
        let in_turn = match kind {
            SumKind::Partial => !self.is_tail && self.partials == self.totals,
            SumKind::Total => !self.is_head && matches!(self.own, Own::Sent),
        };
        if !in_turn || step != self.totals {
            return Err(Violation::SumOutOfTurn { kind, step: step.0 });
        }
        match kind {
            SumKind::Partial => {
                self.partials = self.partials.next();
                self.partial = Some(sum);
                Ok(self.add())
            }
            SumKind::Total => Ok(self.end(sum)),
        }
    }

    /// The update was made.
    pub(super) fn updated(&mut self) {
        self.own = Own::Unknown;
    }

    /// Adds the own squares to what has come from the later stages, once both are there: the last first.
    fn add(&mut self) -> Option<SquareSum> {
        let Own::Squares(squares) = &self.own else {
            return None;
        };
        let later = if self.is_tail {
            Some(0.0)
        } else {
            self.partial
        };
        let sum = squares
            .iter()
            .rev()
            .fold(later?, |sum, square| sum + square);
        self.partial = None;
        if self.is_head {
            return self.end(sum);
        }
        self.own = Own::Sent;
        Some(SquareSum {
            to: Neighbour::Predecessor,
            kind: SumKind::Partial,
            step: self.totals,
            sum,
        })
    }

    fn end(&mut self, sum: f64) -> Option<SquareSum> {
        let step = self.totals;
        self.totals = step.next();
        self.own = Own::Total(sum);
        (!self.is_tail).then_some(SquareSum {
            to: Neighbour::Successor,
            kind: SumKind::Total,
            step,
            sum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(kind: SumKind, step: u32, sum: f64) -> Option<SquareSum> {
        let to = match kind {
            SumKind::Partial => Neighbour::Predecessor,
            SumKind::Total => Neighbour::Successor,
        };
        Some(SquareSum {
            to,
            kind,
            step: Step(step),
            sum,
        })
    }

    #[test]
    fn squares_are_added_one_by_one_from_the_last_to_the_first() {
        // In no other order do these come to the same.
        let squares = [1.0, 1e-16, 1e-16];
        let expected = (1e-16 + 1e-16) + 1.0;
        let in_parts = 1e-16 + (1e-16 + 1.0);
        assert!(expected != in_parts && expected != squares.iter().sum::<f64>());
        let mut head = Clipping::new(true, false, Step(0));
        let mut tail = Clipping::new(false, true, Step(0));
        assert_eq!(head.ending(), Ending::Squares);
        assert_eq!(head.squared(squares[..2].to_vec()), None);
        assert_eq!(head.ending(), Ending::Wait);
        let partial = tail.squared(squares[2..].to_vec());
        assert_eq!(partial, sum(SumKind::Partial, 0, 1e-16));
        let total = head.arrived(SumKind::Partial, Step(0), 1e-16);
        assert_eq!(total, Ok(sum(SumKind::Total, 0, expected)));
        assert_eq!(head.ending(), Ending::Update(expected));
        assert_eq!(tail.arrived(SumKind::Total, Step(0), expected), Ok(None));
        assert_eq!(tail.ending(), Ending::Update(expected));
        // The tail may be a step ahead, the head not.
        tail.updated();
        assert!(tail.squared(vec![2.0]).is_some());
        assert_eq!(head.arrived(SumKind::Partial, Step(1), 2.0), Ok(None));
        head.updated();
        assert_eq!(head.squared(vec![1.0]), sum(SumKind::Total, 1, 3.0));
        let mut alone = Clipping::new(true, true, Step(0));
        assert_eq!(alone.squared(vec![1.0, 2.0]), None);
        assert_eq!(alone.ending(), Ending::Update(3.0));
    }

    #[test]
    fn a_sum_that_is_repeated_for_another_step_or_no_sum_is_refused() {
        use SumKind::{Partial, Total};
        let out_of_turn = |result| matches!(result, Err(Violation::SumOutOfTurn { .. }));
        let middle = || Clipping::new(false, false, Step(0));
        assert!(out_of_turn(middle().arrived(Partial, Step(1), 1.0)));
        assert!(out_of_turn(middle().arrived(Total, Step(0), 1.0)));
        let mut stage = middle();
        assert_eq!(stage.arrived(Partial, Step(0), 1.0), Ok(None));
        assert!(out_of_turn(stage.arrived(Partial, Step(0), 1.0)));
        assert!(out_of_turn(stage.arrived(Partial, Step(1), 1.0)));
        assert_eq!(stage.squared(vec![1.0]), sum(Partial, 0, 2.0));
        assert!(out_of_turn(stage.arrived(Partial, Step(0), 1.0)));
        assert!(out_of_turn(stage.arrived(Total, Step(1), 2.0)));
        let passed_on = stage.arrived(Total, Step(0), 2.0);
        assert_eq!(passed_on, Ok(sum(Total, 0, 2.0)));
        assert!(out_of_turn(stage.arrived(Total, Step(0), 2.0)));
        let ends = [
            Clipping::new(true, false, Step(0)),
            Clipping::new(false, true, Step(0)),
        ];
        for (mut end, kind) in ends.into_iter().zip([Total, Partial]) {
            assert!(out_of_turn(end.arrived(kind, Step(0), 1.0)), "{kind:?}");
        }
        for number in [f64::NAN, f64::INFINITY, -1.0] {
            let refused = middle().arrived(Partial, Step(0), number);
            assert_eq!(refused, Err(Violation::NoSum { step: 0 }), "{number}");
        }
    }
}
