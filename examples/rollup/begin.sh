#!/bin/sh
# Writes genesis.json and rollup.json of a development rollup that begins on the newest block of an L1, here a local anvil.
# Usage: begin.sh [address of L1's JSON-RPC]. Needs curl and jq, and sequenza in the PATH or named by PROGRAM.
set -eu

l1=${1:-http://127.0.0.1:8545}
program=${PROGRAM:-sequenza}

block_of() {
    curl -sf "$1" -H 'content-type: application/json' \
        -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBlockByNumber\",\"params\":[\"$2\",false]}" | jq -e .result
}

first=$(block_of "$l1" latest)
time=$(printf '%d' "$(echo "$first" | jq -r .timestamp)")
number=$(printf '%d' "$(echo "$first" | jq -r .number)")

jq -n --argjson time "$time" '
    [ "homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg", "istanbul", "muirGlacier", "berlin",
      "london", "arrowGlacier", "grayGlacier", "mergeNetsplit", "bedrock" ] as $blocks |
    [ "shanghai", "cancun", "prague", "osaka", "regolith", "canyon", "delta", "ecotone", "fjord", "granite", "holocene", "isthmus",
      "jovian", "karst" ] as $times |
    { config: ({ chainId: 901, terminalTotalDifficulty: 0, terminalTotalDifficultyPassed: true,
                 optimism: { eip1559Elasticity: 6, eip1559Denominator: 50, eip1559DenominatorCanyon: 250 } }
               + ($blocks | map({ (. + "Block"): 0 }) | add) + ($times | map({ (. + "Time"): 0 }) | add)),
      timestamp: ($time | tostring), gasLimit: "0x1c9c380", difficulty: "0x0", baseFeePerGas: "0x3b9aca00",
      extraData: "0x0100000032000000060000000000000000",
      alloc: { "f39Fd6e51aad88F6F4ce6aB8827279cffFb92266": { balance: "0x21e19e0c9bab2400000" } } }' > genesis.json

# The hash of the rollup's first block, from a chain that is begun for the question alone.
asked=$(mktemp -d)
"$program" evm --genesis genesis.json --db-path "$asked/chain" --http-port 0 > "$asked/banner" 2> "$asked/log" &
chain=$!
trap 'kill "$chain" 2> /dev/null; wait "$chain" 2> /dev/null || true; rm -r "$asked"' EXIT
until place=$(grep -m1 -o 'http://127.0.0.1:[0-9]*' "$asked/banner"); do
    kill -0 "$chain" 2> /dev/null || { cat "$asked/log" >&2; exit 1; }
    sleep 0.1
done
hash=$(block_of "$place" 0x0 | jq -r .hash)

jq -n --argjson time "$time" --argjson number "$number" --arg l1 "$(echo "$first" | jq -r .hash)" --arg l2 "$hash" '
    def zeros(count): "0" * count;
    [ "regolith", "canyon", "delta", "ecotone", "fjord", "granite", "holocene", "isthmus", "jovian", "karst" ] as $forks |
    { genesis: { l1: { number: $number, hash: $l1 }, l2: { number: 0, hash: $l2 }, l2_time: $time,
        system_config: { batcherAddr: ("0x" + zeros(39) + "1"), overhead: ("0x" + zeros(64)), scalar: ("0x01" + zeros(62)),
          gasLimit: 30000000, eip1559Params: "0x0000003200000006" } },
      block_time: 1, max_sequencer_drift: 600, seq_window_size: 3600, channel_timeout: 300, l1_chain_id: 31337, l2_chain_id: 901,
      batch_inbox_address: ("0x" + zeros(39) + "2"), deposit_contract_address: ("0x" + zeros(38) + "d0"),
      l1_system_config_address: ("0x" + zeros(39) + "4") } + ($forks | map({ (. + "_time"): 0 }) | add)' > rollup.json

echo "genesis.json and rollup.json begin on L1 block $number"
