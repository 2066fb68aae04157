//! What is given to chitchat and what is not.

use super::*;
use crate::gossip::Incarnation;
use crate::testing::messages::{ack, bad_cluster, digest, key_value, max_version, node, plain, syn, syn_ack, zeros};

fn incarnation(id: &str, generation: u64) -> Incarnation {
    Incarnation { id: id.into(), generation, address: ([10, 0, 0, 1], 7946).into() }
}

fn screen() -> Screen {
    let own = ChitchatId::new("me", 7, ([10, 0, 0, 1], 7946).into());
    Screen { cluster: "one".into(), own, held: Held::default() }
}

fn told(parts: &[Vec<u8>]) -> Vec<u8> {
    ack(&plain(&parts.concat()))
}

#[test]
fn what_members_send_is_admitted_as_it_is() {
    let (a, me) = (incarnation("a", 1), incarnation("me", 7));
    let known = digest(&[(a.clone(), [5, 0, 3]), (me, [9, 0, 5])]);
    let whole = [
        node(&a, 0, 2),
        key_value("state", "active", 3),
        key_value("zone", "", u64::MAX),
        node(&incarnation("me", 6), 9, 0),
        max_version(3),
        node(&incarnation("b", 0), 0, 0),
    ];
    for message in [
        syn("one", &known),
        syn("one", &digest(&[])),
        syn_ack(&known, &plain(b"")),
        syn_ack(&known, &plain(&whole.concat())),
        ack(&plain(&whole.concat())),
    ] {
        assert_eq!(screen().admit(&message), Ok(Admitted { message: message.clone(), left_out: 0 }));
        for cut in 0..message.len() {
            assert!(screen().admit(&message[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(screen().admit(&[&message[..], b"x"].concat()), Err(Refusal::Malformed));
    }
}

#[test]
fn what_no_member_sends_is_refused() {
    let (a, me) = (incarnation("a", 1), incarnation("me", 7));
    let of_a = |ops: &[Vec<u8>]| told(&[&[node(&a, 0, 0)], ops].concat());
    let long = "x".repeat(KEY_VALUE_BYTES_MAX);
    let long_id = incarnation(&"x".repeat(ID_BYTES_MAX + 1), 1);
    for (message, refusal) in [
        (bad_cluster(), Refusal::Malformed),
        (syn("two", &digest(&[])), Refusal::Foreign),
        (told(&[key_value("a", "b", 1)]), Refusal::Disordered),
        (told(&[max_version(1)]), Refusal::Disordered),
        (of_a(&[key_value("a", "b", 0)]), Refusal::Disordered),
        (of_a(&[key_value("a", "b", 2), key_value("c", "d", 2)]), Refusal::Disordered),
        (of_a(&[key_value("a", "b", 2), max_version(1)]), Refusal::Disordered),
        (of_a(&[key_value("a", "b", 2), max_version(3)]), Refusal::Disordered),
        (of_a(&[max_version(3), key_value("a", "b", 5)]), Refusal::Disordered),
        (of_a(&[max_version(3), max_version(1)]), Refusal::Disordered),
        (told(&[node(&me, 0, 0)]), Refusal::OwnState),
        (of_a(&[key_value("a", &long, 1)]), Refusal::TooLarge),
        (told(&[node(&long_id, 0, 0)]), Refusal::TooLarge),
        (syn("one", &digest(&[(long_id, [1, 0, 1])])), Refusal::TooLarge),
        (ack(&zeros(BLOCK_BYTES_MAX, DECODED_BYTES_MAX / BLOCK_BYTES_MAX + 1)), Refusal::TooLarge),
        (ack(&zeros(1, BLOCKS_MAX + 1)), Refusal::TooLarge),
        (ack(&zeros(BLOCK_BYTES_MAX + 1, 1)), Refusal::Malformed),
        (of_a(&[vec![3]]), Refusal::Malformed),
        (ack(&[3, 0, 0, 0]), Refusal::Malformed),
        (vec![0; 3], Refusal::Malformed),
    ] {
        assert_eq!(screen().admit(&message), Err(refusal), "{:?}", &message[..message.len().min(200)]);
    }
}

#[test]
fn who_is_known_stays_known_when_nobody_else_may_be() {
    let screen = screen();
    let many: Vec<_> = (0..1000).map(|n| (incarnation(&format!("node-{n:04}"), n), [1, 0, 1])).collect();
    let admitted = screen.admit(&syn("one", &digest(&many))).unwrap();
    let kept = 1000 - admitted.left_out;
    assert_eq!(admitted.message, syn("one", &digest(&many[..kept])));
    assert!(digest(&many[..kept]).len() <= DIGEST_BYTES_MAX + 2 && kept > 700, "{kept} are kept");
    let admitted = screen.admit(&syn("one", &digest(&many[kept - 1..kept + 1]))).unwrap();
    assert_eq!(admitted, Admitted { message: syn("one", &digest(&many[kept - 1..kept])), left_out: 1 });
    // Chitchat knows none of them.
    screen.held.set(std::iter::empty());
    assert_eq!(screen.admit(&syn("one", &digest(&many[kept..]))).unwrap().left_out, 0);
}

#[test]
fn what_is_told_is_bounded_until_it_is_seen_what_was_kept() {
    let screen = screen();
    let value = "x".repeat(KEY_VALUE_BYTES_MAX - 10);
    let ops = (1..1000).map(|n| key_value(&format!("{n}"), &value, n));
    let large = told(&[&[node(&incarnation("a", 1), 0, 0)], &ops.collect::<Vec<_>>()[..]].concat());
    let admitted = (0..100).take_while(|_| screen.admit(&large).is_ok()).count();
    assert_eq!(admitted, STATE_BYTES_MAX / large.len());
    assert_eq!(screen.admit(&large), Err(Refusal::Full));
    assert!(screen.admit(&told(&[])).is_ok());
    screen.held.set(std::iter::empty());
    assert!(screen.admit(&large).is_ok());
}
