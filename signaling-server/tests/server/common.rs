//! A server on a free port, and a client that waits for words with a bound.

use futures::{SinkExt, StreamExt};
use ringtmp_core::codec::CodecChoice;
use ringtmp_core::ids::RoomCode;
use ringtmp_core::plan::LayerCost;
use ringtmp_core::profile::Planning;
use ringtmp_core::schedule::{DataSource, Mode, ScheduleSpec};
use ringtmp_core::signal::{
    ClientMessage, Device, DeviceKind, ExecutorKind, PROTOCOL_VERSION, Replication, Role,
    RunDescriptor, RunOutline, ServerMessage,
};
use signaling_server::{Config, Server, ServerError};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// The longest wait for an answer: far more than a loaded machine needs, far less than a hang.
pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// The most messages that a test looks through for the one it waits for.
const MESSAGES_MAX: usize = 1000;

/// A running server.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServerError>>,
}

/// A configuration on a free port, without page and data.
pub(crate) fn config() -> Config {
    Config {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        www: "there/is/no/such/folder".into(),
        ..Config::default()
    }
}

/// Starts a server.
pub(crate) fn start(config: Config) -> Running {
    start_server(Server::bind(config).expect("a free port"))
}

/// Runs a server.
pub(crate) fn start_server(server: Server) -> Running {
    let address = server.address();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.run(async {
        let _dropped = stopped.await;
    }));
    Running {
        address,
        stop: Some(stop),
        task,
    }
}

impl Running {
    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends the server in order.
    pub(crate) async fn end(mut self) {
        self.stop.take().map(|stop| stop.send(()));
        let ended = tokio::time::timeout(WAIT, self.task)
            .await
            .expect("ends in time");
        ended.expect("no panic").expect("no error");
    }

    /// Opens a signalling connection.
    pub(crate) async fn connect(&self, way: Way) -> Client {
        match way {
            Way::WebSocket => Client::WebSocket(self.web_socket().await),
            Way::Events => Client::Events(self.events().await),
        }
    }

    pub(crate) async fn web_socket(&self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let url = format!("ws://{}/signal", self.address);
        // Whatever the tests send is the server's to judge.
        let generous = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let (socket, _) = connect_async_with_config(url, Some(generous), true)
            .await
            .expect("connects");
        socket
    }

    pub(crate) async fn events(&self) -> Events {
        let http = reqwest::Client::new();
        let stream = http.get(self.url("/signal/events")).send().await;
        let stream = stream.expect("answers").error_for_status();
        let mut events = Events {
            stream: stream.expect("there is a place"),
            heard: Vec::new(),
            http,
            url: self.url("/signal/send"),
            token: String::new(),
        };
        let (kind, token) = events.next().await.expect("a first event");
        assert_eq!(kind, "session");
        events.token = token;
        events
    }

    /// Reads the value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = reqwest::get(self.url("/metrics"))
            .await
            .expect("answers")
            .text()
            .await
            .expect("text");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
            .parse()
            .expect("a count")
    }
}

/// How signalling is carried: one contract, two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    WebSocket,
    Events,
}

/// A signalling connection.
pub(crate) enum Client {
    WebSocket(WebSocketStream<MaybeTlsStream<TcpStream>>),
    Events(Events),
}

/// A signalling connection of server-sent events and posts.
pub(crate) struct Events {
    stream: reqwest::Response,
    /// What has come of the next event.
    heard: Vec<u8>,
    http: reqwest::Client,
    url: String,
    pub(crate) token: String,
}

impl Events {
    /// The kind and the data of the next event; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<(String, String)> {
        let event = loop {
            let end = self.heard.windows(2).position(|pair| pair == b"\n\n");
            if let Some(end) = end {
                let rest = self.heard.split_off(end + 2);
                let event = std::mem::replace(&mut self.heard, rest);
                break String::from_utf8(event).expect("text");
            }
            let chunk = self.stream.chunk().await.expect("the stream holds")?;
            self.heard.extend_from_slice(&chunk);
        };
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let kind = field("event: ").unwrap_or("message").to_owned();
        Some((kind, field("data: ").expect("data").to_owned()))
    }

    /// Posts texts, a line each.
    pub(crate) async fn post(&self, body: String) -> reqwest::StatusCode {
        let post = self.http.post(&self.url).body(body);
        let answer = post.header("x-ringtmp-session", &self.token).send().await;
        answer.expect("answers").status()
    }
}

impl Client {
    pub(crate) async fn say(&mut self, message: &ClientMessage) {
        self.say_text(&serde_json::to_string(message).expect("JSON"))
            .await;
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        match self {
            Self::WebSocket(socket) => socket.send(Message::text(text)).await.expect("sent"),
            // What the server says of it comes as an event.
            Self::Events(events) => drop(events.post(text.to_owned()).await),
        }
    }

    /// The next message; none when the server has closed the connection in order.
    pub(crate) async fn hear(&mut self) -> Option<ServerMessage> {
        tokio::time::timeout(WAIT, self.next())
            .await
            .expect("an answer in time")
    }

    /// Reads what is left, until it ends in order or not.
    pub(crate) async fn is_over(&mut self) {
        match self {
            Self::WebSocket(socket) => while let Some(Ok(_)) = socket.next().await {},
            Self::Events(events) => while let Ok(Some(_)) = events.stream.chunk().await {},
        }
    }

    async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            let text = match self {
                Self::WebSocket(socket) => match socket.next().await? {
                    Ok(Message::Text(text)) => text.to_string(),
                    // Reading on answers pings and the goodbye.
                    Ok(_) => continue,
                    Err(error) => panic!("the connection broke: {error}"),
                },
                Self::Events(events) => match events.next().await? {
                    (kind, text) if kind == "message" => text,
                    (kind, _) if kind == "ping" => {
                        events.post(String::new()).await;
                        continue;
                    }
                    (kind, _) => {
                        assert_eq!(kind, "end");
                        return None;
                    }
                },
            };
            return Some(serde_json::from_str(&text).expect("our protocol"));
        }
    }

    /// The next message for which `pick` gives something; others are skipped.
    pub(crate) async fn hear_until<T>(
        &mut self,
        mut pick: impl FnMut(ServerMessage) -> Option<T>,
    ) -> T {
        for _ in 0..MESSAGES_MAX {
            let message = self.hear().await.expect("the connection stays open");
            let shown = format!("{message:?}");
            match pick(message) {
                Some(found) => return found,
                None => eprintln!("skipped {shown}"),
            }
        }
        panic!("{MESSAGES_MAX} messages, and none that was waited for");
    }
}

/// A run of two equal layers that starts with two peers.
pub(crate) fn run() -> RunDescriptor {
    let layer = LayerCost {
        flops: [1e6; 3],
        parameters: 1000,
        output_bytes: 1000,
        stash_bytes: 1000,
    };
    RunDescriptor {
        toml: String::new(),
        outline: RunOutline {
            name: "test".to_owned(),
            layers: vec![layer; 2],
            steps: 1,
            micro_batches: 2,
            evaluate_every: 0,
            evaluation_micro_batches: 0,
            start_at_peers: 2,
            schedule: ScheduleSpec::new(Mode::Sync, 1),
            source: DataSource::One,
            sample_bytes: 4,
            codec: CodecChoice::default(),
            planning: Planning::Counted,
            replication: Replication::Off,
            topology: ringtmp_core::parameter_server::Topology::Ring,
        },
        resumes: None,
        verifier: None,
    }
}

pub(crate) fn device() -> Device {
    Device {
        kind: DeviceKind::Native,
        name: "test".to_owned(),
        executor: ExecutorKind::Cpu,
        adapter: "none".to_owned(),
        memory_bytes: None,
        form: None,
    }
}

pub(crate) fn create() -> ClientMessage {
    ClientMessage::Create {
        protocol: PROTOCOL_VERSION,
        run: run(),
    }
}

pub(crate) fn join(room: RoomCode, role: Role) -> ClientMessage {
    ClientMessage::Join {
        protocol: PROTOCOL_VERSION,
        room,
        role,
        device: device(),
        has_data: true,
        proof: None,
    }
}

/// Opens a room.
pub(crate) async fn open_room(client: &mut Client) -> RoomCode {
    client.say(&create()).await;
    let created = |message| match message {
        ServerMessage::Created { room } => Some(room),
        _ => None,
    };
    client.hear_until(created).await
}
