//! How a device gets from its old place to its new one: round the ring, so that nobody crosses what stands in the middle.

use std::f64::consts::{PI, TAU};

/// Where it is after so much of its way, `0.0` to `1.0`, the short way round `centre`.
pub fn on_its_way(centre: (f64, f64), from: (f64, f64), to: (f64, f64), share: f64) -> (f64, f64) {
    // The ends exactly as they are: a drawing that stands still is the same in every frame.
    if share <= 0.0 || from == to {
        return from;
    }
    if share >= 1.0 {
        return to;
    }
    let polar = |(x, y): (f64, f64)| {
        let (x, y) = (x - centre.0, y - centre.1);
        (x.hypot(y), y.atan2(x))
    };
    let ((near, begin), (far, end)) = (polar(from), polar(to));
    let turn = (end - begin + PI).rem_euclid(TAU) - PI;
    let radius = near + (far - near) * share;
    let angle = begin + turn * share;
    (
        centre.0 + radius * angle.cos(),
        centre.1 + radius * angle.sin(),
    )
}

#[cfg(test)]
mod tests {
    use super::on_its_way;

    const CENTRE: (f64, f64) = (200.0, 150.0);

    fn radius((x, y): (f64, f64)) -> f64 {
        (x - CENTRE.0).hypot(y - CENTRE.1)
    }

    #[test]
    fn who_changes_sides_goes_round_and_not_through_the_middle() {
        let (top, bottom) = ((200.0, 50.0), (200.0, 250.0));
        for share in [0.1, 0.5, 0.9] {
            let at = on_its_way(CENTRE, top, bottom, share);
            assert!((radius(at) - 100.0).abs() < 1e-9, "{at:?}");
        }
        assert_eq!(on_its_way(CENTRE, top, bottom, 0.0), top);
        assert_eq!(on_its_way(CENTRE, top, bottom, 1.0), bottom);
    }

    #[test]
    fn the_way_round_is_the_short_one() {
        // From a little left of due west to a little right: by the west, and not by the east.
        let (from, to) = ((100.0, 145.0), (100.0, 155.0));
        let (x, y) = on_its_way(CENTRE, from, to, 0.5);
        assert!(x < 101.0 && (y - 150.0).abs() < 1e-9, "{x} {y}");
    }

    #[test]
    fn who_comes_from_outside_comes_straight() {
        let (x, y) = on_its_way(CENTRE, (200.0, -50.0), (200.0, 50.0), 0.5);
        assert!((x - 200.0).abs() < 1e-9 && y.abs() < 1e-9, "{x} {y}");
    }
}
