// A token is deployed, called and watched: receipts, logs, filters, subscriptions, fees of type 2, and an account that lends its code.

import assert from 'node:assert/strict';

import { createPublicClient, parseEther, parseEventLogs, webSocket } from 'viem';
import { foundry } from 'viem/chains';

import { accounts, clients, described, eventually, token } from './world.mjs';

const { open, wallet } = clients(described.rpc);
const [alice, bob, carol] = accounts;
const { abi, bytecode } = token();
const supply = parseEther('1000');
const landed = (hash) => open.waitForTransactionReceipt({ hash });

// A token, and what calling it says.
const deployed = await landed(await wallet(alice).deployContract({ abi, bytecode, args: [supply] }));
assert.equal(deployed.status, 'success');
const address = deployed.contractAddress;
const read = (functionName, args, blockNumber) => open.readContract({ abi, address, functionName, args, blockNumber });
assert.equal(await read('totalSupply', []), supply);
assert.ok((await open.getCode({ address })).length > 100);

// Subscriptions and a filter see the transfer that follows.
const socket = createPublicClient({ chain: foundry, transport: webSocket(described.ws) });
const [heads, seen] = [[], []];
const stopHeads = socket.watchBlocks({ onBlock: (block) => heads.push(block) });
const stopLogs = socket.watchContractEvent({ abi, address, eventName: 'Transfer', onLogs: (logs) => seen.push(...logs) });
const filter = await open.createContractEventFilter({ abi, address, eventName: 'Transfer', args: { to: bob.address } });
await new Promise((resolve) => setTimeout(resolve, 300));

const amount = parseEther('3');
const hash = await wallet(alice).writeContract({
  abi,
  address,
  functionName: 'transfer',
  args: [bob.address, amount],
  maxFeePerGas: 5_000_000_000n,
  maxPriorityFeePerGas: 1_000_000_000n,
});
const receipt = await landed(hash);
assert.equal(receipt.type, 'eip1559');
const block = await open.getBlock({ blockNumber: receipt.blockNumber, includeTransactions: true });
assert.equal(block.transactions[0].hash, hash);
assert.equal(receipt.effectiveGasPrice, block.baseFeePerGas + 1_000_000_000n);
assert.equal(block.gasUsed, receipt.gasUsed);
const [event] = parseEventLogs({ abi, logs: receipt.logs });
assert.deepEqual(event.args, { from: alice.address, to: bob.address, value: amount });
assert.equal(await read('balanceOf', [bob.address]), amount);
assert.equal(await read('balanceOf', [bob.address], receipt.blockNumber - 1n), 0n, 'the past stays as it was');

await eventually('the head over the WebSocket', () => (heads.some(({ hash }) => hash === block.hash) ? true : undefined));
await eventually('the log over the WebSocket', () => (seen.some((log) => log.transactionHash === hash) ? true : undefined));
stopHeads();
stopLogs();
assert.deepEqual((await open.getFilterChanges({ filter })).map((log) => log.transactionHash), [hash]);
assert.deepEqual(await open.getFilterChanges({ filter }), [], 'told once');
assert.equal((await open.getLogs({ address, fromBlock: 0n })).length, 2);
assert.equal(await open.uninstallFilter({ filter }), true);

// What fails costs gas, changes nothing else and says why.
const tooMuch = { abi, address, functionName: 'transfer', args: [carol.address, supply] };
await assert.rejects(open.simulateContract({ ...tooMuch, account: bob }), /Insufficient/);
const failed = await landed(await wallet(bob).writeContract({ ...tooMuch, gas: 100_000n }));
assert.equal(failed.status, 'reverted');
assert.equal(failed.logs.length, 0);
assert.equal(await read('balanceOf', [carol.address]), 0n);
assert.equal(await open.getTransactionCount({ address: bob.address }), 1);

// An account lends its code (EIP-7702): sent by one, signed by another.
const authorization = await wallet(carol).signAuthorization({ contractAddress: address });
const lent = await landed(
  await wallet(alice).sendTransaction({ authorizationList: [authorization], to: carol.address, data: '0x18160ddd' }),
);
assert.equal(lent.status, 'success');
assert.equal(lent.type, 'eip7702');
assert.equal((await open.getCode({ address: carol.address })).toLowerCase(), `0xef0100${address.slice(2).toLowerCase()}`);

// Gas is estimated so that it suffices, fees have a history, proofs have nodes.
const gas = await open.estimateContractGas({ abi, address, functionName: 'transfer', args: [carol.address, 1n], account: alice });
const tight = await landed(
  await wallet(alice).writeContract({ abi, address, functionName: 'transfer', args: [carol.address, 1n], gas }),
);
assert.equal(tight.status, 'success');
assert.ok((await open.getFeeHistory({ blockCount: 3, rewardPercentiles: [50] })).baseFeePerGas.length === 4);
const proof = await open.getProof({ address, storageKeys: [`0x${'0'.repeat(64)}`] });
assert.ok(proof.accountProof.length > 0);

// What would be is asked for without sending anything.
const asked = await open.simulateCalls({
  account: alice.address,
  traceAssetChanges: true,
  calls: [
    { to: bob.address, value: parseEther('1') },
    { to: address, abi, functionName: 'transfer', args: [bob.address, 5n] },
    { to: address, abi, functionName: 'transfer', args: [bob.address, 10n ** 30n] },
  ],
});
assert.deepEqual(asked.results.map(({ status }) => status), ['success', 'success', 'failure']);
assert.match(asked.results[2].error.message, /Insufficient/);
const changed = asked.assetChanges.find(({ token }) => token.address.toLowerCase() === address.toLowerCase());
assert.equal(changed.value.diff, -5n);
const balance = await open.getBalance({ address: bob.address });
const [first, second] = await open.simulateBlocks({
  blocks: [
    { calls: [{ account: alice.address, to: bob.address, value: 7n }] },
    { blockOverrides: { number: (await open.getBlockNumber()) + 2n }, calls: [{ account: bob.address, to: alice.address, value: 1n }] },
  ],
});
assert.equal(second.parentHash, first.hash);
assert.equal(second.calls[0].status, 'success');
assert.equal(await open.getBalance({ address: bob.address }), balance, 'nothing was sent');

// The WebSocket would keep the script alive.
process.exit(0);
