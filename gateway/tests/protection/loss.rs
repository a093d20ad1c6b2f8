//! The breaker on loss: it opens, refuses with a code, tries again, closes; and off, it does nothing.

use crate::driver::{Gateway, Member, PATIENCE, send};
use wire::time::Time;

const STATE: &str = "circuit_breaker_state{service=\"messages\"}";
const OPENED: &str = "circuit_breaker_opened_total{service=\"messages\"}";
const FLAGS: [&str; 10] = [
    "--loss-breaker",
    "10%",
    "--loss-breaker-window",
    "5s",
    "--loss-breaker-min-events",
    "20",
    "--loss-breaker-open-for",
    "300ms",
    "--loss-breaker-probes",
    "4",
];

/// Sends to oneself until an answer is `wanted`; gives how often it was something else.
fn send_until(member: &mut Member, prefix: &str, wanted: &str) -> usize {
    let until = Time::now() + PATIENCE;
    for k in 0.. {
        if member.ask(&send(&format!("{prefix}-{k}"), "al", "1")) == wanted {
            return k;
        }
        assert!(Time::now() < until, "never {wanted}");
    }
    unreachable!("the loop above has no end of its own")
}

#[test]
fn it_opens_at_loss_refuses_with_a_code_and_closes_when_the_loss_ends() {
    let gateway = Gateway::start(&FLAGS);
    let mut member = Member::connect(&gateway, "al");
    assert_eq!(gateway.metric(STATE), 0.0);
    for k in 0..50 {
        assert_eq!(member.ask(&send(&format!("before-{k}"), "al", "1")), "sent", "closed");
    }
    assert_eq!(gateway.ask("POST", "/test/failure-rate?rate=0.5&pick=even", "").status, 200);
    let accepted = send_until(&mut member, "lossy", "circuit_open");
    assert!(gateway.metric(OPENED) >= 1.0);
    // While the fault lasts, every trial fails and it opens again; what is lost meanwhile are probes.
    let until = Time::now() + PATIENCE;
    for k in 0.. {
        member.ask(&send(&format!("probe-{k}"), "al", "1"));
        if gateway.metric(OPENED) >= 3.0 {
            break;
        }
        assert!(Time::now() < until, "it does not open again");
    }
    let lost = gateway.metric("im_gateway_messages_failed_total");
    assert!(lost >= 2.0 && lost <= accepted as f64 + 20.0, "{lost} lost of {accepted} accepted");
    let rejected = "circuit_breaker_requests_total{service=\"messages\",outcome=\"rejected\"}";
    assert!(gateway.metric(rejected) >= 1.0);
    assert!(gateway.metric("im_gateway_messages_refused_total{code=\"circuit_open\"}") >= 1.0);
    assert_eq!(gateway.ask("DELETE", "/test/failure-rate", "").status, 200);
    let until = Time::now() + PATIENCE;
    let mut k = 0;
    while gateway.metric(STATE) != 0.0 {
        member.ask(&send(&format!("after-{k}"), "al", "1"));
        k += 1;
        assert!(Time::now() < until, "it stays open");
    }
    for k in 0..50 {
        assert_eq!(member.ask(&send(&format!("closed-{k}"), "al", "1")), "sent");
    }
    gateway.check_conservation();
}

#[test]
fn off_it_refuses_nothing_whatever_is_lost() {
    let gateway = Gateway::start(&[]);
    let mut member = Member::connect(&gateway, "al");
    assert_eq!(gateway.ask("POST", "/test/failure-rate?rate=1", "").status, 200);
    for k in 0..200 {
        assert_eq!(member.ask(&send(&format!("m-{k}"), "al", "1")), "sent");
    }
    gateway.wait_for("im_gateway_messages_failed_total", 200.0);
    assert_eq!(gateway.metric(STATE), 0.0);
}
