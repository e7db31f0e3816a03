//! Rooms with a secret, and who gets into them: the real server and shell.

use anyhow::{Context, Result, bail, ensure};
use futures::channel::mpsc;
use ringtmp_core::ids::ShortCode;
use ringtmp_core::secret::{RoomLink, RoomSecret};
use ringtmp_core::signal::{Refusal, Role};
use ringtmp_peer::{
    Access, DoorFault, Entry, ExecutorChoice, Own, PeerError, RunFile, Setup, View,
};
use ringtmp_tests::keep::with_peers;
use ringtmp_transport::loopback::LoopbackNetwork;
use signaling_server::{Config, Server};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};

/// Until somebody is in a room, or is refused; a machine under load takes some seconds.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A server, and the links of those who use it.
struct Place {
    server: String,
    network: LoopbackNetwork,
}

/// A peer, and what it shows.
struct Somebody {
    views: watch::Receiver<Option<View>>,
    task: JoinHandle<Result<(), PeerError>>,
    commands: mpsc::Sender<ringtmp_peer::Command>,
}

impl Place {
    fn open() -> Result<Self> {
        let server = Server::bind(Config {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            ..Config::default()
        })?;
        let address = format!("http://{}", server.address());
        // It ends with the runtime of the test.
        drop(tokio::spawn(server.run(std::future::pending())));
        Ok(Self {
            server: address,
            network: LoopbackNetwork::new(5),
        })
    }

    fn comes(&self, entry: Entry, role: Role, open_room: bool) -> Somebody {
        let own = Own {
            open_room,
            ..Own::default()
        };
        self.comes_with(entry, role, own)
    }

    fn comes_with(&self, entry: Entry, role: Role, own: Own) -> Somebody {
        let setup = Setup {
            server: self.server.clone(),
            entry,
            role,
            name: "somebody".to_owned(),
            executor: ExecutorChoice::Cpu,
            connector: self.network.clone().into(),
            weights: None,
            own,
        };
        let (seen, views) = watch::channel(None);
        let (commands, queue) = mpsc::channel(1);
        let task = spawn_local(ringtmp_peer::run(setup, queue, move |view| {
            seen.send_replace(Some(view));
        }));
        Somebody {
            views,
            task,
            commands,
        }
    }

    fn joins(&self, link: RoomLink, role: Role) -> Somebody {
        self.comes(Entry::Join(link), role, false)
    }
}

impl Somebody {
    /// The first view from within the room.
    async fn is_in(&mut self) -> Result<View> {
        let views = self.views.wait_for(|view| {
            let link = view.as_ref().and_then(View::link);
            link.is_some()
        });
        let view = tokio::time::timeout(WAIT_MAX, views)
            .await?
            .context("it has ended")?;
        view.clone().context("it was there")
    }

    /// What its view shows, once it does.
    async fn sees<T>(&mut self, shows: impl Fn(&View) -> Option<T>) -> Result<T> {
        let found = |view: &Option<View>| view.as_ref().and_then(&shows);
        let views = self.views.wait_for(|view| found(view).is_some());
        let view = tokio::time::timeout(WAIT_MAX, views)
            .await?
            .context("it has ended")?;
        found(&view).context("it was there")
    }

    /// Why it did not get in.
    async fn refusal(self) -> Result<PeerError> {
        match tokio::time::timeout(WAIT_MAX, self.task).await?? {
            Ok(()) => bail!("it was let in, and left"),
            Err(error) => Ok(error),
        }
    }
}

/// The server at another address, and what cuts all sockets that there are to it by then.
async fn behind_a_wire(server: &str) -> Result<(String, watch::Sender<()>)> {
    let server = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let cut = watch::Sender::new(());
    let cuts = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let Ok(mut far) = TcpStream::connect(&server).await else {
                continue;
            };
            let mut is_cut = cuts.subscribe();
            tokio::spawn(async move {
                tokio::select! {
                    // Either end may close it.
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = is_cut.changed() => {}
                }
            });
        }
    });
    Ok((address, cut))
}

/// A run of many steps, which waits for more devices than come.
fn run() -> RunFile {
    RunFile {
        start_at_peers: 9,
        ..RunFile::default()
    }
}

#[tokio::test]
async fn who_has_the_link_takes_part_and_who_has_only_the_code_watches() -> Result<()> {
    with_peers(async {
        let place = Place::open()?;
        let mut host = place.comes(Entry::Create(run()), Role::Participant, false);
        let link = host.is_in().await?.link().context("a room")?;
        ensure!(
            link.secret.is_some(),
            "rooms have a secret unless they are open"
        );
        let mut guest = place.joins(link, Role::Participant);
        let access = guest.is_in().await?.access;
        ensure!(matches!(access, Access::Secret { .. }), "{access:?}");

        let bare = RoomLink::without_secret(link.room);
        let refused = place.joins(bare, Role::Participant).refusal().await?;
        let missing = PeerError::Refused(Refusal::SecretMissing { room: link.room });
        ensure!(refused.to_string() == missing.to_string(), "{refused}");
        let mut watcher = place.joins(bare, Role::Spectator);
        let access = watcher.is_in().await?.access;
        ensure!(access == Access::Watching, "{access:?}");

        let other = RoomLink {
            secret: Some(RoomSecret::from_random([1; 16])),
            ..link
        };
        for role in [Role::Participant, Role::Spectator] {
            let refused = place.joins(other, role).refusal().await?;
            let wrong = PeerError::Refused(Refusal::SecretWrong { room: link.room });
            ensure!(refused.to_string() == wrong.to_string(), "{refused}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_room_that_is_open_says_so_and_a_link_with_a_secret_does_not_lead_there() -> Result<()> {
    with_peers(async {
        let place = Place::open()?;
        let mut host = place.comes(Entry::Create(run()), Role::Participant, true);
        let view = host.is_in().await?;
        ensure!(view.access == Access::Open, "{:?}", view.access);
        let link = view.link().context("a room")?;
        ensure!(link.secret.is_none(), "{link}");
        let mut guest = place.joins(link, Role::Participant);
        ensure!(guest.is_in().await?.access == Access::Open, "it says so");
        // As where a server says of a room with a secret that it is open.
        let with_secret = RoomLink {
            secret: Some(RoomSecret::from_random([1; 16])),
            ..link
        };
        let refused = place.joins(with_secret, Role::Participant);
        let refused = refused.refusal().await?;
        let door = matches!(refused, PeerError::Door(DoorFault::SaidOpen));
        ensure!(door, "{refused}");
        // Its short code leads there without asking.
        let ask = Entry::Ask(ShortCode::of(link.room));
        let mut asker = place.comes(ask, Role::Participant, false);
        ensure!(asker.is_in().await?.link() == Some(link), "the same room");
        Ok(())
    })
    .await
}

/// A terminal that opened a room watches it; whoever watches comes in under another name each time.
#[tokio::test]
async fn a_host_that_only_watches_is_the_host_still_once_its_socket_was_lost() -> Result<()> {
    with_peers(async {
        let place = Place::open()?;
        let (server, cut) = behind_a_wire(&place.server).await?;
        let network = place.network.clone();
        let far = Place { server, network };
        let mut host = far.comes(Entry::Create(run()), Role::Spectator, false);
        let is_host = |view: &View| {
            let room = view.room.as_ref()?;
            view.me.filter(|me| room.host == Some(*me))
        };
        let first = host.sees(is_host).await?;
        cut.send_replace(());
        let again = |view: &View| is_host(view).filter(|me| *me != first);
        host.sees(again).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_host_without_a_screen_lets_nobody_in_who_asks() -> Result<()> {
    with_peers(async {
        let place = Place::open()?;
        let mut host = place.comes(Entry::Create(run()), Role::Participant, false);
        let link = host.is_in().await?.link().context("a room")?;
        let ask = |code| place.comes(Entry::Ask(code), Role::Participant, false);
        let refused = ask(ShortCode::of(link.room)).refusal().await?;
        let denied = matches!(refused, PeerError::Door(DoorFault::Denied));
        ensure!(denied, "{refused}");
        let nowhere = "ABCDEF".parse()?;
        let refused = ask(nowhere).refusal().await?;
        let no_room = matches!(refused, PeerError::Refused(Refusal::NoSuchCode { .. }));
        ensure!(no_room, "{refused}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_host_with_somebody_at_its_terminal_lets_in_whom_they_allow_and_both_see_the_same_digits()
-> Result<()> {
    with_peers(async {
        let place = Place::open()?;
        let own = Own {
            decides: true,
            ..Own::default()
        };
        let mut host = place.comes_with(Entry::Create(run()), Role::Participant, own);
        let link = host.is_in().await?.link().context("a room")?;
        let mut before = None;
        for allow in [false, true] {
            let ask = Entry::Ask(ShortCode::of(link.room));
            let mut asker = place.comes(ask, Role::Participant, false);
            let digits = |view: &View| view.asking.as_ref()?.digits.clone();
            let shown = asker.sees(digits).await?;
            let asks = |view: &View| {
                let asks = view.askers.first()?;
                let is_new = asks.digits.is_some() && Some(asks.asker) != before;
                is_new.then(|| asks.clone())
            };
            let asks = host.sees(asks).await?;
            ensure!(asks.digits == Some(shown), "the same digits");
            before = Some(asks.asker);
            let admit = ringtmp_peer::Command::Admit {
                asker: asks.asker,
                allow,
            };
            host.commands.try_send(admit)?;
            if allow {
                ensure!(asker.is_in().await?.link() == Some(link), "with the secret");
            } else {
                let refused = asker.refusal().await?;
                let denied = matches!(refused, PeerError::Door(DoorFault::Denied));
                ensure!(denied, "{refused}");
            }
        }
        Ok(())
    })
    .await
}
