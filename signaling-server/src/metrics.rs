//! What the server counts, as Prometheus (OpenMetrics) text.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use ringtmp_core::lobby::Statistics;
use std::fmt;
use tokio::sync::watch;

/// The type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters of the sockets, and the registry that also shows the lobby's.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    /// Sockets cut because they did not read.
    pub(crate) slow_readers: Counter,
    /// Sockets cut because they said nothing.
    pub(crate) silent: Counter,
    /// Requests and connections refused because their address had as many as one may.
    pub(crate) address_refused: Counter,
    /// Sockets that asked for nothing, cut to make room.
    pub(crate) idle_cut: Counter,
    /// Sockets cut because they did nothing but ping.
    pub(crate) floods: Counter,
    /// Signalling connections over events and posts.
    pub(crate) event_streams: Counter,
    /// Sockets turned away because the server had no place for them.
    pub(crate) turned_away: Counter,
}

impl Metrics {
    pub(crate) fn new(lobby: watch::Receiver<Statistics>) -> Self {
        let mut registry = Registry::with_prefix("ringtmp");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let slow_readers = counter(
            "slow_readers_cut",
            "Connections cut because they did not read",
        );
        let silent = counter(
            "silent_cut",
            "Connections cut because they said nothing, not even to pings",
        );
        let turned_away = counter(
            "turned_away",
            "Connections turned away because the server was full",
        );
        let address_refused = counter(
            "address_refused",
            "Requests and connections refused because their address had as many as one may",
        );
        let idle_cut = counter(
            "idle_cut",
            "HTTP sockets that asked for nothing, cut to make room for others",
        );
        let floods = counter(
            "ping_floods_cut",
            "Connections cut because they sent more pings than anybody needs",
        );
        let event_streams = counter(
            "event_streams",
            "Signalling connections ever opened over server-sent events and posts",
        );
        registry.register_collector(Box::new(LobbyCollector(lobby)));
        Self {
            registry,
            slow_readers,
            silent,
            turned_away,
            address_refused,
            idle_cut,
            floods,
            event_streams,
        }
    }

    /// The text to be scraped.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Reads the lobby's figures when they are asked for.
#[derive(Debug)]
struct LobbyCollector(watch::Receiver<Statistics>);

impl Collector for LobbyCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let statistics = self.0.borrow();
        let gauges = [
            ("rooms", "Rooms open now", statistics.rooms),
            ("members", "Members in all rooms now", statistics.members),
            ("connections", "Connections now", statistics.connections),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("messages", "Messages received", statistics.messages_total),
            (
                "relayed",
                "Messages passed from member to member",
                statistics.relayed_total,
            ),
            ("refusals", "Refusals sent", statistics.refusals_total),
            (
                "rooms_created",
                "Rooms ever opened",
                statistics.rooms_created_total,
            ),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        Ok(())
    }
}
