//! Laws that hold whatever comes and whatever is asked for.

use super::*;
use proptest::prelude::*;
use wire::shard::virtual_time::Random;

fn kinds() -> impl Strategy<Value = Vec<Kind>> {
    let shape = prop_oneof![Just(Shape::Uniform), Just(Shape::Normal), Just(Shape::Pareto)];
    let kind = prop_oneof![
        (0..300_u64, 0..300_u64, shape).prop_map(|(latency, jitter, shape)| Kind::Latency {
            latency: ms(latency),
            jitter: ms(jitter),
            shape
        }),
        (1..1000_u64, any::<bool>()).prop_map(|(rate, whole)| Kind::Bandwidth { rate, whole }),
        (1..500_u64, 0..2000_u64).prop_map(|(size, delay)| Kind::Slicer {
            average_size: size,
            size_variation: size / 2,
            delay: Duration::from_micros(delay)
        }),
        (0..500_u64).prop_map(|delay| Kind::SlowClose { delay: ms(delay) }),
        (0..500_u64).prop_map(|delay| Kind::SlowHandshake { delay: ms(delay) }),
        Just(Kind::Blackhole {}),
    ];
    prop::collection::vec(kind, 0..4)
}

proptest! {
    /// Nothing is lost, repeated or reordered, and nothing leaves before it came, however toxics change meanwhile.
    #[test]
    fn bytes_stay_what_they_were(
        changes in prop::collection::vec((kinds(), prop::collection::vec((0..400_u64, 1..3000_usize), 0..6)), 1..5),
    ) {
        let mut line = Line::new(selected(&[], Stream::Both));
        let (mut sent, mut random) = (Vec::new(), Random::new(3));
        for (kinds, sends) in changes {
            let now = line.now;
            line.link.apply(selected(&kinds, Stream::Both), now);
            line.pull();
            for (pause, bytes) in sends {
                let until = line.now + ms(pause);
                line.until(until);
                let bytes: Vec<u8> = (0..bytes).map(|_| random.bits() as u8).collect();
                sent.extend_from_slice(&bytes);
                line.send(&bytes);
                prop_assert!(line.bytes().len() <= sent.len());
                let waits = line.link.held(Way::Down) >= sent.len() - line.bytes().len();
                prop_assert!(waits, "what has not left is held");
            }
        }
        let now = line.now;
        line.link.ended(Way::Down, End::Fin, now);
        line.link.apply(selected(&[], Stream::Both), now);
        line.pull();
        if line.verdict.is_none() {
            line.pull();
        }
        prop_assert!(line.bytes() == sent);
        prop_assert_eq!(line.verdict, Some((now, Verdict::End)));
        prop_assert_eq!(line.link.held(Way::Down), 0);
    }

    /// By any time no more has passed than the rate allows, and hardly less where bytes wait.
    #[test]
    fn a_bandwidth_is_neither_exceeded_nor_wasted(rate in 1..2000_u64, chunks in prop::collection::vec((0..100_u64, 1..20_000_usize), 1..20)) {
        let mut line = Line::new(selected(&[bandwidth(rate)], Stream::Both));
        let mut sent = 0;
        for (pause, bytes) in chunks {
            let until = line.now + ms(pause);
            line.until(until);
            line.send(&vec![0; bytes]);
            sent += bytes as u64;
        }
        line.until(Time(3600 * SECOND));
        let mut passed = 0;
        for (at, bytes) in &line.left {
            passed += bytes.len() as u64;
            prop_assert!(u128::from(passed) * 1_000_000_000 <= u128::from(at.0) * u128::from(rate * 1000), "{passed} bytes by {at:?}");
        }
        prop_assert_eq!(passed, sent);
        // A saturated line is busy all the time: the last byte is no later than if all had come together with the last chunk.
        let last = line.left.last().map_or(0, |(at, _)| at.0);
        let latest = line.left.len() as u64 + 2_000_000_000 + sent * 1_000_000 / rate;
        prop_assert!(last <= latest, "{last} > {latest}");
    }

    /// The same seed, the same bytes at the same times, and another connection's traffic changes nothing.
    #[test]
    fn equal_seeds_are_equal_runs(kinds in kinds(), sends in prop::collection::vec((0..50_u64, 1..2000_usize), 1..10)) {
        let run = || {
            let mut line = Line::new(selected(&kinds, Stream::Both));
            for (pause, bytes) in &sends {
                let until = line.now + ms(*pause);
                line.until(until);
                line.send(&vec![9; *bytes]);
            }
            line.until(Time(3600 * SECOND));
            line.left
        };
        prop_assert_eq!(run(), run());
    }

    /// However frames are cut and whatever happens to messages: frames stay whole, none is invented, and rules that go leave none behind.
    #[test]
    fn frames_stay_frames(
        loss in 0.0..0.6_f64, twice in 0.0..0.6_f64, later in 0.0..0.6_f64,
        pieces in prop::collection::vec(1..90_usize, 1..200), toggles in prop::collection::vec(any::<bool>(), 200),
    ) {
        let rules = selected(&[
            Kind::FrameLoss { share: loss }, Kind::FrameDuplicate { share: twice }, Kind::FrameReorder { share: later, hold: ms(50) },
        ], Stream::Both);
        let none = selected(&[], Stream::Both);
        let mut line = Line::new(Rc::clone(&none));
        line.upgrade();
        let mut bytes = Vec::new();
        let mut count = 0;
        while bytes.len() < pieces.iter().sum::<usize>() {
            bytes.extend(fragmented(count));
            count += 1;
        }
        let (mut rest, mut toggles) = (&bytes[..], toggles.iter());
        for piece in pieces {
            if toggles.next() == Some(&true) {
                let selected = if toggles.len() % 2 == 0 { &rules } else { &none };
                let now = line.now;
                line.link.apply(Rc::clone(selected), now);
                line.pull();
            }
            let (piece, others) = rest.split_at(piece.min(rest.len()));
            line.send(piece);
            rest = others;
            let until = line.now + ms(3);
            line.until(until);
        }
        line.send(rest);
        let now = line.now;
        line.link.apply(none, now);
        line.pull();
        prop_assert_eq!(line.link.held(Way::Down), 0);
        let messages = line.messages();
        prop_assert!(messages.iter().all(|number| *number < count));
        for number in 0..count {
            prop_assert!(messages.iter().filter(|other| **other == number).count() <= 2);
        }
    }
}

/// A message in up to three fragments, with a ping between them.
fn fragmented(number: u32) -> Vec<u8> {
    let last = number.to_be_bytes();
    match number % 3 {
        0 => numbered(number, number as usize % 150),
        1 => [&[0x02, 0x02, 1, 2, 0x89, 0x00, 0x80, 0x04][..], &last].concat(),
        _ => [&[0x02, 0x00, 0x00, 0x01, 9, 0x8A, 0x01, 5, 0x80, 0x04][..], &last].concat(),
    }
}
