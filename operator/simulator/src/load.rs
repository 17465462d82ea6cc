//! How much of its mean load a part of the key space has at a time.

use std::{f64::consts::TAU, time::Duration};

use crate::scenario::LoadShape;

/// The factor of a place in the key space, 0 to 1, so long after midnight of the first day.
pub(crate) fn factor(shape: &LoadShape, place: f64, time: Duration) -> f64 {
    let day = shape.day_curve.map_or(1.0, |curve| {
        let hour = time.as_secs_f64() / 3_600.0;
        1.0 + curve.amplitude * ((hour - curve.peak_hour) / 24.0 * TAU).cos()
    });
    let hot = |spot: &&crate::HotSpot| {
        (spot.at..spot.at + spot.lasts).contains(&time) && (spot.from..spot.from + spot.width).contains(&place)
    };
    shape.hot_spots.iter().filter(hot).fold(day, |factor, spot| factor * spot.factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DayCurve, HotSpot};

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_day_curve_is_highest_at_its_peak_and_lowest_twelve_hours_later() {
        let day_curve = Some(DayCurve { amplitude: 0.5, peak_hour: 15.0 });
        let shape = LoadShape { day_curve, hot_spots: Vec::new() };
        for (hour, expected) in [(15, 1.5), (3, 0.5), (39, 1.5), (9, 1.0)] {
            assert!((factor(&shape, 0.0, HOUR * hour) - expected).abs() < 1e-9, "{hour}");
        }
    }

    #[test]
    fn a_hot_spot_is_hot_only_where_and_while_it_is() {
        let spot = HotSpot { at: HOUR, lasts: HOUR, from: 0.5, width: 0.1, factor: 7.0 };
        let shape = LoadShape { day_curve: None, hot_spots: vec![spot] };
        for (place, time, expected) in
            [(0.55, HOUR, 7.0), (0.45, HOUR, 1.0), (0.6, HOUR, 1.0), (0.55, HOUR * 2, 1.0), (0.55, HOUR / 2, 1.0)]
        {
            assert_eq!(factor(&shape, place, time), expected, "{place} {time:?}");
        }
    }
}
