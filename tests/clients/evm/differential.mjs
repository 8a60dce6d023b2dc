// The same transactions, one after the other, on this chain and on anvil: what comes of each is the same on both.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';

import { encodeDeployData, encodeFunctionData, getContractAddress, keccak256, pad, toHex } from 'viem';

import { accounts, clients, described, eventually, landed, token } from './world.mjs';

const COUNT = Number(process.env.SEQUENZA_TEST_COUNT ?? 150);
const SEED = Number(process.env.SEQUENZA_TEST_SEED ?? Date.now() % 2 ** 31);
console.log(`seed ${SEED}: run again with SEQUENZA_TEST_SEED=${SEED}`);

/** Numbers that look random and come again with the seed (a linear congruential generator, constants of Numerical Recipes). */
let state = SEED >>> 0;
const below = (limit) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * limit);
};
const pick = (list) => list[below(list.length)];

const port = await new Promise((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});
const program = fileURLToPath(new URL('../node_modules/.bin/anvil', import.meta.url));
// Its own tip of one gwei and fixed gas price are wallets' affairs; what is sent says its fees.
const anvil = spawn(program, ['--port', String(port), '--silent', '--hardfork', 'osaka'], { stdio: 'ignore' });
process.on('exit', () => anvil.kill());

const [ours, theirs] = [clients(described.rpc), clients(`http://127.0.0.1:${port}`)];
await eventually('anvil', () => theirs.open.getChainId().catch(() => undefined));
const both = [ours, theirs];

const { abi, bytecode } = token();
const nonces = new Map(accounts.map(({ address }) => [address, 0]));
const tokens = [];
let failures = 0;

/** Sends the same signed bytes to both and compares everything that came of it. */
async function same(account, transaction) {
  const nonce = nonces.get(account.address);
  const signed = await account.signTransaction({
    chainId: 31_337,
    type: 'eip1559',
    nonce,
    maxFeePerGas: 20_000_000_000n,
    maxPriorityFeePerGas: BigInt(below(3)) * 500_000_000n,
    ...transaction,
  });
  const sent = await Promise.all(both.map(({ open }) => open.sendRawTransaction({ serializedTransaction: signed }).then(() => undefined, (error) => error)));
  assert.equal(sent[0] === undefined, sent[1] === undefined, `one took it, one did not: ${sent}`);
  if (sent[0]) {
    failures += 1;
    return undefined;
  }
  nonces.set(account.address, nonce + 1);
  const hash = keccak256(signed);
  const [a, b] = await Promise.all(both.map((chain) => landed(chain, hash)));
  const told = (receipt) => ({
    status: receipt.status,
    gasUsed: receipt.gasUsed,
    cumulativeGasUsed: receipt.cumulativeGasUsed,
    effectiveGasPrice: receipt.effectiveGasPrice,
    contractAddress: receipt.contractAddress?.toLowerCase(),
    from: receipt.from,
    to: receipt.to,
    type: receipt.type,
    index: receipt.transactionIndex,
    block: receipt.blockNumber,
    bloom: receipt.logsBloom,
    logs: receipt.logs.map(({ address, topics, data, logIndex }) => ({ address, topics, data, logIndex })),
  });
  assert.deepEqual(told(a), told(b), `transaction ${hash} of ${account.address}, nonce ${nonce}`);
  if (a.status !== 'success') failures += 1;
  return a;
}

async function deploy(account) {
  const receipt = await same(account, { gas: 1_500_000n, data: encodeDeployData({ abi, bytecode, args: [1_000_000n] }) });
  tokens.push(receipt.contractAddress);
}

const call = (functionName, args = []) => ({ data: encodeFunctionData({ abi, functionName, args }), gas: 120_000n });
const moves = [
  (who) => same(who, { to: pick(accounts).address, value: BigInt(below(1_000_000)), gas: 21_000n }),
  (who) => same(who, { to: toHex(below(5) + 1_000, { size: 20 }), value: 1n, gas: 21_000n }),
  (who) => same(who, { to: pick(tokens), ...call('transfer', [pick(accounts).address, BigInt(below(1_000))]) }),
  (who) => same(who, { to: pick(tokens), ...call('approve', [pick(accounts).address, BigInt(below(1_000))]) }),
  (who) => same(who, { to: pick(tokens), ...call('transferFrom', [pick(accounts).address, who.address, BigInt(below(100))]) }),
  (who) => deploy(who),
  // Those that fail: too much, nonsense, out of gas in a call and in a create, invalid code, gas below the least, too poor.
  (who) => same(who, { to: pick(tokens), ...call('transfer', [pick(accounts).address, 10n ** 30n]) }),
  (who) => same(who, { to: pick(tokens), data: '0xdeadbeef', gas: 60_000n }),
  (who) => same(who, { to: pick(tokens), ...call('burn'), gas: 200_000n }),
  (who) => same(who, { gas: 120_000n, data: encodeDeployData({ abi, bytecode, args: [1n] }) }),
  (who) => same(who, { gas: 100_000n, data: '0xfe' }),
  (who) => same(who, { to: pick(accounts).address, value: 1n, gas: 20_000n }),
  (who) => same(who, { to: pick(accounts).address, value: 10n ** 30n, gas: 21_000n }),
];

await deploy(accounts[0]);
for (let count = 0; count < COUNT; count += 1) await pick(moves)(pick(accounts));
assert.ok(failures >= COUNT * 0.3, `only ${failures} of ${COUNT} failed: the dice are loaded`);

const told = async ({ open }) => ({
  height: await open.getBlockNumber(),
  accounts: await Promise.all(
    [...accounts.map(({ address }) => address), ...tokens].map(async (address) => ({
      address,
      balance: await open.getBalance({ address }),
      nonce: await open.getTransactionCount({ address }),
      code: await open.getCode({ address }),
    })),
  ),
  storage: await Promise.all(
    tokens.flatMap((address) =>
      accounts.map((holder) => {
        // The slot of `balanceOf[holder]`: keccak of the key and of the mapping's place, 0.
        const slot = keccak256(`${pad(holder.address)}${'0'.repeat(64)}`);
        return open.getStorageAt({ address, slot });
      }),
    ),
  ),
  logs: (await open.getLogs({ fromBlock: 0n })).map(({ address, topics, data, logIndex, blockNumber }) => ({ address, topics, data, logIndex, blockNumber })),
});
const [a, b] = await Promise.all(both.map(told));
assert.deepEqual(a, b);
assert.equal(tokens[0].toLowerCase(), getContractAddress({ from: accounts[0].address, nonce: 0n }).toLowerCase());
// What would be, without sending it: the same on both as well, but for the height: anvil's first block has that of the block below. It takes no
// calls that create contracts either.
const calls = [
  { account: accounts[1].address, to: accounts[2].address, value: 5n },
  { account: accounts[1].address, to: tokens[0], ...call('transfer', [accounts[3].address, 10n ** 30n]) },
  { account: accounts[0].address, to: tokens[0], ...call('transfer', [accounts[3].address, 1n]) },
];
const poor = toHex(77_777, { size: 20 });
const wished = {
  blocks: [
    { calls, stateOverrides: [{ address: poor, balance: 1_000n }] },
    { calls: [{ account: poor, to: accounts[2].address, value: 999n }] },
  ],
  traceTransfers: true,
};
const simulated = async ({ open }) =>
  (await open.simulateBlocks(wished)).map(({ gasUsed, calls }) => ({
    gasUsed,
    calls: calls.map(({ status, gasUsed, data, logs }) => ({
      status,
      gasUsed,
      data,
      logs: logs?.map(({ address, topics, data }) => ({ address, topics, data })),
    })),
  }));
const [wouldBe, wouldBeThere] = await Promise.all(both.map(simulated));
assert.deepEqual(wouldBe, wouldBeThere);
console.log(`${COUNT} transactions, ${failures} of them failing, ${a.height} blocks, ${a.logs.length} logs: the same`);
process.exit(0);
