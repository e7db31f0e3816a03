//! What the address of the page asks for.

use crate::messages::{Channels, Entry, Executor, RunWish, Signalling};
use crate::words::{self, Language};
use ringtmp_core::ids::{RoomCode, ShortCode};
use ringtmp_core::profile::Planning;
use ringtmp_core::secret::{RoomLink, RoomSecret, secret_of};
use ringtmp_peer::DataSource;

/// The longest device name taken from an address; the room keeps less.
const NAME_CHARS_MAX: usize = 80;

/// The page's address, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    /// Where it leads.
    pub place: Place,
    /// `#secret=...`: what lets one take part
    pub secret: Option<RoomSecret>,
    /// `open`: a room that is opened has no secret
    pub open: bool,
    /// `executor=auto|gpu|cpu`
    pub executor: Executor,
    /// `name=...`
    pub name: Option<String>,
    /// `channels=transfer|post`
    pub channels: Channels,
    /// `signalling=any|websocket|events`
    pub signalling: Signalling,
    /// `watch`; a projector does nothing else
    pub watch: bool,
    /// `join`: take part at once, without asking
    pub join: bool,
    /// `view=page|projector`
    pub view: ViewKind,
    /// `pace=...`: be as slow as a device of so many operations per second
    pub pace: Option<f64>,
    /// `lang=en|de`
    pub language: Option<Language>,
    /// `keep=no`: keep nothing in this browser's storage
    pub keep: bool,
    /// `memory=...`: bytes that this device gives
    pub memory_bytes: Option<u64>,
    /// `medium=...`: bytes per second of the Wi-Fi that it shares with others
    pub medium_bytes_per_second: Option<f64>,
    /// `preset=...`, `steps=...`, `peers=...`, `data=...`, `source=...`, `codec=...`, `planning=...`, `arithmetic=...`
    pub run: RunWish,
    /// What could not be understood, in words.
    pub problems: Vec<String>,
}

/// For whom a room is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ViewKind {
    /// For one person, with all there is to press.
    #[default]
    Page,
    /// For a room full of people: large, without anything to press.
    Projector,
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// `/`: the form.
    Home,
    /// `/?create`: a new room at once.
    Create,
    /// A new room for a run that this device keeps something of.
    Resume(RoomCode),
    /// `/r/CODE`: a room.
    Room(RoomCode),
    /// `/r/SHORT`: a room whose host is asked first.
    Ask(ShortCode),
    /// `/r/` and something that is no code.
    Nowhere {
        /// Why not.
        reason: String,
    },
}

impl Address {
    /// Reads a path, the (decoded) pairs of a query, and a fragment. Never fails: what is not understood becomes a problem in words.
    pub fn read(
        path: &str,
        query: impl IntoIterator<Item = (String, String)>,
        fragment: &str,
    ) -> Self {
        let mut address = Self {
            place: place(path),
            secret: None,
            open: false,
            executor: Executor::default(),
            name: None,
            channels: Channels::default(),
            signalling: Signalling::default(),
            watch: false,
            join: false,
            view: ViewKind::default(),
            language: None,
            pace: None,
            keep: true,
            memory_bytes: None,
            medium_bytes_per_second: None,
            run: RunWish::default(),
            problems: Vec::new(),
        };
        for (name, value) in query {
            address.take(&name, &value);
        }
        match secret_of(fragment.trim_start_matches('#')) {
            Ok(secret) => address.secret = secret,
            Err(error) => {
                let problem = words::secret_unreadable(&error.to_string());
                address.problems.push(problem);
            }
        }
        address
    }

    /// What the worker is to enter; nothing at the form or where there is no room.
    pub fn entry(&self) -> Option<Entry> {
        match &self.place {
            Place::Create => Some(Entry::Create(self.run.clone())),
            Place::Resume(id) => Some(Entry::Resume {
                id: *id,
                peers: self.run.peers.unwrap_or(0),
            }),
            Place::Ask(code) => Some(Entry::Ask(*code)),
            Place::Room(_) => Some(Entry::Join(self.link()?)),
            Place::Home | Place::Nowhere { .. } => None,
        }
    }

    /// What leads into its room; none where it leads to none.
    pub fn link(&self) -> Option<RoomLink> {
        let Place::Room(room) = self.place else {
            return None;
        };
        let secret = self.secret;
        Some(RoomLink { room, secret })
    }

    /// The address that leads to the same room with the same settings of this device, to be shown in the browser's bar.
    pub fn to_reference(&self) -> String {
        let path = self.to_path_and_query();
        match self.link().and_then(|link| link.fragment()) {
            None => path,
            Some(fragment) => format!("{path}#{fragment}"),
        }
    }

    /// The part of it that the server sees.
    fn to_path_and_query(&self) -> String {
        let path = match &self.place {
            Place::Room(code) => format!("/r/{code}"),
            Place::Ask(code) => format!("/r/{code}"),
            Place::Home | Place::Create | Place::Resume(_) | Place::Nowhere { .. } => {
                "/".to_owned()
            }
        };
        let mut query = Vec::new();
        match self.executor {
            Executor::Auto => {}
            Executor::Gpu => query.push("executor=gpu".to_owned()),
            Executor::Cpu => query.push("executor=cpu".to_owned()),
        }
        match self.channels {
            Channels::Transfer => {}
            Channels::Post => query.push("channels=post".to_owned()),
        }
        match self.signalling {
            Signalling::Any => {}
            Signalling::Websocket => query.push("signalling=websocket".to_owned()),
            Signalling::Events => query.push("signalling=events".to_owned()),
        }
        if self.view == ViewKind::Projector {
            query.push("view=projector".to_owned());
        } else if self.watch {
            query.push("watch".to_owned());
        } else if self.join {
            query.push("join".to_owned());
        }
        let language = self.language.map(Language::tag);
        query.extend(language.map(|tag| format!("lang={tag}")));
        if !self.keep {
            query.push("keep=no".to_owned());
        }
        query.extend(self.pace.map(|pace| format!("pace={pace}")));
        query.extend(self.memory_bytes.map(|bytes| format!("memory={bytes}")));
        let medium = self.medium_bytes_per_second;
        query.extend(medium.map(|rate| format!("medium={rate}")));
        query.extend(
            self.name
                .as_deref()
                .map(|name| format!("name={}", escape(name))),
        );
        if query.is_empty() {
            path
        } else {
            format!("{path}?{}", query.join("&"))
        }
    }

    /// Takes one pair of the query. Names that are not ours are left alone.
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "create" if self.place == Place::Home && is_on(value) => self.place = Place::Create,
            "open" => self.open = is_on(value),
            "watch" => self.watch = is_on(value),
            "join" => self.join = is_on(value),
            "view" => match value {
                "page" => self.view = ViewKind::Page,
                "projector" => {
                    self.view = ViewKind::Projector;
                    self.watch = true;
                }
                _ => self.problem(name, value, "page or projector"),
            },
            "lang" => match Language::of_tag(value) {
                Some(language) => self.language = Some(language),
                None => self.problem(name, value, "en or de"),
            },
            "keep" => self.keep = is_on(value),
            "name" => self.name = readable_name(value),
            "executor" => match value {
                "auto" => self.executor = Executor::Auto,
                "gpu" => self.executor = Executor::Gpu,
                "cpu" => self.executor = Executor::Cpu,
                _ => self.problem(name, value, "auto, gpu or cpu"),
            },
            "channels" => match value {
                "transfer" => self.channels = Channels::Transfer,
                "post" => self.channels = Channels::Post,
                _ => self.problem(name, value, "transfer or post"),
            },
            "signalling" => match value {
                "any" => self.signalling = Signalling::Any,
                "websocket" => self.signalling = Signalling::Websocket,
                "events" => self.signalling = Signalling::Events,
                _ => self.problem(name, value, "any, websocket or events"),
            },
            "pace" => match value.parse() {
                Ok(pace) if f64::is_finite(pace) && pace > 0.0 => self.pace = Some(pace),
                _ => self.problem(name, value, "operations per second, such as 2e7"),
            },
            "memory" => match value.parse() {
                Ok(bytes) if bytes > 0 => self.memory_bytes = Some(bytes),
                _ => self.problem(name, value, "bytes, such as 500000000"),
            },
            "medium" => match value.parse() {
                Ok(rate) if f64::is_finite(rate) && rate >= 1.0 => {
                    self.medium_bytes_per_second = Some(rate);
                }
                _ => self.problem(name, value, "bytes per second, such as 6.75e6"),
            },
            _ => self.take_of_run(name, value),
        }
    }

    /// Takes what is said of the run.
    fn take_of_run(&mut self, name: &str, value: &str) {
        match name {
            "preset" => self.run.preset = Some(value.to_owned()),
            "data" => self.run.data = Some(value.to_owned()),
            "steps" => match value.parse() {
                Ok(steps) if steps > 0 => self.run.steps = Some(steps),
                _ => self.problem(name, value, "a number from 1"),
            },
            "peers" => match value.parse() {
                Ok(peers) => self.run.peers = Some(peers),
                Err(_) => self.problem(name, value, "a number from 0 to 65535"),
            },
            "source" => match value {
                "one" => self.run.source = Some(DataSource::One),
                "every" => self.run.source = Some(DataSource::Every),
                _ => self.problem(name, value, "one or every"),
            },
            "codec" => match value.parse() {
                Ok(codec) => self.run.codec = Some(codec),
                Err(_) => self.problem(name, value, "f32, f16, int8 or auto"),
            },
            "arithmetic" => match value.parse() {
                Ok(arithmetic) => self.run.arithmetic = Some(arithmetic),
                Err(_) => self.problem(name, value, "fused or portable"),
            },
            "planning" => match value {
                "measured" => self.run.planning = Some(Planning::Measured),
                "counted" => self.run.planning = Some(Planning::Counted),
                _ => self.problem(name, value, "measured or counted"),
            },
            _ => {}
        }
    }

    fn problem(&mut self, name: &str, value: &str, allowed: &str) {
        let value: String = value.chars().take(24).collect();
        self.problems
            .push(words::parameter_unreadable(name, &value, allowed));
    }
}

/// `?watch`, `?watch=1` and `?watch=true` mean yes.
fn is_on(value: &str) -> bool {
    !matches!(value, "0" | "false" | "no")
}

/// A name without control characters and blanks around it, unless nothing is left.
fn readable_name(value: &str) -> Option<String> {
    let name: String = value
        .chars()
        .filter(|c| !c.is_control())
        .take(NAME_CHARS_MAX)
        .collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Percent-encodes everything that is not a letter, a digit or one of `-._~` (RFC 3986, section 2.3).
fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}

fn place(path: &str) -> Place {
    match path.strip_prefix("/r/") {
        None => Place::Home,
        Some(code) => {
            let code = code.trim_end_matches('/');
            match (code.parse(), code.parse()) {
                (Ok(code), _) => Place::Room(code),
                (_, Ok(short)) => Place::Ask(short),
                (Err(error), Err(_)) => Place::Nowhere {
                    reason: error.to_string(),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringtmp_core::codec::CodecChoice;
    use ringtmp_peer::Arithmetic;

    const CODE: &str = "0123456789abcdef";

    fn read(path: &str, query: &[(&str, &str)]) -> Address {
        Address::read(
            path,
            query
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            "",
        )
    }

    #[test]
    fn a_bare_address_is_the_form() {
        let address = read("/", &[]);
        assert_eq!(address.place, Place::Home);
        assert_eq!(address.entry(), None);
    }

    #[test]
    fn a_room_address_joins_with_the_settings_it_names() {
        let path = format!("/r/{CODE}");
        let address = read(
            &path,
            &[
                ("executor", "cpu"),
                ("channels", "post"),
                ("memory", "500000000"),
                ("medium", "5e6"),
                ("watch", ""),
                ("name", " Ada's phone\n"),
            ],
        );
        assert_eq!(
            address.entry(),
            Some(Entry::Join(RoomLink::without_secret(
                CODE.parse().expect("a code")
            )))
        );
        assert_eq!(
            (address.executor, address.channels, address.watch),
            (Executor::Cpu, Channels::Post, true)
        );
        assert_eq!(
            (address.memory_bytes, address.medium_bytes_per_second),
            (Some(500_000_000), Some(5e6))
        );
        assert_eq!(address.name.as_deref(), Some("Ada's phone"));
        assert_eq!(address.problems, Vec::<String>::new());
    }

    #[test]
    fn a_secret_lies_behind_the_number_sign_where_no_server_sees_it() {
        let secret = "0123456789abcdefghjkmnpqrs";
        let (path, name) = (format!("/r/{CODE}"), ("name".to_owned(), "a".to_owned()));
        let address = Address::read(&path, [name], &format!("#secret={secret}"));
        let link = RoomLink {
            room: CODE.parse().expect("a code"),
            secret: Some(secret.parse().expect("a secret")),
        };
        assert_eq!(address.entry(), Some(Entry::Join(link)));
        let reference = address.to_reference();
        assert_eq!(reference, format!("{path}?name=a#secret={secret}"));
        assert!(!address.to_path_and_query().contains(secret));
        let short = Address::read(&path, [], "#secret=short");
        assert_eq!((short.secret, short.problems.len()), (None, 1));
        assert!(read("/", &[("create", ""), ("open", "")]).open);
    }

    #[test]
    fn a_short_code_leads_to_the_host_who_is_asked() {
        let address = read("/r/abc-234", &[]);
        let code = "ABC234".parse().expect("a short code");
        assert_eq!(address.entry(), Some(Entry::Ask(code)));
        assert_eq!(address.to_reference(), "/r/ABC234");
    }

    #[test]
    fn a_projector_only_watches_and_stays_one_after_a_reload() {
        let path = format!("/r/{CODE}");
        let address = read(&path, &[("view", "projector")]);
        assert!(address.watch && address.view == ViewKind::Projector);
        assert_eq!(
            address.to_path_and_query(),
            format!("{path}?view=projector")
        );
        let unreadable = read(&path, &[("view", "cinema"), ("lang", "xx")]);
        assert_eq!(unreadable.problems.len(), 2);
        let german = read(&path, &[("lang", "de")]);
        assert_eq!(german.to_path_and_query(), format!("{path}?lang=de"));
    }

    #[test]
    fn a_room_can_be_created_by_address() {
        let address = read(
            "/",
            &[
                ("steps", "40"),
                ("create", ""),
                ("peers", "2"),
                ("preset", "cnn"),
                ("data", "idx:/data"),
                ("codec", "int8"),
                ("planning", "counted"),
                ("arithmetic", "portable"),
                ("source", "every"),
            ],
        );
        let run = RunWish {
            preset: Some("cnn".to_owned()),
            data: Some("idx:/data".to_owned()),
            steps: Some(40),
            peers: Some(2),
            source: Some(DataSource::Every),
            codec: Some(CodecChoice::Int8),
            planning: Some(Planning::Counted),
            arithmetic: Some(Arithmetic::Portable),
        };
        assert_eq!(address.entry(), Some(Entry::Create(run)));
    }

    #[test]
    fn an_address_made_for_a_new_room_names_the_room_and_this_devices_settings() {
        let mut address = read(
            "/",
            &[
                ("create", ""),
                ("name", "Ä & b"),
                ("executor", "cpu"),
                ("signalling", "events"),
                ("steps", "5"),
            ],
        );
        address.place = Place::Room(CODE.parse().expect("a code"));
        assert_eq!(
            address.to_path_and_query(),
            format!("/r/{CODE}?executor=cpu&signalling=events&name=%C3%84%20%26%20b")
        );
        address.name = None;
        address.signalling = Signalling::Any;
        address.executor = Executor::Auto;
        assert_eq!(address.to_path_and_query(), format!("/r/{CODE}"));
    }

    #[test]
    fn what_is_not_understood_is_said_and_the_default_kept() {
        let address = read(
            "/",
            &[
                ("executor", "abacus"),
                ("steps", "0"),
                ("peers", "-1"),
                ("codec", "f8"),
                ("source", "none"),
                ("signalling", "smoke"),
                ("utm_source", "x"),
            ],
        );
        assert_eq!(address.problems.len(), 6);
        assert!(address.problems[0].contains("abacus"));
        assert_eq!(
            (address.executor, address.run),
            (Executor::Auto, RunWish::default())
        );
    }

    #[test]
    fn a_path_that_names_no_room_leads_nowhere() {
        let address = read("/r/nonsense", &[("create", "")]);
        assert!(matches!(address.place, Place::Nowhere { .. }));
        assert_eq!(address.entry(), None);
    }
}
