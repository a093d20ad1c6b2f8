//! What the fuzz target checks. Here, so that cargo-fuzz (`fuzz_targets/`) and a plain test (`chaos/tests/fuzzed.rs`) run the same.

use chaos::link::{End, Fate, InForce, Kind, Link, Selected, Shape, Stream, Toxic, Verdict, Way};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use wire::time::Time;

/// The first five lose, repeat and reorder nothing.
fn kinds() -> [Kind; 8] {
    let ms = Duration::from_millis;
    [
        Kind::Latency { latency: ms(20), jitter: ms(30), shape: Shape::Normal },
        Kind::Bandwidth { rate: 3, whole: false },
        Kind::Slicer { average_size: 5, size_variation: 4, delay: Duration::from_micros(300) },
        Kind::Blackhole {},
        Kind::SlowHandshake { delay: ms(40) },
        Kind::FrameLoss { share: 0.3 },
        Kind::FrameDuplicate { share: 0.3 },
        Kind::FrameReorder { share: 0.5, hold: ms(25) },
    ]
}

const HARMLESS: u8 = 0b1_1111;

fn selected(set: u8, step: u64, now: Time) -> Rc<Selected> {
    let toxics: Vec<InForce> = (0..8)
        .zip(kinds())
        .filter(|(bit, _)| set & 1 << bit != 0)
        .map(|(bit, kind)| InForce {
            id: step * 8 + bit,
            toxic: Arc::new(Toxic { stream: Stream::Both, ..Toxic::new(kind) }),
            since: now,
            line: Arc::default(),
        })
        .collect();
    Rc::new(Selected::new(&toxics))
}

/// One way, as its ends see it.
#[derive(Default)]
struct Seen {
    sent: Vec<u8>,
    came: Vec<u8>,
    is_ended: bool,
    has_come_to_end: bool,
}

/// A script: steps of what to do, with how much or which, and bytes.
pub(crate) fn link(mut script: &[u8]) {
    let mut link = Link::new(1, 1, selected(0, 0, Time(0)), Time(0));
    let (mut now, mut seen, mut step, mut is_harmless) =
        (Time(0), [Seen::default(), Seen::default()], 0, true);
    while let [what, count, rest @ ..] = script {
        step += 1;
        script = rest;
        let way = if what & 1 == 0 { Way::Up } else { Way::Down };
        let side = &mut seen[way as usize];
        match what >> 1 & 3 {
            0 if !side.is_ended => {
                let (bytes, rest) = script.split_at(script.len().min(usize::from(*count)));
                script = rest;
                side.sent.extend_from_slice(bytes);
                let mut out = Vec::new();
                link.input(way, bytes, now, (what & 8 == 0).then_some(&mut out));
                side.came.extend(out);
            }
            1 => {
                is_harmless &= count & !HARMLESS == 0;
                link.apply(selected(*count, step, now), now);
            }
            2 => now = now + Duration::from_millis(u64::from(*count)),
            _ if *count == 0 && !side.is_ended => {
                side.is_ended = true;
                link.ended(way, End::Fin, now);
            }
            _ => {}
        }
        pull(&mut link, now, &mut seen);
    }
    link.apply(selected(0, step + 1, now), now);
    assert_eq!(link.fate(now), Fate::Goes);
    // A slice a pull.
    for _ in 0..2 {
        pull(&mut link, now, &mut seen);
    }
    for way in Way::ALL {
        let side = &seen[way as usize];
        assert_eq!(link.due(way), None, "all that can leave has left when nothing is in force");
        // A message put behind others may wait for its own rest, while a ping of which a part has passed waits for its.
        assert!(!is_harmless || link.held(way) == 0, "{} bytes wait", link.held(way));
        assert_eq!(side.is_ended, side.has_come_to_end);
        assert!(!is_harmless || side.came == side.sent, "{} bytes of {}", side.came.len(), side.sent.len());
    }
}

fn pull(link: &mut Link, now: Time, seen: &mut [Seen; 2]) {
    for way in Way::ALL {
        let side = &mut seen[way as usize];
        match link.pull(way, now, &mut side.came) {
            Verdict::Open => {}
            Verdict::End => side.has_come_to_end = true,
            Verdict::Close | Verdict::Reset => panic!("nobody asked for that"),
        }
    }
}
