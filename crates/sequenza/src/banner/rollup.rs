//! The banner of a rollup's sequencer.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{Places, line};

/// Everything that the banner says.
#[derive(Clone, Debug)]
pub(crate) struct RollupBanner {
    pub(crate) chain_id: u64,
    pub(crate) l1_chain_id: u64,
    /// Between two blocks, in words.
    pub(crate) block_time: String,
    pub(crate) head: u64,
    /// Whether it builds from the start.
    pub(crate) active: bool,
    /// Where the conductor is and how many other sequencers are read, if it does not run alone.
    pub(crate) conductor: Option<(String, usize)>,
    pub(crate) confirmations: u64,
    pub(crate) l1_endpoints: usize,
    /// Where blocks are executed, in words.
    pub(crate) engine: String,
    /// Whether callers may start and stop it.
    pub(crate) admin: bool,
    /// Whether callers need a token.
    pub(crate) token: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) places: Places,
}

impl RollupBanner {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "Sequenza {}: the sequencer of a rollup\n", env!("CARGO_PKG_VERSION"))?;
        self.places.lines(text)?;
        line(text, "chain id", &self.chain_id.to_string())?;
        line(text, "blocks", &format!("one each {}, head is {}", self.block_time, self.head))?;
        let deep = self.confirmations;
        let endpoints =
            if self.l1_endpoints == 1 { "1 endpoint".to_owned() } else { format!("{} endpoints", self.l1_endpoints) };
        line(text, "L1", &format!("chain {}, {endpoints}, cited {deep} blocks below its head", self.l1_chain_id))?;
        line(text, "engine", &self.engine)?;
        if let Some((place, peers)) = &self.conductor {
            let peers = if *peers == 1 { "1 peer".to_owned() } else { format!("{peers} peers") };
            line(text, "conductor", &format!("{place}, {peers}"))?;
        }
        line(text, "data", &self.data_dir.display().to_string())?;
        if !self.active {
            let how = if self.conductor.is_some() {
                "the conductor starts it, once it is the leader"
            } else if self.admin {
                "admin_startSequencer starts it"
            } else {
                "start it again without --sequencer.stopped"
            };
            writeln!(text, "\n  Stopped: it builds nothing; {how}.")?;
        }
        if self.admin && !self.places.exposed.is_empty() {
            let places = self.places.exposed.join(", ");
            writeln!(
                text,
                "\n  Others on the network can reach {places}; who has a token may stop the sequencer there."
            )?;
        }
        if self.token {
            writeln!(text, "\n  Calls need a token of --rpc.jwt-secret; health and metrics do not.")?;
        } else if let Some(http) = &self.places.http {
            writeln!(text, "\nTry:\n")?;
            writeln!(text, "  curl -s {http} -H 'content-type: application/json' \\")?;
            writeln!(text, r#"    -d '{{"jsonrpc":"2.0","id":1,"method":"optimism_syncStatus","params":[]}}'"#)?;
        }
        writeln!(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_starts_it() {
        let banner = RollupBanner {
            chain_id: 901,
            l1_chain_id: 31_337,
            block_time: "2s".to_owned(),
            head: 7,
            active: false,
            conductor: Some(("http://127.0.0.1:8547".to_owned(), 2)),
            confirmations: 4,
            l1_endpoints: 1,
            engine: "http://127.0.0.1:8551".to_owned(),
            admin: true,
            token: false,
            data_dir: PathBuf::from("/d"),
            places: Places::default(),
        };
        let text = banner.text();
        assert!(text.contains("conductor    http://127.0.0.1:8547, 2 peers"), "{text}");
        assert!(text.contains("Stopped: it builds nothing; the conductor starts it, once it is the leader."), "{text}");
    }

    #[test]
    fn it_says_what_is_cited_where_blocks_are_made_and_who_may_stop_it() {
        let banner = RollupBanner {
            chain_id: 901,
            l1_chain_id: 31_337,
            block_time: "2s".to_owned(),
            head: 7,
            active: false,
            conductor: None,
            confirmations: 4,
            l1_endpoints: 2,
            engine: "http://127.0.0.1:8551".to_owned(),
            admin: true,
            token: true,
            data_dir: PathBuf::from("/d/sequenza/node/901"),
            places: Places {
                http: Some("http://127.0.0.1:9545".to_owned()),
                exposed: vec!["0.0.0.0:9545".to_owned()],
                ..Places::default()
            },
        };
        insta::assert_snapshot!(banner.text(), @r#"
        Sequenza 0.1.0: the sequencer of a rollup

          HTTP         http://127.0.0.1:9545
          chain id     901
          blocks       one each 2s, head is 7
          L1           chain 31337, 2 endpoints, cited 4 blocks below its head
          engine       http://127.0.0.1:8551
          data         /d/sequenza/node/901

          Stopped: it builds nothing; admin_startSequencer starts it.

          Others on the network can reach 0.0.0.0:9545; who has a token may stop the sequencer there.

          Calls need a token of --rpc.jwt-secret; health and metrics do not.

        "#);
    }
}
