//! What a newcomer sees first. On stdout; pure text out of plain values.

mod evm;
mod rollup;

use std::fmt::Write as _;
use std::path::PathBuf;

pub(crate) use self::evm::{EvmAccount, EvmBanner};
pub(crate) use self::rollup::RollupBanner;

/// Everything that the banner says.
#[derive(Clone, Debug)]
pub(crate) struct Banner {
    pub(crate) chain_id: String,
    pub(crate) protocol: String,
    pub(crate) block_time: String,
    pub(crate) empty_blocks: bool,
    pub(crate) fees: bool,
    pub(crate) head: u64,
    pub(crate) data_dir: PathBuf,
    pub(crate) accounts: Vec<Account>,
    pub(crate) places: Places,
    /// Settings that came by a name of Juno's.
    pub(crate) from_juno: usize,
}

/// Where the process can be reached: full addresses, each with its scheme, or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) http: Option<String>,
    pub(crate) websocket: Option<String>,
    pub(crate) metrics: Option<String>,
    pub(crate) health: Option<String>,
    /// Listeners that others on the network can reach.
    pub(crate) exposed: Vec<String>,
}

impl Places {
    fn lines(&self, text: &mut String) -> std::fmt::Result {
        let endpoints = [
            ("HTTP", &self.http),
            ("WebSocket", &self.websocket),
            ("health", &self.health),
            ("metrics", &self.metrics),
        ];
        for (name, address) in endpoints {
            if let Some(address) = address {
                line(text, name, address)?;
            }
        }
        Ok(())
    }

    /// Loud, because keys that anyone can know are in others' reach.
    fn warning(&self, text: &mut String) -> std::fmt::Result {
        if self.exposed.is_empty() {
            return Ok(());
        }
        let places = self.exposed.join(", ");
        writeln!(text, "  ************************************************************************")?;
        writeln!(text, "  WARNING: others on the network can reach {places},")?;
        writeln!(text, "  and the keys above are public: whoever connects can spend these accounts.")?;
        writeln!(text, "  Listen on 127.0.0.1, or use --accounts 0 and a genesis of your own.")?;
        writeln!(text, "  ************************************************************************\n")
    }
}

fn line(text: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(text, "  {name:<12} {value}")
}

/// A development account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) address: String,
    pub(crate) public_key: String,
    pub(crate) private_key: String,
    /// In each fee token, smallest unit; 0 when a genesis file does not say.
    pub(crate) balance: u128,
}

/// One STRK or ETH in the smallest unit.
const UNIT: u128 = 1_000_000_000_000_000_000;

impl Banner {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "Sequenza {}: a Starknet chain", env!("CARGO_PKG_VERSION"))?;
        writeln!(text)?;
        self.accounts(text)?;
        self.places.lines(text)?;
        line(text, "chain id", &self.chain_id)?;
        line(text, "protocol", &format!("Starknet {}, JSON-RPC 0.10.2", self.protocol))?;
        let fees = if self.fees { "charged in STRK" } else { "off" };
        line(text, "fees", fees)?;
        let empty = if self.empty_blocks { "" } else { " with transactions" };
        line(text, "blocks", &format!("one each {}{empty}, head is {}", self.block_time, self.head))?;
        line(text, "data", &self.data_dir.display().to_string())?;
        line(text, "durability", "transactions and blocks are on disk before they are acknowledged")?;
        if self.from_juno > 0 {
            line(text, "settings", &format!("imported {} from Juno", self.from_juno))?;
        }
        if let Some(http) = &self.places.http {
            writeln!(text, "\nTry:\n")?;
            writeln!(text, "  curl -s {http} -H 'content-type: application/json' \\")?;
            writeln!(text, r#"    -d '{{"jsonrpc":"2.0","id":1,"method":"starknet_blockNumber"}}'"#)?;
        }
        writeln!(text)
    }

    fn accounts(&self, text: &mut String) -> std::fmt::Result {
        if self.accounts.is_empty() {
            return Ok(());
        }
        writeln!(text, "Accounts ({}, for development only: anyone can know these keys)\n", self.accounts.len())?;
        for (index, account) in self.accounts.iter().enumerate() {
            let held = if account.balance == 0 { String::new() } else { format!("  {}", balance(account.balance)) };
            writeln!(text, "  #{index}  {}{held}", account.address)?;
            writeln!(text, "      private {}", account.private_key)?;
            writeln!(text, "      public  {}", account.public_key)?;
        }
        writeln!(text)?;
        self.places.warning(text)
    }
}

/// An amount as people say it.
fn balance(amount: u128) -> String {
    if amount.is_multiple_of(UNIT) {
        format!("{} STRK and ETH", amount / UNIT)
    } else {
        format!("{amount} FRI and WEI")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner() -> Banner {
        Banner {
            chain_id: "SN_SEPOLIA".to_owned(),
            protocol: "0.14.3".to_owned(),
            block_time: "2s".to_owned(),
            empty_blocks: true,
            fees: true,
            head: 0,
            data_dir: PathBuf::from("/home/u/.local/share/sequenza/starknet/SN_SEPOLIA"),
            accounts: vec![Account {
                address: "0x1".to_owned(),
                public_key: "0x2".to_owned(),
                private_key: "0x3".to_owned(),
                balance: 10_000 * UNIT,
            }],
            places: Places {
                http: Some("http://127.0.0.1:6060".to_owned()),
                websocket: Some("ws://127.0.0.1:6060/ws".to_owned()),
                metrics: Some("http://127.0.0.1:6060/metrics".to_owned()),
                health: Some("http://127.0.0.1:6060/readyz".to_owned()),
                exposed: Vec::new(),
            },
            from_juno: 0,
        }
    }

    #[test]
    fn a_newcomer_sees_everything_needed() {
        insta::assert_snapshot!(banner().text(), @r#"
        Sequenza 0.1.0: a Starknet chain

        Accounts (1, for development only: anyone can know these keys)

          #0  0x1  10000 STRK and ETH
              private 0x3
              public  0x2

          HTTP         http://127.0.0.1:6060
          WebSocket    ws://127.0.0.1:6060/ws
          health       http://127.0.0.1:6060/readyz
          metrics      http://127.0.0.1:6060/metrics
          chain id     SN_SEPOLIA
          protocol     Starknet 0.14.3, JSON-RPC 0.10.2
          fees         charged in STRK
          blocks       one each 2s, head is 0
          data         /home/u/.local/share/sequenza/starknet/SN_SEPOLIA
          durability   transactions and blocks are on disk before they are acknowledged

        Try:

          curl -s http://127.0.0.1:6060 -H 'content-type: application/json' \
            -d '{"jsonrpc":"2.0","id":1,"method":"starknet_blockNumber"}'
        "#);
    }

    #[test]
    fn keys_that_others_can_reach_are_warned_about_loudly() {
        let exposed = Banner {
            places: Places { exposed: vec!["0.0.0.0:6060".to_owned()], ..Places::default() },
            from_juno: 10,
            ..banner()
        };
        let text = exposed.text();
        assert!(text.contains("WARNING: others on the network can reach 0.0.0.0:6060"));
        assert!(text.contains("imported 10 from Juno"));
        let no_keys = Banner { accounts: Vec::new(), ..exposed };
        assert!(!no_keys.text().contains("WARNING"));
    }

    #[test]
    fn odd_balances_are_not_rounded() {
        assert_eq!(balance(UNIT), "1 STRK and ETH");
        assert_eq!(balance(UNIT + 1), "1000000000000000001 FRI and WEI");
    }
}
