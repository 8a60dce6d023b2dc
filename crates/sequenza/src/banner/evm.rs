//! The banner of an EVM chain.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{Places, line};

/// Everything that the banner says.
#[derive(Clone, Debug)]
pub(crate) struct EvmBanner {
    pub(crate) chain_id: u64,
    /// When blocks are made, in words.
    pub(crate) blocks: String,
    pub(crate) head: u64,
    pub(crate) gas_limit: u64,
    /// Base fee of the next block in wei.
    pub(crate) base_fee: u64,
    pub(crate) data_dir: PathBuf,
    pub(crate) accounts: Vec<EvmAccount>,
    /// Of each account, in ether.
    pub(crate) balance: u64,
    /// The words that the accounts come from.
    pub(crate) mnemonic: String,
    pub(crate) places: Places,
    /// Where the Engine API is, when the chain is driven from outside.
    pub(crate) engine: Option<String>,
}

/// A development account.
#[derive(Clone, Debug)]
pub(crate) struct EvmAccount {
    pub(crate) address: String,
    pub(crate) private_key: String,
}

impl EvmBanner {
    /// The text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "Sequenza {}: an EVM chain", env!("CARGO_PKG_VERSION"))?;
        writeln!(text)?;
        self.accounts(text)?;
        self.places.lines(text)?;
        if let Some(engine) = &self.engine {
            line(text, "Engine API", &format!("{engine} (with a token)"))?;
        }
        line(text, "chain id", &self.chain_id.to_string())?;
        line(text, "blocks", &format!("{}, head is {}", self.blocks, self.head))?;
        line(text, "gas limit", &self.gas_limit.to_string())?;
        line(text, "base fee", &format!("{} wei", self.base_fee))?;
        line(text, "data", &self.data_dir.display().to_string())?;
        line(text, "durability", "transactions and blocks are on disk before they are acknowledged")?;
        if self.engine.is_some() {
            writeln!(
                text,
                "\n  Driven from outside: no block is made here but on the order of the Engine API's caller."
            )?;
        }
        if let Some(http) = &self.places.http {
            writeln!(text, "\nTry:\n")?;
            writeln!(text, "  curl -s {http} -H 'content-type: application/json' \\")?;
            writeln!(text, r#"    -d '{{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}}'"#)?;
        }
        writeln!(text)
    }

    fn accounts(&self, text: &mut String) -> std::fmt::Result {
        if self.accounts.is_empty() {
            return Ok(());
        }
        writeln!(text, "Accounts ({}, for development only: anyone can know these keys)\n", self.accounts.len())?;
        for (index, account) in self.accounts.iter().enumerate() {
            writeln!(text, "  ({index}) {} ({} ETH)", account.address, self.balance)?;
        }
        writeln!(text, "\nPrivate keys\n")?;
        for (index, account) in self.accounts.iter().enumerate() {
            writeln!(text, "  ({index}) {}", account.private_key)?;
        }
        writeln!(text, "\n  mnemonic     {}", self.mnemonic)?;
        writeln!(text, "  path         m/44'/60'/0'/0/\n")?;
        self.places.warning(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner() -> EvmBanner {
        EvmBanner {
            chain_id: 31_337,
            blocks: "one for each transaction".to_owned(),
            head: 0,
            gas_limit: 30_000_000,
            base_fee: 1_000_000_000,
            data_dir: PathBuf::from("/home/u/.local/share/sequenza/evm/31337"),
            accounts: vec![EvmAccount { address: "0xf39F".to_owned(), private_key: "0xac09".to_owned() }],
            balance: 10_000,
            mnemonic: "test test junk".to_owned(),
            places: Places { http: Some("http://127.0.0.1:8545".to_owned()), ..Places::default() },
            engine: None,
        }
    }

    #[test]
    fn who_comes_from_anvil_finds_everything_in_its_place() {
        insta::assert_snapshot!(banner().text(), @r#"
        Sequenza 0.1.0: an EVM chain

        Accounts (1, for development only: anyone can know these keys)

          (0) 0xf39F (10000 ETH)

        Private keys

          (0) 0xac09

          mnemonic     test test junk
          path         m/44'/60'/0'/0/

          HTTP         http://127.0.0.1:8545
          chain id     31337
          blocks       one for each transaction, head is 0
          gas limit    30000000
          base fee     1000000000 wei
          data         /home/u/.local/share/sequenza/evm/31337
          durability   transactions and blocks are on disk before they are acknowledged

        Try:

          curl -s http://127.0.0.1:8545 -H 'content-type: application/json' \
            -d '{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}'
        "#);
    }

    #[test]
    fn a_chain_driven_from_outside_says_so() {
        let text = EvmBanner { engine: Some("http://127.0.0.1:8551".to_owned()), ..banner() }.text();
        assert!(text.contains("Engine API   http://127.0.0.1:8551"), "{text}");
        assert!(text.contains("Driven from outside"), "{text}");
    }
}
