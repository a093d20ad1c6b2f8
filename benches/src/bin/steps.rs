//! A fixed amount of work in the gateway's own code, for counting instructions: `valgrind --tool=callgrind steps message 100`.
//!
//! The difference between two counts is the work itself, without the start.

use benches::stage::Stage;

fn main() -> anyhow::Result<()> {
    let usage = "usage: steps (sessions | message | fanout | scrape | scrape-gzip) ROUNDS";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, rounds] = arguments.as_slice() else { anyhow::bail!(usage) };
    let rounds: usize = rounds.parse()?;
    let done = match what.as_str() {
        "sessions" => {
            Stage::new(rounds)?;
            rounds as u64
        }
        "message" => {
            let mut stage = Stage::new(100)?;
            for _ in 0..rounds {
                stage.everyone_writes();
            }
            stage.delivered()
        }
        "fanout" => {
            let mut stage = Stage::new(1001)?;
            stage.everyone_joins("dev");
            for _ in 0..rounds {
                stage.first_writes_to("dev", 8);
            }
            stage.delivered()
        }
        "scrape" | "scrape-gzip" => {
            let mut stage = Stage::new(100)?;
            let headers = if what == "scrape" { "" } else { "Accept-Encoding: gzip\r\n" };
            (0..rounds).map(|_| stage.scrape(headers) as u64).sum()
        }
        _ => anyhow::bail!(usage),
    };
    println!("{what}: {done}");
    Ok(())
}
