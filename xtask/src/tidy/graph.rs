//! Who may depend on whom (ARCHITECTURE.md, "Floors").
//!
//! What a manifest names is judged by floors. What a pure room brings along is judged on its own tree, as cargo resolves
//! it for that room alone: there a dependency that arrives through three others counts as much as one written down, and
//! a feature that some other room switches on does not count.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::Breach;
use crate::steps::Root;

/// The floor of every room. Dependencies point down; rooms on one floor do not know each other.
const FLOORS: [(&str, u8); 17] = [
    ("types", 0),
    ("sequencer", 1),
    ("mempool", 1),
    ("optimism", 1),
    ("trie", 1),
    ("store", 2),
    ("node", 2),
    ("starknet", 3),
    ("evm", 3),
    ("engine", 3),
    ("l1", 3),
    ("p2p", 3),
    ("rpc", 3),
    ("operator", 3),
    ("sequenza", 4),
    // The simulator stands outside the house and looks at the heart alone.
    ("sim", 2),
    ("fuzz", 5),
];

/// Neighbours on one floor that may know each other: the first may use the second.
const NEIGHBOURS: [(&str, &str); 1] = [("node", "store")];

/// The first is tested against the second: a client of the Engine API against our own server of it.
const DRIVEN_IN_TESTS: [(&str, &str); 1] = [("engine", "evm")];

/// Packages that talk to the finished program from outside and therefore need no room.
const OUTSIDE: [&str; 3] = ["bench", "tests", "xtask"];

/// Rooms that decide and compute: no clock, no threads, no network, no disk, no machine of any chain.
pub(super) const PURE: [&str; 5] = ["types", "sequencer", "mempool", "optimism", "trie"];

/// What a pure room may not reach, directly or through others. A name stands for itself and for `name-*` and `name_*`.
const FORBIDDEN_TO_PURE: [&str; 24] = [
    "tokio",
    "async-std",
    "smol",
    "libp2p",
    "discv5",
    "jsonrpsee",
    "hyper",
    "axum",
    "reqwest",
    "tower",
    "fjall",
    "redb",
    "rocksdb",
    "heed",
    "rusqlite",
    "blockifier",
    "starknet_api",
    "cairo-vm",
    "revm",
    "op-revm",
    // Where time and threads come from.
    "rayon",
    "crossbeam",
    "chrono",
    "tracing-subscriber",
];

/// Where randomness comes from. The simulator may draw a seed; the heart may not.
const RANDOMNESS: &str = "getrandom";

/// Where `rand` itself may stand in the tree (as a library's dependency for its own generators) but not be used by us.
const NOT_DIRECTLY_IN_PURE: [&str; 4] = ["rand", "rand_chacha", "fastrand", "parking_lot"];

/// Names that say nothing about what is inside.
pub(super) const NAMES_OF_DRAWERS: [&str; 7] = ["common", "util", "utils", "helper", "helpers", "shared", "misc"];

/// Every breach of the rules in `graph`.
pub(super) fn check(graph: &Graph) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for package in graph.ours() {
        breaches.extend(name(package));
        for (target, kind) in graph.direct(package) {
            breaches.extend(dependency(package, target, kind));
        }
    }
    for (package, ways) in &graph.brought {
        breaches.extend(ways.iter().filter_map(|way| reaches_forbidden(package, way)));
    }
    breaches
}

fn place(package: &str) -> String {
    format!("package {package}")
}

/// A room has a known floor and a name that tells something.
fn name(package: &str) -> Option<Breach> {
    if NAMES_OF_DRAWERS.contains(&package) {
        return Some(Breach::new(place(package), "a package must be named after what it knows, not after a drawer"));
    }
    if floor(package).is_none() && !OUTSIDE.contains(&package) {
        let complaint = "stands on no floor: give it one in ARCHITECTURE.md and in xtask/src/tidy/graph.rs";
        return Some(Breach::new(place(package), complaint));
    }
    None
}

/// One of our packages names `target` in its manifest.
fn dependency(package: &str, target: &str, kind: Kind) -> Vec<Breach> {
    let breach = |complaint: String| vec![Breach::new(place(package), complaint)];
    if kind != Kind::Test && PURE.contains(&package) && NOT_DIRECTLY_IN_PURE.contains(&target) {
        return breach(format!("is pure and must not use {target}"));
    }
    let Some(target_floor) = floor(target) else {
        if OUTSIDE.contains(&target) {
            return breach(format!("depends on {target}, which only looks at the program from outside"));
        }
        return Vec::new();
    };
    match (target, kind) {
        ("sequenza", _) => return breach("depends on the binary; nothing may".to_owned()),
        ("sim", Kind::Test) => return Vec::new(),
        ("sim", _) => return breach("depends on sim; only tests may".to_owned()),
        _ => {}
    }
    if package == target && kind == Kind::Test {
        // A room's own tests may ask for one of its features.
        return Vec::new();
    }
    match floor(package) {
        None => breach(format!("looks at the program from outside and must not depend on the room {target}")),
        Some(_) if NEIGHBOURS.contains(&(package, target)) => Vec::new(),
        Some(_) if kind == Kind::Test && DRIVEN_IN_TESTS.contains(&(package, target)) => Vec::new(),
        Some(own) if target_floor >= own => breach(format!(
            "is on floor {own} and depends on {target} on floor {target_floor}; dependencies point down"
        )),
        Some(_) => Vec::new(),
    }
}

/// One way from a pure room to something that it must not reach.
fn reaches_forbidden(package: &str, way: &[String]) -> Option<Breach> {
    let reached = way.last()?;
    let forbidden = FORBIDDEN_TO_PURE.iter().any(|forbidden| is_family(reached, forbidden));
    let random = PURE.contains(&package) && is_family(reached, RANDOMNESS);
    (forbidden || random).then(|| Breach::new(place(package), format!("must not reach {}", way.join(" → "))))
}

/// `tokio-util` is of the family `tokio`; `tokiox` is not.
fn is_family(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

fn floor(package: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == package).map(|(_, floor)| *floor)
}

/// Why a package is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Part of the program.
    Program,
    /// Runs while building; counts like the program.
    Build,
    /// Only for tests.
    Test,
}

/// Which package names which, and what each pure room brings along.
#[derive(Default)]
pub(super) struct Graph {
    ours: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<(String, Kind)>>,
    /// For each pure room (and the simulator) the first way to everything that it brings into the program.
    brought: BTreeMap<String, Vec<Vec<String>>>,
}

impl Graph {
    /// Asks cargo for the graph as it resolves on this machine.
    pub(super) fn read(root: &Root) -> anyhow::Result<Graph> {
        let metadata = answer(root.cargo(["metadata", "--format-version", "1", "--locked"]))?;
        let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata printed something else")?;
        let mut graph = metadata.into_graph();
        for room in PURE.into_iter().chain(["sim"]).filter(|room| graph.ours.contains(*room)) {
            let tree =
                ["tree", "--locked", "--edges", "no-dev", "--prefix", "depth", "--format", "{p}", "--package", room];
            graph.brought.insert(room.to_owned(), ways(&answer(root.cargo(tree))?));
        }
        Ok(graph)
    }

    fn ours(&self) -> impl Iterator<Item = &str> {
        self.ours.iter().map(String::as_str)
    }

    fn direct(&self, package: &str) -> impl Iterator<Item = (&str, Kind)> {
        self.edges.get(package).into_iter().flatten().map(|(target, kind)| (target.as_str(), *kind))
    }
}

/// The first way to each package in the output of `cargo tree --prefix depth`, whose lines are `2serde v1.0.0 (*)`.
fn ways(tree: &str) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut way: Vec<String> = Vec::new();
    let mut ways = Vec::new();
    for line in tree.lines() {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let (depth, package) = line.split_at(digits);
        let (Ok(depth), Some(name)) = (depth.parse::<usize>(), package.split(' ').next()) else { continue };
        way.truncate(depth);
        way.push(name.to_owned());
        if depth > 0 && seen.insert(name.to_owned()) {
            ways.push(way.clone());
        }
    }
    ways
}

/// What a cargo command prints, or why it failed.
fn answer(mut command: std::process::Command) -> anyhow::Result<String> {
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("cargo printed something else than text")
}

/// The part of `cargo metadata` that we read.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    fn into_graph(self) -> Graph {
        let names: BTreeMap<_, _> = self.packages.into_iter().map(|package| (package.id, package.name)).collect();
        let ours = self.workspace_members.iter().filter_map(|id| names.get(id).cloned()).collect();
        let mut edges: BTreeMap<String, BTreeSet<(String, Kind)>> = BTreeMap::new();
        for node in &self.resolve.nodes {
            for dependency in &node.deps {
                let (Some(from), Some(to)) = (names.get(&node.id), names.get(&dependency.pkg)) else { continue };
                let kinds = dependency.dep_kinds.iter().map(|kind| match kind.kind.as_deref() {
                    Some("dev") => Kind::Test,
                    Some("build") => Kind::Build,
                    _ => Kind::Program,
                });
                edges.entry(from.clone()).or_default().extend(kinds.map(|kind| (to.clone(), kind)));
            }
        }
        Graph { ours, edges, brought: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Graph, Kind, check, ways};

    /// A workspace of `ours` with the given edges.
    fn planted(ours: &[&str], edges: &[(&str, &str, Kind)]) -> Vec<String> {
        let mut graph = Graph { ours: ours.iter().map(|name| (*name).to_owned()).collect(), ..Graph::default() };
        for (from, to, kind) in edges {
            graph.edges.entry((*from).to_owned()).or_default().insert(((*to).to_owned(), *kind));
        }
        check(&graph).iter().map(ToString::to_string).collect()
    }

    /// A workspace with one package whose `cargo tree` is `tree`.
    fn planted_tree(package: &str, tree: &str) -> Vec<String> {
        let brought = [(package.to_owned(), ways(tree))].into();
        check(&Graph { brought, ..Graph::default() }).iter().map(ToString::to_string).collect()
    }

    fn assert_one(breaches: &[String], part: &str) {
        assert!(matches!(breaches, [only] if only.contains(part)), "expected one breach with {part:?}: {breaches:?}");
    }

    #[test]
    fn a_house_in_order_has_no_breach() {
        let breaches = planted(
            &["types", "sequencer", "store", "node", "starknet", "sequenza", "sim", "tests", "xtask"],
            &[
                ("sequencer", "types", Kind::Program),
                ("sequencer", "proptest", Kind::Test),
                ("proptest", "getrandom", Kind::Program),
                ("node", "store", Kind::Program),
                ("node", "tokio", Kind::Program),
                ("node", "node", Kind::Test),
                ("starknet", "blockifier", Kind::Program),
                ("sequenza", "starknet", Kind::Program),
                ("sim", "sequencer", Kind::Program),
                ("sequencer", "sim", Kind::Test),
                ("tests", "reqwest", Kind::Test),
            ],
        );
        assert_eq!(breaches, Vec::<String>::new());
    }

    #[test]
    fn an_upward_dependency_is_a_breach() {
        assert_one(&planted(&["types", "node"], &[("types", "node", Kind::Program)]), "dependencies point down");
    }

    #[test]
    fn a_backend_that_knows_the_transport_is_a_breach() {
        assert_one(&planted(&["starknet", "rpc"], &[("starknet", "rpc", Kind::Program)]), "dependencies point down");
        assert_one(&planted(&["starknet", "rpc"], &[("rpc", "starknet", Kind::Program)]), "dependencies point down");
    }

    #[test]
    fn a_client_meets_our_own_server_in_its_tests_alone() {
        let meet = |kind| planted(&["engine", "evm"], &[("engine", "evm", kind)]);
        assert_eq!(meet(Kind::Test), Vec::<String>::new());
        assert_one(&meet(Kind::Program), "dependencies point down");
        assert_one(&planted(&["engine", "evm"], &[("evm", "engine", Kind::Test)]), "dependencies point down");
    }

    #[test]
    fn only_node_may_know_its_neighbour() {
        assert_one(&planted(&["store", "node"], &[("store", "node", Kind::Program)]), "dependencies point down");
    }

    #[test]
    fn a_pure_room_that_reaches_a_runtime_is_a_breach() {
        let tree = "0mempool v0.1.0 (x)\n1a v1.0.0\n2b v2.0.0\n1innocent v1.2.3\n2tokio-util v0.7.0\n3tokiox v1.0.0\n";
        assert_one(&planted_tree("mempool", tree), "mempool → innocent → tokio-util");
    }

    #[test]
    fn every_forbidden_crate_is_noticed() {
        for forbidden in super::FORBIDDEN_TO_PURE {
            assert_one(&planted_tree("trie", &format!("0trie v0.1.0\n1{forbidden} v1.0.0\n")), forbidden);
        }
    }

    #[test]
    fn a_pure_room_that_rolls_dice_is_a_breach() {
        let tree = "0{}\n1rand v0.9.0\n2getrandom v0.3.0\n";
        assert_one(&planted_tree("trie", &tree.replace("{}", "trie v0.1.0")), "trie → rand → getrandom");
        assert_eq!(planted_tree("sim", &tree.replace("{}", "sim v0.1.0")), Vec::<String>::new());
        assert_one(&planted(&["sequencer"], &[("sequencer", "rand", Kind::Program)]), "must not use rand");
    }

    #[test]
    fn depending_on_the_binary_is_a_breach() {
        assert_one(&planted(&["tests", "sequenza"], &[("tests", "sequenza", Kind::Test)]), "depends on the binary");
    }

    #[test]
    fn only_tests_may_depend_on_the_simulator() {
        assert_one(&planted(&["node", "sim"], &[("node", "sim", Kind::Program)]), "only tests may");
    }

    #[test]
    fn what_looks_from_outside_needs_no_room() {
        assert_one(&planted(&["bench", "starknet"], &[("bench", "starknet", Kind::Program)]), "from outside");
        assert_one(&planted(&["node", "bench"], &[("node", "bench", Kind::Test)]), "from outside");
    }

    #[test]
    fn a_package_without_a_floor_or_with_an_empty_name_is_a_breach() {
        assert_one(&planted(&["attic"], &[]), "stands on no floor");
        assert_one(&planted(&["util"], &[]), "drawer");
    }
}
