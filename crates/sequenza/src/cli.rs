//! The command line: commands, flags out of the table of settings, link names.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{ChainKind, Fallback, Kind, Setting};
use crate::exit;

/// What the user asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// Run a chain.
    Run(Given),
    /// Print the settings that a chain would run with.
    ConfigShow(Given),
    /// Decide a recorded run anew.
    Replay { journal: PathBuf },
    /// Ask a running process why no block is being built.
    Why { url: Option<String>, json: bool },
    /// Check a data folder that no process uses.
    Verify(Given),
    /// Print a shell's completion script.
    Completions(clap_complete::Shell),
    /// Compile a class read from stdin, within limits. Called by the node itself.
    CompileClass(Vec<String>),
    /// A command of a later release.
    NotYet(&'static str),
}

/// Flags as written, and the file of settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Given {
    pub(crate) chain: ChainKind,
    pub(crate) flags: Vec<(String, String)>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) as_juno: bool,
}

/// Commands that are named so that nobody wonders, and refused until they work.
pub(crate) const NOT_YET: [(&str, &str); 2] =
    [("committee", "Sequence in a committee"), ("operator", "Set up and run a committee member")];

const CONFIG_FILE: &str = "config";
const VERBOSITY: &str = "verbosity";
const LONG_ABOUT: &str = "Sequenza sequences rollups.\n\n\
    `sequenza starknet` runs a Starknet chain alone: a block each --seq-block-time, JSON-RPC 0.10.2 on \
    http://127.0.0.1:6060, funded accounts printed at the start, everything kept in a data folder.\n\n\
    `sequenza evm` runs an EVM chain alone: a block for each transaction or each --block-time, Ethereum's JSON-RPC on \
    http://127.0.0.1:8545, anvil's accounts, everything kept in a data folder.\n\n\
    `sequenza node` sequences an OP Stack chain: it cites L1, and drives an execution engine or the embedded EVM chain.\n\n\
    Called through a link named `juno` or `kona-node` it takes that program's command line as it is.";

/// Reads the command line of the process.
///
/// # Errors
/// What clap has to say: help and version as well as faults.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, clap::Error> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = link_name(arguments.first().map_or(OsStr::new(""), OsString::as_os_str));
    match name {
        Some("juno") => arguments.insert(1, "starknet".into()),
        Some("kona-node") => subcommand_first(&mut arguments),
        Some("aztec-spartan") => return Ok(Asked::NotYet("operator")),
        _ => {}
    }
    if let Some(command) = not_yet(&arguments) {
        return Ok(Asked::NotYet(command));
    }
    let matches = command().try_get_matches_from(&arguments)?;
    let as_juno = name == Some("juno");
    Ok(match matches.subcommand() {
        Some(("starknet", flags)) => Asked::Run(given(ChainKind::Starknet, flags, as_juno)),
        Some(("evm", flags)) => Asked::Run(given(ChainKind::Evm, flags, false)),
        Some(("node", flags)) => Asked::Run(given(ChainKind::Node, flags, false)),
        Some(("verify", flags)) => Asked::Verify(of_either(flags, as_juno)),
        Some(("config", of)) => match of.subcommand() {
            Some((_, flags)) => Asked::ConfigShow(of_either(flags, as_juno)),
            None => Asked::ConfigShow(Given::default()),
        },
        Some(("replay", of)) => {
            Asked::Replay { journal: of.get_one::<PathBuf>("journal").cloned().unwrap_or_default() }
        }
        Some(("why", of)) => Asked::Why { url: of.get_one::<String>("url").cloned(), json: of.get_flag("json") },
        Some(("completions", of)) => Asked::Completions(
            of.get_one::<clap_complete::Shell>("shell").copied().unwrap_or(clap_complete::Shell::Bash),
        ),
        Some(("compile-class", of)) => {
            Asked::CompileClass(of.get_many::<String>("arguments").unwrap_or_default().cloned().collect())
        }
        // clap demands a command, so there is no other case; the first refusal is as good as any.
        Some(_) | None => Asked::NotYet("committee"),
    })
}

/// The names through which the program takes another one's place.
fn link_name(program: &OsStr) -> Option<&'static str> {
    let stem = Path::new(program).file_stem()?.to_str()?;
    ["juno", "kona-node", "aztec-spartan"].into_iter().find(|name| *name == stem)
}

/// kona-node takes some flags in front of its command too.
fn subcommand_first(arguments: &mut [OsString]) {
    if let Some(at) = arguments.iter().skip(1).position(|argument| argument == "node") {
        arguments[1..=at + 1].rotate_right(1);
    }
}

/// A later release's command, whatever follows it.
fn not_yet(arguments: &[OsString]) -> Option<&'static str> {
    let first = arguments.get(1)?.to_str()?;
    NOT_YET.iter().map(|(name, _)| *name).find(|name| *name == first)
}

/// A command that takes the settings of any chain: Starknet's at once, another's after its word.
fn of_either(matches: &ArgMatches, as_juno: bool) -> Given {
    match matches.subcommand() {
        Some(("evm", flags)) => given(ChainKind::Evm, flags, false),
        Some(("node", flags)) => given(ChainKind::Node, flags, false),
        Some((_, flags)) => given(ChainKind::Starknet, flags, as_juno),
        None => given(ChainKind::Starknet, matches, as_juno),
    }
}

fn given(chain: ChainKind, matches: &ArgMatches, as_juno: bool) -> Given {
    let mut flags: Vec<(String, String)> = Vec::new();
    let refused = chain.refused().iter().map(|refused| refused.flag);
    let names = chain.settings().map(|setting| setting.key).chain(refused);
    for name in names {
        if let Ok(Some(value)) = matches.try_get_one::<String>(name) {
            flags.push((name.to_owned(), value.clone()));
        }
    }
    if let Ok(Some(count @ 1..)) = matches.try_get_one::<u8>(VERBOSITY) {
        flags.push(("log-level".to_owned(), count.to_string()));
    }
    let file = matches.try_get_one::<PathBuf>(CONFIG_FILE).ok().flatten().cloned();
    Given { chain, flags, file, as_juno }
}

/// The whole command line, for parsing, help and completions.
pub(crate) fn command() -> Command {
    let mut sequenza = Command::new("sequenza")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .about("Sequenza sequences rollups")
        .long_about(LONG_ABOUT)
        .after_long_help(exit::table())
        .after_help("`sequenza help` and `sequenza starknet --help` say more; exit codes are in docs/exit-codes.md")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args_override_self(true)
        .subcommand(chain(ChainKind::Starknet).about("Run a Starknet chain").after_long_help(exit::table()))
        .subcommand(chain(ChainKind::Evm).about("Run an EVM chain").after_long_help(exit::table()))
        .subcommand(node())
        .subcommand(why())
        .subcommand(replay())
        .subcommand(of_chains(
            "verify",
            "Check a data folder: log, blocks, and the state root from scratch",
            &[ChainKind::Starknet, ChainKind::Evm],
        ))
        .subcommand(config())
        .subcommand(completions())
        .subcommand(compile_class());
    for (name, about) in NOT_YET {
        sequenza = sequenza.subcommand(Command::new(name).about(format!("{about} (not in this version)")));
    }
    sequenza
}

fn why() -> Command {
    let url = Arg::new("url").long("url").value_name("URL").help(
        "Where the process answers [default: http://127.0.0.1:9545 (node), then :6060 (starknet), then :8545 (evm)]",
    );
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Answer with one JSON object");
    let about = "Ask a running process why no block is being built, and what to do";
    let long = format!(
        "{about}.\n\nIt is asked for its health (/readyz), and one sentence is printed: that blocks come, or why not and what to do. \
         Exit code {} says that they do not come, {} that nobody answers.",
        exit::Exit::NotReady.code(),
        exit::Exit::Silent.code(),
    );
    Command::new("why").about(about).long_about(long).args([url, json])
}

fn replay() -> Command {
    let journal = Arg::new("journal")
        .value_name("JOURNAL")
        .value_parser(clap::value_parser!(PathBuf))
        .required(true)
        .help("A file, or the folder of them, out of the data folder's journal");
    Command::new("replay").about("Decide a recorded run anew and say whether it agrees").arg(journal)
}

fn config() -> Command {
    let show = of_chains("show", "Print each setting of a chain, its value and where it comes from", &ChainKind::ALL);
    Command::new("config").about("Settings").subcommand_required(true).arg_required_else_help(true).subcommand(show)
}

fn completions() -> Command {
    let shell = Arg::new("shell")
        .value_name("SHELL")
        .value_parser(clap::value_parser!(clap_complete::Shell))
        .required(true)
        .help("bash, zsh, fish, elvish or powershell");
    Command::new("completions").about("Print a completion script").arg(shell)
}

fn compile_class() -> Command {
    let arguments = Arg::new("arguments").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
    Command::new(starknet::compiler::COMMAND).hide(true).arg(arguments)
}

fn chain(chain: ChainKind) -> Command {
    with_settings(Command::new(chain.command()), chain)
}

fn node() -> Command {
    let verbosity = Arg::new(VERBOSITY)
        .short('v')
        .action(ArgAction::Count)
        .help("As kona-node counts: -v logs errors, -vvv what --log-level=info does, -vvvvv all");
    let about = "Sequence an OP Stack chain, as kona-node in its mode Sequencer";
    chain(ChainKind::Node).about(about).arg(verbosity).after_long_help(exit::table())
}

/// A command about a chain's folder or settings; without a word for the chain, a Starknet one.
fn of_chains(name: &'static str, about: &'static str, kinds: &[ChainKind]) -> Command {
    let plain = with_settings(Command::new(name).about(about), ChainKind::Starknet);
    kinds.iter().fold(plain, |command, &kind| {
        command.subcommand(chain(kind).about(format!("The same for `sequenza {}`", kind.command())))
    })
}

fn with_settings(command: Command, chain: ChainKind) -> Command {
    let file = Arg::new(CONFIG_FILE)
        .long(CONFIG_FILE)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .env("SEQUENZA_CONFIG")
        .hide_env(true)
        .help("Settings from a TOML file: each key is a flag's name [env: SEQUENZA_CONFIG]");
    let command = command.arg(file).args(chain.settings().map(|setting| argument(setting, chain)));
    command.args(chain.refused().iter().map(|refused| {
        let arg = Arg::new(refused.flag).long(refused.flag).hide(true);
        if refused.switch { as_switch(arg) } else { arg.action(ArgAction::Set).num_args(1) }
    }))
}

fn argument(setting: &Setting, chain: ChainKind) -> Arg {
    let default = match setting.default {
        Fallback::Is(text) => text,
        Fallback::Computed(words) => words,
    };
    let help = format!("{} [default: {default}] [env: {}]", setting.help, setting.variable());
    let arg = Arg::new(setting.key).long(setting.key).help_heading(setting.group).help(help);
    let mut arg = arg.visible_aliases(chain.aliases(setting));
    if let Some(letter) = chain.letter(setting) {
        arg = arg.short(letter);
    }
    match setting.kind {
        Kind::Switch => as_switch(arg),
        Kind::Value(word) => arg.value_name(word).action(ArgAction::Set).num_args(1).allow_hyphen_values(true),
    }
}

/// `--flag`, `--flag=true`, `--flag=false`. A value must hang on the sign, as in Juno.
fn as_switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_name("true|false")
        .hide_possible_values(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, clap::error::ErrorKind> {
        read(line.split_whitespace().map(OsString::from)).map_err(|error| error.kind())
    }

    fn flags(line: &str) -> Vec<(String, String)> {
        match asked(line) {
            Ok(Asked::Run(given)) => given.flags,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn both_command_lines_of_juno_are_read() {
        let line = "--http --http-port=6060 --http-host=0.0.0.0 --db-path=./seq-db-tmp --log-level=debug --seq-enable \
                    --seq-block-time=1 --network sequencer --disable-l1-verification --rpc-call-max-steps=4123000";
        let read = flags(&format!("sequenza starknet {line}"));
        assert_eq!(read.len(), 10);
        assert!(read.contains(&("http".to_owned(), "true".to_owned())));
        assert!(read.contains(&("network".to_owned(), "sequencer".to_owned())));
        let with_genesis = format!("{line} --seq-genesis-file ./genesis/genesis_prefund_accounts.json");
        assert_eq!(flags(&format!("sequenza starknet {with_genesis}")).len(), 11);
        assert_eq!(flags(&format!("/usr/bin/juno {with_genesis}")).len(), 11);
        assert!(matches!(asked("juno --http"), Ok(Asked::Run(Given { as_juno: true, .. }))));
    }

    #[test]
    fn switches_take_a_value_only_with_an_equals_sign_and_the_last_one_counts() {
        assert_eq!(flags("s starknet --http=false"), [("http".to_owned(), "false".to_owned())]);
        assert_eq!(flags("s starknet --http --http=false"), [("http".to_owned(), "false".to_owned())]);
        assert_eq!(asked("s starknet --http false"), Err(clap::error::ErrorKind::UnknownArgument));
        // What clap cannot judge is left to `resolve`, which tells all faults at once.
        assert_eq!(flags("s starknet --accounts -1"), [("accounts".to_owned(), "-1".to_owned())]);
    }

    #[test]
    fn unknown_flags_and_commands_are_refused() {
        use clap::error::ErrorKind::{InvalidSubcommand, UnknownArgument};
        assert_eq!(asked("s starknet --htp"), Err(UnknownArgument));
        assert_eq!(asked("s starket"), Err(InvalidSubcommand));
        assert_eq!(asked("s"), Err(clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand));
    }

    #[test]
    fn commands_of_later_releases_are_known_and_refused_whatever_follows() {
        for line in ["s committee", "s operator start"] {
            assert!(matches!(asked(line), Ok(Asked::NotYet(_))), "{line}");
        }
        assert_eq!(asked("aztec-spartan config"), Ok(Asked::NotYet("operator")));
        assert!(command().render_long_help().to_string().contains("(not in this version)"));
    }

    #[test]
    fn whoever_asks_why_may_say_whom_and_how() {
        assert_eq!(asked("s why"), Ok(Asked::Why { url: None, json: false }));
        let url = Some("http://h:1".to_owned());
        assert_eq!(asked("s why --url http://h:1 --json"), Ok(Asked::Why { url, json: true }));
        assert_eq!(asked("s why now"), Err(clap::error::ErrorKind::UnknownArgument));
    }

    #[test]
    fn command_lines_of_anvil_are_read() {
        let read = flags("sequenza evm -p 1 --host 0.0.0.0 -a 3 --block-time 0.5 --init g.json --fork-url http://x");
        let keys: Vec<_> = read.iter().map(|(key, text)| format!("{key}={text}")).collect();
        for pair in ["http-port=1", "http-host=0.0.0.0", "accounts=3", "block-time=0.5", "genesis=g.json"] {
            assert!(keys.iter().any(|key| key == pair), "{pair}: {keys:?}");
        }
        assert_eq!(read.len(), 6);
        assert!(
            matches!(asked("s config show evm --chain-id 5"), Ok(Asked::ConfigShow(given)) if given.chain == ChainKind::Evm)
        );
        assert!(
            matches!(asked("s verify --db-path x"), Ok(Asked::Verify(given)) if given.chain == ChainKind::Starknet)
        );
        assert_eq!(asked("s evm --seq-block-time 1"), Err(clap::error::ErrorKind::UnknownArgument));
    }

    #[test]
    fn command_lines_of_kona_node_are_read_by_either_name() {
        let line = "--mode Sequencer --l1 http://l1 --l1-beacon=http://b --l2 http://e --l2.jwt-secret jwt.hex --rollup-cfg r.json \
                    --rpc.port 9 --sequencer.l1-confs 2 --sequencer.stopped -c 10";
        let expected = [
            ("mode", "Sequencer"),
            ("l1-eth-rpc", "http://l1"),
            ("l2-engine-rpc", "http://e"),
            ("l2-engine-jwt-secret", "jwt.hex"),
            ("l2-config-file", "r.json"),
            ("port", "9"),
            ("sequencer.stopped", "true"),
            ("chain", "10"),
        ];
        for start in ["sequenza node", "/x/kona-node node", "kona-node -vvvv node"] {
            let read = flags(&format!("{start} {line}"));
            for (key, text) in expected {
                assert!(read.contains(&(key.to_owned(), text.to_owned())), "{start}: {key}: {read:?}");
            }
            assert_eq!(read.len(), 10 + usize::from(start.contains("-v")), "{start}: {read:?}");
        }
        assert_eq!(flags("s node --p2p.no-discovery"), [("p2p.no-discovery".to_owned(), "true".to_owned())]);
        assert_eq!(asked("kona-node registry"), Err(clap::error::ErrorKind::InvalidSubcommand));
    }

    #[test]
    fn refused_flags_of_juno_are_read_so_that_they_can_be_named() {
        assert_eq!(flags("s starknet --eth-node ws://x"), [("eth-node".to_owned(), "ws://x".to_owned())]);
        assert_eq!(flags("s starknet --pprof"), [("pprof".to_owned(), "true".to_owned())]);
    }
}
