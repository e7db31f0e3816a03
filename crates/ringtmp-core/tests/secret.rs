//! A server that lies between two members of a room with a secret, and does not get in.

use ringtmp_core::ids::{Epoch, PeerId, RoomCode};
use ringtmp_core::secret::{Handshake, Hex, LinkKey, Opened, Proof, ProofError, RoomSecret};
use ringtmp_core::signal::Signal;

const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
const EPOCH: Epoch = Epoch {
    number: 3,
    incarnation: 1,
};
const NEXT: Epoch = Epoch {
    number: 4,
    incarnation: 1,
};

fn room(byte: u8) -> RoomCode {
    RoomCode::from_random([byte; 10])
}

fn key() -> LinkKey {
    LinkKey::new(&RoomSecret::from_random([7; 16]), room(1))
}

fn sdp(of: &str) -> String {
    format!("v=0\r\na=fingerprint:sha-256 {of}\r\n")
}

/// An end of a link between A, which offers, and B.
fn end_of(key: LinkKey, me: PeerId, epoch: Epoch, nonce: u8) -> Handshake {
    let peer = if me == A { B } else { A };
    Handshake::new(key, [me, peer], me == A, epoch, [nonce; 16])
}

/// Both ends, and the offer that A has sent.
fn begun() -> (Handshake, Handshake, Signal) {
    let mut a = end_of(key(), A, EPOCH, 0xa);
    let offer = a.seal(Signal::offer(EPOCH, sdp("a")));
    (a, end_of(key(), B, EPOCH, 0xb), offer)
}

/// Both ends, and the answer that B has sent.
fn answered() -> (Handshake, Handshake, Signal) {
    let (a, mut b, offer) = begun();
    b.open(offer).expect("it is A's");
    let answer = b.seal(Signal::answer(EPOCH, sdp("b")));
    (a, b, answer)
}

fn confirm_of(opened: Result<Opened, ProofError>) -> Signal {
    match opened {
        Ok(Opened::Answered { confirm, .. }) => confirm,
        other => panic!("an answer that is proved is confirmed, not {other:?}"),
    }
}

/// The same message with other words in it.
fn with_sdp(signal: &Signal, text: String) -> Signal {
    let mut signal = signal.clone();
    match &mut signal {
        Signal::Offer { sdp, .. } | Signal::Answer { sdp, .. } => *sdp = text,
        Signal::Candidate { .. } | Signal::Confirm { .. } => panic!("it describes nothing"),
    }
    signal
}

fn proof_of(signal: &Signal) -> Proof {
    match signal {
        Signal::Offer { proof, .. } | Signal::Answer { proof, .. } => proof.expect("sealed"),
        Signal::Candidate { .. } | Signal::Confirm { .. } => panic!("it describes nothing"),
    }
}

#[test]
fn members_prove_themselves_to_each_other_and_hand_on_bare_descriptions() {
    let (mut a, mut b, offer) = begun();
    let given = b.open(offer).expect("it is A's");
    assert_eq!(given, Opened::Pass(Signal::offer(EPOCH, sdp("a"))));
    let answer = b.seal(Signal::answer(EPOCH, sdp("b")));
    let opened = a.open(answer);
    let bare = Signal::answer(EPOCH, sdp("b"));
    assert!(matches!(&opened, Ok(Opened::Answered { answer, .. }) if *answer == bare));
    assert_eq!(b.open(confirm_of(opened)), Ok(Opened::Confirmed));
}

#[test]
fn addresses_pass_without_a_proof() {
    let (mut a, _, _) = begun();
    let candidate = Signal::Candidate {
        epoch: EPOCH,
        candidate: "candidate:1".to_owned(),
        mid: None,
    };
    assert_eq!(a.seal(candidate.clone()), candidate);
    assert_eq!(a.open(candidate.clone()), Ok(Opened::Pass(candidate)));
}

#[test]
fn a_server_that_swaps_fingerprints_is_found_out_by_both_ends() {
    let (_, mut b, offer) = begun();
    let swapped = with_sdp(&offer, sdp("server"));
    assert_eq!(b.open(swapped), Err(ProofError::Wrong));
    // Nothing of it was taken in: the true one still is.
    assert!(b.open(offer).is_ok());

    let (mut a, _, answer) = answered();
    let swapped = with_sdp(&answer, sdp("server"));
    assert_eq!(a.open(swapped), Err(ProofError::Wrong));
    assert!(a.open(answer).is_ok());
}

#[test]
fn a_server_that_leaves_the_proof_out_or_makes_one_up_is_found_out() {
    let (mut a, mut b, offer) = begun();
    let bare = Signal::offer(EPOCH, sdp("a"));
    assert_eq!(b.open(bare), Err(ProofError::Missing));
    assert_eq!(
        a.open(Signal::answer(EPOCH, sdp("b"))),
        Err(ProofError::Missing)
    );
    let Proof { nonce, .. } = proof_of(&offer);
    let forged = Signal::Offer {
        epoch: EPOCH,
        sdp: sdp("server"),
        proof: Some(Proof {
            nonce,
            mac: Hex([0; 32]),
        }),
    };
    assert_eq!(b.open(forged), Err(ProofError::Wrong));
}

#[test]
fn who_does_not_know_the_secret_or_knows_that_of_another_room_cannot_speak_for_a_member() {
    let secret = RoomSecret::from_random([7; 16]);
    let strangers = [
        LinkKey::new(&RoomSecret::from_random([8; 16]), room(1)),
        LinkKey::new(&secret, room(2)),
    ];
    for key in strangers {
        let mut stranger = end_of(key.clone(), A, EPOCH, 0xa);
        let offer = stranger.seal(Signal::offer(EPOCH, sdp("stranger")));
        let (_, mut b, _) = begun();
        assert_eq!(b.open(offer), Err(ProofError::Wrong));

        let (mut a, _, offer) = begun();
        let mut stranger = end_of(key, B, EPOCH, 0xb);
        assert_eq!(stranger.open(offer), Err(ProofError::Wrong));
        let answer = stranger.seal(Signal::answer(EPOCH, sdp("stranger")));
        assert_eq!(a.open(answer), Err(ProofError::Wrong));
    }
}

#[test]
fn an_old_answer_does_not_answer_a_new_offer() {
    let (_, _, old) = answered();
    let mut a = end_of(key(), A, EPOCH, 0xc);
    a.seal(Signal::offer(EPOCH, sdp("a")));
    assert_eq!(a.open(old), Err(ProofError::Wrong));
}

#[test]
fn an_old_offer_is_never_confirmed() {
    // The server has kept all that was said when A and B last connected under this plan.
    let (mut a, mut b, old_offer) = begun();
    b.open(old_offer.clone()).expect("it is A's");
    let old_answer = b.seal(Signal::answer(EPOCH, sdp("b")));
    let old_confirm = confirm_of(a.open(old_answer));
    // B begins anew, and is played the old offer, which it answers with a number of its own.
    let mut b = end_of(key(), B, EPOCH, 0xd);
    b.open(old_offer).expect("it was A's once");
    let answer = b.seal(Signal::answer(EPOCH, sdp("b")));
    assert_eq!(b.open(old_confirm), Err(ProofError::Wrong));
    // A, which has begun anew as well, does not help.
    let mut a = end_of(key(), A, EPOCH, 0xe);
    a.seal(Signal::offer(EPOCH, sdp("a")));
    assert_eq!(a.open(answer), Err(ProofError::Wrong));
}

#[test]
fn a_proof_of_one_plan_or_link_is_worthless_on_another() {
    let (_, _, offer) = begun();
    let mut later = end_of(key(), B, NEXT, 0xb);
    assert_eq!(later.open(offer.clone()), Err(ProofError::Wrong));
    // C is a member too, and gets what was meant for B; or hears it under the name of D.
    let [c, d] = [PeerId(3), PeerId(4)];
    for ends in [[c, A], [B, d]] {
        let mut other = Handshake::new(key(), ends, false, EPOCH, [0xb; 16]);
        assert_eq!(other.open(offer.clone()), Err(ProofError::Wrong));
    }
}

#[test]
fn what_a_peer_has_said_is_of_no_use_when_it_is_sent_back_to_it() {
    let (mut a, mut b, offer) = begun();
    assert_eq!(a.open(offer.clone()), Err(ProofError::Wrong));
    // Dressed as an answer.
    let proof = Some(proof_of(&offer));
    let epoch = EPOCH;
    let as_answer = Signal::Answer {
        epoch,
        sdp: sdp("a"),
        proof,
    };
    assert_eq!(a.open(as_answer), Err(ProofError::Wrong));
    // B's own answer, dressed as an offer and as a confirmation.
    b.open(offer).expect("it is A's");
    let proof = proof_of(&b.seal(Signal::answer(EPOCH, sdp("b"))));
    let as_offer = Signal::Offer {
        epoch,
        sdp: sdp("b"),
        proof: Some(proof),
    };
    assert_eq!(b.open(as_offer), Err(ProofError::Wrong));
    let mac = proof.mac;
    assert_eq!(
        b.open(Signal::Confirm { epoch, mac }),
        Err(ProofError::Wrong)
    );
    // A member that offers on both sides, as a server might have it.
    let mut mirrored = Handshake::new(key(), [A, B], false, EPOCH, [0xf; 16]);
    let (_, _, offer) = begun();
    assert_eq!(mirrored.open(offer), Err(ProofError::Wrong));
}

#[test]
fn what_cannot_come_now_is_refused() {
    let (mut a, mut b, _) = begun();
    let confirm = Signal::Confirm {
        epoch: EPOCH,
        mac: Hex([0; 32]),
    };
    assert_eq!(a.open(confirm.clone()), Err(ProofError::Early));
    assert_eq!(b.open(confirm), Err(ProofError::Early));
    let (_, _, answer) = answered();
    assert_eq!(b.open(answer.clone()), Err(ProofError::Early));
    let mut silent = end_of(key(), A, EPOCH, 0xa);
    assert_eq!(silent.open(answer), Err(ProofError::Early));
}
