//! A gateway to which everything happens that it counts.

use crate::driver::{Client, Folder, Gateway, Raw, upgrade_request};
use std::io::Write as _;
use std::net::TcpListener;

pub(crate) struct Scenario {
    gateway: Option<Gateway>,
    folder: Folder,
    /// Takes connections and never answers.
    provider: TcpListener,
    /// Expositions from moments at which something was to be seen.
    pub(crate) seen: Vec<String>,
}

impl Scenario {
    pub(crate) fn start() -> Scenario {
        let provider = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut scenario =
            Scenario { gateway: None, folder: Folder::new("metrics"), provider, seen: Vec::new() };
        scenario.begin();
        scenario
    }

    fn begin(&mut self) {
        let url = format!("http://{}/", self.provider.local_addr().unwrap());
        let flags = ["--data-dir", self.folder.path(), "--push-url", &url, "--push-timeout", "1s"];
        let limits = ["--ack-timeout", "2s", "--max-messages-per-second", "100", "--push-interval", "1ms"];
        let breaker =
            ["--loss-breaker", "50%", "--loss-breaker-min-events", "10", "--loss-breaker-open-for", "1h"];
        self.gateway = Some(Gateway::start(&[&flags[..], &limits, &breaker].concat()));
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    fn look(&mut self) {
        self.seen.push(self.gateway().exposition().0);
    }

    pub(crate) fn run(&mut self) {
        self.refuse();
        self.talk();
        self.lose();
        self.gateway().hang_up();
        self.gateway().wait_for("im_gateway_config_reloads_total{part=\"keys\",result=\"ok\"}", 1.0);
        self.gateway().wait_until("process_cpu_seconds_total", |seconds| seconds > 0.0);
        self.look();
        self.gateway.take().unwrap().kill();
        self.begin();
        self.gateway().wait_until("im_gateway_messages_recovered_total", |count| count > 0.0);
        self.look();
    }

    /// Requests that come to nothing, and one that never ends.
    fn refuse(&mut self) {
        assert_eq!(self.gateway().get("/nowhere").0, 404);
        let (_, head) = Raw::ask(self.gateway(), &upgrade_request("/ws?token=bad", ""));
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        let mut half = self.gateway().connect();
        half.write_all(b"GET /he").unwrap();
        self.gateway().wait_until("http_requests_in_flight", |requests| requests == 2.0);
        self.look();
    }

    /// Messages to a user, to two devices, to a group, twice, to nobody, and one that is not acknowledged.
    fn talk(&mut self) {
        let gateway = self.gateway();
        let mut al = Client::connect(gateway, "al", "phone");
        let mut bob = [Client::connect(gateway, "bob", "phone"), Client::connect(gateway, "bob", "laptop")];
        bob[0].join("dev");
        al.join("dev");
        for (id, to) in [("m-1", "user:bob"), ("m-1", "user:bob"), ("m-2", "user:bob"), ("m-3", "group:dev")]
        {
            al.confirmed(id, to);
        }
        for device in &mut bob {
            // The group's come another way.
            let mut ids = device.take(3);
            ids.sort_unstable();
            assert_eq!(ids, ["m-1", "m-2", "m-3"]);
        }
        al.confirmed("m-4", "user:absent");
        gateway.wait_for("im_gateway_push_queue_size", 1.0);
        al.confirmed("m-5", "user:bob");
        self.look();
        let gateway = self.gateway();
        gateway.wait_until("im_gateway_ack_timeout_total", |count| count > 0.0);
        gateway.wait_until("im_gateway_push_notifications_total{result=\"failed\"}", |count| count > 0.0);
        self.look();
    }

    /// Deliveries are lost until the breaker opens, and then messages are sent until the rate limit is met.
    fn lose(&mut self) {
        let gateway = self.gateway();
        let mut al = Client::connect(gateway, "al", "phone");
        assert_eq!(gateway.ask("POST", "/test/failure-rate?rate=1", "").status, 200);
        let refused = |code: &'static str, client: &mut Client| {
            for k in 0.. {
                if client.ask(&format!("{code}-{k}"), "user:al")["code"] == code {
                    return;
                }
            }
        };
        refused("circuit_open", &mut al);
        for k in 0..300 {
            al.send(&format!("burst-{k}"), "user:al");
        }
        al.next_where(|frame| frame["code"] == "rate_limited");
    }
}
