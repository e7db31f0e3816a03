//! Before the door: a device that has only a room's short code asks the host, and the host's user decides.

use super::door::{DoorFault, draw};
use super::entry::{next_message, unexpected};
use crate::error::PeerError;
use crate::platform::sleep;
use crate::progress::Progress;
use crate::view::{AskView, AskingView, Command, NoticeLevel, View};
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::{Either, FutureExt, select};
use ringtmp_core::ids::{PeerId, ShortCode};
use ringtmp_core::lobby::{Bucket, Rate};
use ringtmp_core::secret::RoomLink;
use ringtmp_core::secret::pairing::{Asker, Commitment, Host};
use ringtmp_core::signal::{
    ASKERS_MAX, Asked, Asking, ClientMessage, Device, PROTOCOL_VERSION, ServerMessage,
};
use ringtmp_core::time::Time;
use ringtmp_transport::Signalling;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

/// How long the host's user may take: to see that somebody asks, to walk over and compare digits.
const DECISION_MAX: Duration = Duration::from_secs(300);

/// Who asks and goes, with digits that nobody has compared, has tried one pair out of a million: a server could try them out by itself, until
/// those on either side of it are the same. So that many may do so: sixteen at once, and six a minute.
const UNDECIDED: Rate = Rate {
    burst: 160,
    per_second: 1,
};

/// What one of them takes of it.
const UNDECIDED_COST: f64 = 10.0;

/// Asks a room's host to be let in. None where the user gave up.
pub(super) async fn ask(
    signalling: &mut Signalling,
    code: ShortCode,
    device: Device,
    commands: &mut mpsc::Receiver<Command>,
    progress: &mut Progress,
    publish: &mut impl FnMut(View),
) -> Result<Option<RoomLink>, PeerError> {
    let mut asker = Asker::new(draw()?, draw()?);
    let commitment = asker.commitment();
    signalling.send(&ClientMessage::Asking(Asking::Ask {
        protocol: PROTOCOL_VERSION,
        code,
        device,
        commitment,
    }))?;
    progress.asking(Some(AskingView { code, digits: None }));
    publish(progress.take());
    let mut late = pin!(sleep(DECISION_MAX).fuse());
    let link = loop {
        let gives_up = async {
            while let Some(command) = commands.next().await {
                if matches!(command, Command::Leave | Command::HandOn) {
                    break;
                }
            }
        };
        let message = {
            let (heard, gives_up) = (pin!(next_message(signalling)), pin!(gives_up));
            let waits = select(gives_up, &mut late);
            match select(heard, waits).await {
                Either::Left((message, _)) => message?,
                Either::Right((Either::Left(_), _)) => return Ok(None),
                Either::Right((Either::Right(_), _)) => return Err(DoorFault::NoAnswer.into()),
            }
        };
        match message {
            ServerMessage::Asked(Asked::Open { room }) if ShortCode::of(room) == code => {
                break RoomLink::without_secret(room);
            }
            ServerMessage::Asked(Asked::Open { .. }) => return Err(DoorFault::OtherRoom.into()),
            ServerMessage::Asked(Asked::Meets { key }) => {
                let (opening, digits) = asker.meet(key).map_err(DoorFault::from)?;
                signalling.send(&ClientMessage::Asking(Asking::Reveal { opening }))?;
                let digits = Some(digits.to_string());
                progress.asking(Some(AskingView { code, digits }));
                publish(progress.take());
            }
            ServerMessage::Asked(Asked::Decided { link: Some(link) }) => {
                let link = asker.open(link).map_err(DoorFault::from)?;
                if ShortCode::of(link.room) != code {
                    return Err(DoorFault::OtherRoom.into());
                }
                break link;
            }
            ServerMessage::Asked(Asked::Decided { link: None }) => {
                return Err(DoorFault::Denied.into());
            }
            other => return Err(unexpected(&other)),
        }
    };
    progress.asking(None);
    Ok(Some(link))
}

/// Who stands before the door of a room that this device opened.
#[derive(Debug)]
pub(crate) struct Porch {
    link: RoomLink,
    /// Whether there is a user to decide.
    decides: bool,
    askers: BTreeMap<PeerId, Waiting>,
    /// How many may yet go without a decision.
    undecided: Bucket,
}

#[derive(Debug)]
struct Waiting {
    device: Device,
    pairing: Host,
    digits: Option<String>,
}

impl Porch {
    /// Of a room. Where nobody is there who decides, nobody is let in.
    pub(crate) fn new(link: RoomLink, decides: bool) -> Self {
        Self {
            link,
            decides,
            askers: BTreeMap::new(),
            undecided: Bucket::full(Time::ZERO, UNDECIDED),
        }
    }

    /// Takes what an asker says; gives what is to be answered.
    pub(crate) fn heard(
        &mut self,
        asked: &Asked,
        now: Time,
        progress: &mut Progress,
    ) -> Option<ClientMessage> {
        let says = match asked {
            Asked::Asks {
                asker,
                device,
                commitment,
            } => Some(self.asks(*asker, device, *commitment, now, progress)),
            Asked::Reveals { asker, opening } => match self.askers.get_mut(asker) {
                // Of whom this page knows nothing: it may ask anew.
                None => Some(denied(*asker)),
                Some(waiting) => match waiting.pairing.reveal(opening) {
                    Ok(digits) => {
                        waiting.digits = Some(digits.to_string());
                        None
                    }
                    Err(error) => {
                        let name = &waiting.device.name;
                        let text = format!("{name} was not let in: {error}.");
                        progress.notice(NoticeLevel::Warning, text, "");
                        self.goes_undecided(*asker, now);
                        Some(denied(*asker))
                    }
                },
            },
            Asked::Gone { asker } => {
                self.goes_undecided(*asker, now);
                None
            }
            // These are for askers.
            Asked::Open { .. } | Asked::Meets { .. } | Asked::Decided { .. } => None,
        };
        progress.askers(self.view());
        says.map(ClientMessage::Asking)
    }

    /// Somebody asks, and is met, or told at once that nobody is asked.
    fn asks(
        &mut self,
        asker: PeerId,
        device: &Device,
        commitment: Commitment,
        now: Time,
        progress: &mut Progress,
    ) -> Asking {
        let calm = self.undecided.left(now, UNDECIDED) >= UNDECIDED_COST;
        let asks = self.decides && calm && self.askers.len() < ASKERS_MAX;
        let Some(key) = draw().ok().filter(|_| asks) else {
            let text = format!("{} asks to be let in.", device.name);
            let advice = match self.decides && !calm {
                true => {
                    "Many have asked and gone again, as if somebody tried out digits: for some seconds nobody is asked here. Give it the room's whole link."
                }
                false => "Give it the room's whole link: nobody is asked here.",
            };
            progress.notice(NoticeLevel::Information, text, advice);
            return denied(asker);
        };
        let pairing = Host::new(commitment, key);
        let key = pairing.key();
        let waiting = Waiting {
            device: device.clone(),
            pairing,
            digits: None,
        };
        self.askers.insert(asker, waiting);
        Asking::Meet { asker, key }
    }

    fn goes_undecided(&mut self, asker: PeerId, now: Time) {
        if self.askers.remove(&asker).is_some() {
            self.undecided.charge(now, UNDECIDED, UNDECIDED_COST);
        }
    }

    /// The user has decided about an asker.
    pub(crate) fn decided(
        &mut self,
        asker: PeerId,
        allow: bool,
        progress: &mut Progress,
    ) -> Option<ClientMessage> {
        let waiting = self.askers.remove(&asker)?;
        let secret = self.link.secret.filter(|_| allow);
        let link = secret.and_then(|secret| waiting.pairing.let_in(self.link.room, secret));
        progress.askers(self.view());
        Some(ClientMessage::Asking(Asking::Decide { asker, link }))
    }

    fn view(&self) -> Vec<AskView> {
        let view = |(asker, waiting): (&PeerId, &Waiting)| AskView {
            asker: *asker,
            device: waiting.device.clone(),
            digits: waiting.digits.clone(),
        };
        self.askers.iter().map(view).collect()
    }
}

fn denied(asker: PeerId) -> Asking {
    Asking::Decide { asker, link: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::ids::RoomCode;
    use ringtmp_core::secret::RoomSecret;
    use ringtmp_core::signal::{DeviceKind, ExecutorKind, Role};

    const ASKER: PeerId = PeerId(7);

    fn device() -> Device {
        Device {
            kind: DeviceKind::Tab,
            name: "phone".to_owned(),
            executor: ExecutorKind::Cpu,
            adapter: String::new(),
            memory_bytes: None,
            form: None,
        }
    }

    fn porch() -> (Porch, Progress, RoomLink) {
        let link = RoomLink {
            room: RoomCode::from_random([1; 10]),
            secret: Some(RoomSecret::from_random([2; 16])),
        };
        let porch = Porch::new(link, true);
        (porch, Progress::new(Role::Participant, device()), link)
    }

    fn asks(asker: PeerId, of: &Asker) -> Asked {
        Asked::Asks {
            asker,
            device: device(),
            commitment: of.commitment(),
        }
    }

    /// The host's end until the digits are known, and those of the asker.
    fn compared(porch: &mut Porch, progress: &mut Progress, asker: &mut Asker) -> String {
        let said = porch.heard(&asks(ASKER, asker), Time::ZERO, progress);
        let Some(ClientMessage::Asking(Asking::Meet { key, .. })) = said else {
            panic!("it is met: {said:?}");
        };
        let (opening, digits) = asker.meet(key).expect("a key");
        let reveals = Asked::Reveals {
            asker: ASKER,
            opening,
        };
        assert_eq!(porch.heard(&reveals, Time::ZERO, progress), None);
        digits.to_string()
    }

    #[test]
    fn who_is_allowed_gets_the_link_and_who_is_denied_gets_nothing() {
        let (mut porch, mut progress, link) = porch();
        let mut asker = Asker::new([3; 32], [4; 32]);
        let digits = compared(&mut porch, &mut progress, &mut asker);
        let shown = progress.take().askers;
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].digits, Some(digits));
        let said = porch.decided(ASKER, true, &mut progress);
        let Some(ClientMessage::Asking(Asking::Decide { link: sealed, .. })) = said else {
            panic!("it is decided: {said:?}");
        };
        assert_eq!(asker.open(sealed.expect("a link")), Ok(link));
        assert_eq!(progress.take().askers, []);

        let mut asker = Asker::new([5; 32], [6; 32]);
        compared(&mut porch, &mut progress, &mut asker);
        let said = porch.decided(ASKER, false, &mut progress);
        let denied = ClientMessage::Asking(denied(ASKER));
        assert_eq!(said, Some(denied));
        assert_eq!(porch.decided(ASKER, true, &mut progress), None, "once");
    }

    #[test]
    fn a_key_that_was_changed_on_the_way_lets_nobody_in_and_is_told() {
        let (mut porch, mut progress, _) = porch();
        let asker = Asker::new([3; 32], [4; 32]);
        let said = porch.heard(&asks(ASKER, &asker), Time::ZERO, &mut progress);
        let Some(ClientMessage::Asking(Asking::Meet { key, .. })) = said else {
            panic!("it is met: {said:?}");
        };
        let (opening, _) = Asker::new([8; 32], [4; 32]).meet(key).expect("a key");
        let reveals = Asked::Reveals {
            asker: ASKER,
            opening,
        };
        let said = porch.heard(&reveals, Time::ZERO, &mut progress);
        assert_eq!(said, Some(ClientMessage::Asking(denied(ASKER))));
        let view = progress.take();
        assert_eq!(view.askers, []);
        assert!(view.notices[0].text.contains("somebody may stand between"));
    }

    #[test]
    fn those_who_ask_do_not_pile_up_and_are_forgotten_when_they_go() {
        let (mut porch, mut progress, _) = porch();
        let asker = Asker::new([3; 32], [4; 32]);
        for id in 0..ASKERS_MAX as u64 {
            let said = porch.heard(&asks(PeerId(id), &asker), Time::ZERO, &mut progress);
            assert!(matches!(
                said,
                Some(ClientMessage::Asking(Asking::Meet { .. }))
            ));
        }
        let one_more = porch.heard(&asks(PeerId(99), &asker), Time::ZERO, &mut progress);
        let denied = ClientMessage::Asking(denied(PeerId(99)));
        assert_eq!(one_more, Some(denied));
        let gone = Asked::Gone { asker: PeerId(0) };
        assert_eq!(porch.heard(&gone, Time::ZERO, &mut progress), None);
        assert_eq!(progress.take().askers.len(), ASKERS_MAX - 1);
    }

    #[test]
    fn a_server_that_lets_askers_come_and_go_soon_finds_nobody_to_ask() {
        let (mut porch, mut progress, _) = porch();
        let met = |porch: &mut Porch, progress: &mut Progress, id: u64, seconds: u64| {
            let now = Time::ZERO + Duration::from_secs(seconds);
            let asker = Asker::new([3; 32], [4; 32]);
            let said = porch.heard(&asks(PeerId(id), &asker), now, progress);
            let gone = Asked::Gone { asker: PeerId(id) };
            porch.heard(&gone, now, progress);
            matches!(said, Some(ClientMessage::Asking(Asking::Meet { .. })))
        };
        let tries = (0..1000).filter(|id| met(&mut porch, &mut progress, *id, 0));
        assert_eq!(tries.count(), 16);
        let advice = &progress.take().notices[0].advice;
        assert!(advice.contains("tried out digits"), "{advice}");
        // Whom the user decides on costs nothing.
        assert!(!met(&mut porch, &mut progress, 1001, 9));
        for id in 2000..2100 {
            let asker = Asker::new([3; 32], [4; 32]);
            let now = Time::ZERO + Duration::from_secs(10);
            let said = porch.heard(&asks(PeerId(id), &asker), now, &mut progress);
            let met = matches!(said, Some(ClientMessage::Asking(Asking::Meet { .. })));
            assert!(met, "{id}");
            porch.decided(PeerId(id), false, &mut progress);
        }
        let an_hour = (10..3610).filter(|second| met(&mut porch, &mut progress, *second, *second));
        assert_eq!(an_hour.count(), 360);
    }

    #[test]
    fn who_asked_a_page_that_was_there_before_is_told_to_ask_again() {
        let (mut porch, mut progress, _) = porch();
        let mut asker = Asker::new([3; 32], [4; 32]);
        let host = Host::new(asker.commitment(), [5; 32]);
        let (opening, _) = asker.meet(host.key()).expect("a key");
        let asker = ASKER;
        let reveals = Asked::Reveals { asker, opening };
        let said = porch.heard(&reveals, Time::ZERO, &mut progress);
        assert_eq!(said, Some(ClientMessage::Asking(denied(ASKER))));
    }
}
