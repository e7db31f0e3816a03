//! What part of the samples to train on a source has, where several sources divide them.

use crate::dataset::Dataset;
use serde::{Deserialize, Serialize};

/// How the samples to train on are divided among sources. No sample is in two shares, and every sample is in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Each source has as many of every class; of a text, a stretch.
    #[default]
    Even,
    /// Each class is at one source; with more sources than classes, at a few.
    ByLabel,
}

/// One source's part of a dataset, made by [`Dataset::share`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which of the sources that divide what this one has.
    pub(crate) number: u32,
    /// How many they are.
    pub(crate) of: u32,
    /// If divided by label.
    pub(crate) labelled: Option<Labelled>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labelled {
    /// The classes it has.
    pub(crate) classes: Vec<usize>,
    /// Where a finite set has them.
    pub(crate) places: Vec<u32>,
}

/// Why samples cannot be divided so. The run file's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// There are no labels to divide by.
    #[error("a text cannot be divided by label; write split = \"even\"")]
    NoLabels,
    /// Nothing is left for a source.
    #[error(
        "the data are too few for {of} sources: nothing is left for source {}; train with fewer devices, or with more data",
        number + 1
    )]
    Empty {
        /// Which, from 0.
        number: u16,
        /// Of how many.
        of: u16,
    },
}

impl Share {
    /// All there is.
    pub const WHOLE: Self = Self {
        number: 0,
        of: 1,
        labelled: None,
    };

    /// The share of source `number` of `of`, where there are `classes`, and places with these labels.
    pub(crate) fn by_label(number: u16, of: u16, classes: usize, labels: &[usize]) -> Self {
        let (number, of, classes) = (usize::from(number), usize::from(of), classes.max(1));
        // Classes are dealt to sources, and where these are more, sources to classes.
        let holds = |class: usize| class % of == number % classes;
        let holders = if of > classes {
            (of - number % classes).div_ceil(classes)
        } else {
            1
        };
        let rank = number / classes;
        let mine = (0..).zip(labels).filter(|(_, label)| holds(**label));
        let places = mine.map(|(place, _)| place).skip(rank).step_by(holders);
        Self {
            number: rank as u32,
            of: holders as u32,
            labelled: Some(Labelled {
                places: places.collect(),
                classes: (0..classes).filter(|class| holds(*class)).collect(),
            }),
        }
    }

    /// How many of a finite set's samples are in it.
    pub(crate) fn len(&self, all: u32) -> u32 {
        match &self.labelled {
            Some(labelled) => labelled.places.len() as u32,
            None => all.saturating_sub(self.number).div_ceil(self.of),
        }
    }

    /// Where a finite set has the sample at `index`, which must be below [`Self::len`].
    pub(crate) fn place(&self, index: u32) -> u32 {
        match &self.labelled {
            Some(labelled) => labelled.places[index as usize],
            None => self.number + index * self.of,
        }
    }
}

impl Dataset {
    /// The part of source `number` (from 0) of `of` sources.
    ///
    /// # Errors
    ///
    /// [`ShareError`] if the samples cannot be divided so.
    pub fn share(&self, split: Split, number: u16, of: u16) -> Result<Share, ShareError> {
        let share = match split {
            Split::Even => Share {
                number: u32::from(number),
                of: u32::from(of.max(1)),
                labelled: None,
            },
            Split::ByLabel => {
                let labels = self.train_labels().ok_or(ShareError::NoLabels)?;
                Share::by_label(number, of.max(1), self.classes(), &labels)
            }
        };
        if self.share_len(&share) == Some(0) {
            Err(ShareError::Empty { number, of })
        } else {
            Ok(share)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_disjoint_and_cover_everything() {
        let labels: Vec<usize> = (0..997).map(|i| (i * i + i / 7) % 10).collect();
        for of in [1, 2, 3, 7, 10, 11, 25, 30] {
            let mut even = Vec::new();
            let mut by_label = Vec::new();
            for number in 0..of {
                let share = Share {
                    number: number.into(),
                    of: of.into(),
                    labelled: None,
                };
                even.extend((0..share.len(997)).map(|index| share.place(index)));
                let share = Share::by_label(number, of, 10, &labels);
                let classes = &share.labelled.as_ref().expect("by label").classes;
                assert_eq!(
                    classes.len(),
                    (10 - usize::from(number) % 10).div_ceil(of.min(10).into())
                );
                let places: Vec<u32> = (0..share.len(997))
                    .map(|index| share.place(index))
                    .collect();
                assert!(
                    places
                        .iter()
                        .all(|place| classes.contains(&labels[*place as usize]))
                );
                by_label.extend(places);
            }
            for mut places in [even, by_label] {
                places.sort_unstable();
                assert!(places.into_iter().eq(0..997), "of {of}");
            }
        }
    }
}
