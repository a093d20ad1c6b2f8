//! What is measured: a row of the table is one kind of work, at several servers.

use benches::bare::Mode;

/// A server under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Server {
    /// The gateway as it is used: im.v1, tokens, ACKs.
    Gateway,
    /// `gateway --echo`.
    GatewayEcho,
    /// The same, connections steered to shards on the CPU where they arrive.
    GatewaySteered,
    /// The bare protocol on the gateway's shards.
    Wire,
    /// uWebSockets.
    Uws,
    /// tokio-tungstenite.
    Tungstenite,
    /// The same with a flush for each message, as most of its users write it.
    TungsteniteEager,
    /// tokio-websockets.
    TokioWebsockets,
}

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Gateway => "gateway im.v1",
            Server::GatewayEcho => "gateway --echo",
            Server::GatewaySteered => "gateway --echo, steered",
            Server::Wire => "our shards, bare",
            Server::Uws => "uWebSockets",
            Server::Tungstenite => "tungstenite",
            Server::TungsteniteEager => "tungstenite, each flushed",
            Server::TokioWebsockets => "tokio-websockets",
        }
    }
}

/// What the clients do once all are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    Hold,
    /// Each has so many messages out and sends another for each that comes back.
    Echo { depth: u32 },
    /// Each sends to its neighbour, the next when the last was confirmed.
    Route,
    /// One sends to all others, so many at once.
    Fanout { in_flight: u64 },
}

/// What is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Messages received by clients for each second of the server's CPU time.
    PerCpuSecond,
    /// Connects per second, to the last one's readiness.
    ConnectsPerSecond,
    /// The server's private memory for each connection, bytes.
    BytesPerConnection,
    /// Messages received by clients per second, server and clients on all cores.
    PerSecond,
}

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    pub(crate) connections: u32,
    /// Of the generator, and of the gateway if it is not one core's row.
    pub(crate) threads: usize,
    /// Server on CPU 0, generator on CPU 1; else the server on all, and the generator's threads one on each.
    pub(crate) is_pinned: bool,
    pub(crate) figure: Figure,
    pub(crate) servers: &'static [Server],
}

impl Row {
    /// What a server of the bare protocol must do.
    pub(crate) fn mode(&self) -> Mode {
        match self.work {
            Work::Hold | Work::Echo { .. } => Mode::Echo,
            Work::Route => Mode::Route,
            Work::Fanout { .. } => Mode::Fanout,
        }
    }

    pub(crate) fn at_most(mut self, connections: u32) -> Row {
        self.connections = self.connections.min(connections);
        self
    }
}

const ECHO: &[Server] = &[Server::GatewayEcho, Server::Uws, Server::Tungstenite, Server::TokioWebsockets];
const BARE: &[Server] =
    &[Server::Wire, Server::Gateway, Server::Uws, Server::Tungstenite, Server::TokioWebsockets];

const FANOUT: &[Server] = &[
    Server::Wire,
    Server::Gateway,
    Server::Uws,
    Server::Tungstenite,
    Server::TungsteniteEager,
    Server::TokioWebsockets,
];

/// All rows, in the order of DESIGN.md section 10.
pub(crate) fn all() -> Vec<Row> {
    let row = |name, work, connections, servers| Row {
        name,
        work,
        connections,
        threads: 1,
        is_pinned: true,
        figure: Figure::PerCpuSecond,
        servers,
    };
    vec![
        row("echo", Work::Echo { depth: 1 }, 1000, ECHO),
        row("echo-depth-16", Work::Echo { depth: 16 }, 1000, ECHO),
        row("route", Work::Route, 1000, BARE),
        row("fanout-1", Work::Fanout { in_flight: 1 }, 1001, BARE),
        row("fanout-8", Work::Fanout { in_flight: 8 }, 1001, FANOUT),
        Row {
            figure: Figure::PerSecond,
            threads: 2,
            is_pinned: false,
            ..row(
                "echo-two-cores",
                Work::Echo { depth: 1 },
                1000,
                &[Server::GatewayEcho, Server::GatewaySteered],
            )
        },
        Row {
            figure: Figure::BytesPerConnection,
            is_pinned: false,
            ..row(
                "idle",
                Work::Hold,
                18_000,
                &[
                    Server::Gateway,
                    Server::GatewayEcho,
                    Server::Uws,
                    Server::Tungstenite,
                    Server::TokioWebsockets,
                ],
            )
        },
        Row {
            figure: Figure::ConnectsPerSecond,
            threads: 6,
            is_pinned: false,
            ..row("connect-100k", Work::Hold, 100_000, &[Server::Gateway])
        },
        Row {
            figure: Figure::ConnectsPerSecond,
            threads: 2,
            is_pinned: false,
            ..row(
                "connect-18k",
                Work::Hold,
                18_000,
                &[Server::Gateway, Server::GatewayEcho, Server::Uws, Server::Tungstenite],
            )
        },
    ]
}

pub(crate) fn names() -> String {
    all().iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}
