//! Graphics cards of NVIDIA, through the management library (NVML) that comes with their driver. It is loaded when asked for;
//! where it is not there, there is no such meter, and no error.
//!
//! Since Volta a card counts its millijoules. Older ones show a power, which the driver averages over up to a second.

use crate::{Description, Meter, MeterError, Reading, Role};

/// The most cards that are looked at; servers hold 16.
pub const CARDS_MAX: u32 = 64;

/// One card, as the driver shows it.
pub trait Card {
    /// Millijoules since the driver was loaded.
    ///
    /// # Errors
    ///
    /// If the card does not count, or is gone.
    fn millijoules(&mut self) -> Result<u64, MeterError>;

    /// Milliwatts that it draws.
    ///
    /// # Errors
    ///
    /// If it does not tell, or is gone.
    fn milliwatts(&mut self) -> Result<u32, MeterError>;
}

/// A card as a meter.
#[derive(Debug)]
pub struct CardMeter<C> {
    description: Description,
    card: C,
    /// Whether it counts. It is found out once, since a meter must not change between both.
    counts: bool,
}

impl<C: Card> CardMeter<C> {
    /// The meter of a card.
    pub fn new(index: u32, name: &str, mut card: C) -> Self {
        let counts = card.millijoules().is_ok();
        let how = if counts { "" } else { " (from its power)" };
        Self {
            description: Description {
                id: format!("nvidia {index}"),
                counts: format!("graphics card {name} with its memory{how}"),
                role: Role::Part,
            },
            card,
            counts,
        }
    }
}

impl<C: Card> Meter for CardMeter<C> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn read(&mut self) -> Result<Reading, MeterError> {
        if self.counts {
            return Ok(Reading::Counter {
                microjoules: self.card.millijoules()?.saturating_mul(1_000),
                wraps_at: None,
            });
        }
        let milliwatts = self.card.milliwatts()?;
        Ok(Reading::Power(f64::from(milliwatts) / 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Recorded(Option<u64>, u32);

    impl Card for Recorded {
        fn millijoules(&mut self) -> Result<u64, MeterError> {
            self.0
                .ok_or_else(|| MeterError::failed("the card", "not supported"))
        }

        fn milliwatts(&mut self) -> Result<u32, MeterError> {
            Ok(self.1)
        }
    }

    #[test]
    fn a_card_counts_if_it_can_and_stays_with_it() {
        let mut new = CardMeter::new(0, "new", Recorded(Some(5), 7_500));
        let counter = |microjoules| {
            Ok(Reading::Counter {
                microjoules,
                wraps_at: None,
            })
        };
        assert_eq!(new.read(), counter(5_000));
        new.card.0 = Some(u64::MAX);
        assert_eq!(new.read(), counter(u64::MAX));
        // A counter that fails is a meter that fails, not one that shows something else.
        new.card.0 = None;
        assert!(new.read().is_err());
        let mut old = CardMeter::new(1, "old", Recorded(None, 7_500));
        assert_eq!(old.read(), Ok(Reading::Power(7.5)));
        old.card.0 = Some(5);
        assert_eq!(old.read(), Ok(Reading::Power(7.5)));
    }
}
