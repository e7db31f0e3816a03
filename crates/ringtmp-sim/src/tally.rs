//! How often devices were put together anew in a run: a room tells of the last such times alone, and of none from before somebody had it
//! begin anew.

use ringtmp_core::signal::Recovery;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// What the room told last of those that are over.
    told: Vec<Recovery>,
    all: Vec<Recovery>,
}

impl Tally {
    /// A room tells of these, oldest first.
    pub(crate) fn sees(&mut self, told: &[Recovery]) {
        let over = told.iter().filter(|recovery| recovery.seconds.is_some());
        let over: Vec<Recovery> = over.cloned().collect();
        // What it has told before leaves at the front.
        let mut left = (0..=self.told.len()).map(|gone| &self.told[gone..]);
        let known = left.find(|left| over.starts_with(left));
        let known = known.map_or(0, <[Recovery]>::len);
        self.all.extend_from_slice(&over[known..]);
        self.told = over;
    }

    /// Somebody has the run begin anew, after so many steps.
    pub(crate) fn begins_anew(&mut self, after: u32) {
        self.all.push(Recovery {
            reason: "nothing is left whole, and all begins anew".to_owned(),
            step: 0,
            repeated: after,
            moved: 0,
            taken: Vec::new(),
            seconds: None,
        });
    }

    pub(crate) fn into_all(self) -> Vec<Recovery> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovery(step: u32, seconds: Option<f64>) -> Recovery {
        Recovery {
            reason: "lost".to_owned(),
            step,
            repeated: 1,
            moved: 0,
            taken: Vec::new(),
            seconds,
        }
    }

    #[test]
    fn each_counts_once_also_where_the_room_forgets_the_first_or_begins_anew() {
        let [one, two, three] = [1, 2, 3].map(|step| recovery(step, Some(f64::from(step))));
        let mut tally = Tally::default();
        tally.sees(&[]);
        tally.sees(&[recovery(1, None)]);
        tally.sees(std::slice::from_ref(&one));
        tally.sees(std::slice::from_ref(&one));
        tally.sees(&[one.clone(), two.clone()]);
        tally.sees(&[two.clone(), three.clone()]);
        tally.begins_anew(40);
        tally.sees(&[]);
        tally.sees(std::slice::from_ref(&one));
        let steps = tally.into_all().into_iter();
        let steps: Vec<u32> = steps.map(|recovery| recovery.step).collect();
        assert_eq!(steps, [1, 2, 3, 0, 1]);
    }
}
