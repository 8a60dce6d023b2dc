// WebSocket subscriptions: heads in order, and every stage of a transaction as it passes.

import assert from 'node:assert/strict';

import './websocket.mjs';
import { WebSocketChannel, hash } from 'starknet';

import { STRK, account, eventually, landed, provider, same, transferCall, wsUrl } from './chain.mjs';

const channel = new WebSocketChannel({ nodeUrl: wsUrl });
await channel.waitForConnection();

const [user, other] = [account(0), account(1)];
const heads = await collect(channel.subscribeNewHeads());
const events = await collect(
  channel.subscribeEvents({ fromAddress: STRK, keys: [[hash.getSelectorFromName('Transfer')]], finalityStatus: 'ACCEPTED_ON_L2' }),
);
const transactions = await collect(
  channel.subscribeNewTransactions({ finalityStatus: ['PRE_CONFIRMED', 'ACCEPTED_ON_L2'], senderAddress: [user.address] }),
);
const receipts = await collect(
  channel.subscribeNewTransactionReceipts({ finalityStatus: ['ACCEPTED_ON_L2'], senderAddress: [user.address] }),
);

const { transaction_hash } = await user.execute(transferCall(other.address, 77n));
const statuses = await collect(channel.subscribeTransactionStatus({ transactionHash: transaction_hash }));
const receipt = await landed(transaction_hash);
const ours = (found) => same(found.transaction_hash, transaction_hash);

const event = await eventually('the event of the transfer', () => events.seen.find(ours));
assert.equal(event.finality_status, 'ACCEPTED_ON_L2');
assert.ok(same(event.from_address, STRK));
assert.equal(event.block_number, receipt.block_number);

await eventually('the accepted transaction', () =>
  transactions.seen.find((found) => ours(found) && found.finality_status === 'ACCEPTED_ON_L2'),
);
const told = await eventually('the receipt', () => receipts.seen.find(ours));
assert.equal(told.finality_status, 'ACCEPTED_ON_L2');
assert.ok(same(told.actual_fee.amount, receipt.actual_fee.amount));

await eventually('the accepted status', () =>
  statuses.seen.find((found) => ours(found) && found.status.finality_status === 'ACCEPTED_ON_L2'),
);
const stages = ['RECEIVED', 'CANDIDATE', 'PRE_CONFIRMED', 'ACCEPTED_ON_L2'];
const passed = statuses.seen.map((found) => stages.indexOf(found.status.finality_status));
assert.deepEqual(passed, [...passed].sort(), 'a transaction only moves forward');

// Heads follow each other without a hole.
await eventually('three heads', () => (heads.seen.length >= 3 ? true : undefined));
for (const [index, head] of heads.seen.entries()) {
  if (index > 0) {
    assert.equal(head.block_number, heads.seen[index - 1].block_number + 1);
    assert.ok(same(head.parent_hash, heads.seen[index - 1].block_hash));
  }
}
const known = heads.seen[0];
assert.ok(same((await provider.getBlockWithTxHashes(known.block_number)).block_hash, known.block_hash));

// From a past block on: the ones that were missed come first.
const first = receipt.block_number - 2;
const past = await collect(channel.subscribeNewHeads({ blockIdentifier: first }));
await eventually('the heads of the past', () => (past.seen.length >= 4 ? true : undefined));
assert.deepEqual(
  past.seen.slice(0, 4).map((head) => head.block_number),
  [first, first + 1, first + 2, first + 3],
);

// After the subscription is given up, nothing more comes.
assert.equal(await heads.subscription.unsubscribe(), true);
const count = heads.seen.length;
const height = await provider.getBlockNumber();
await eventually('two more blocks', async () => ((await provider.getBlockNumber()) >= height + 2 ? true : undefined));
assert.equal(heads.seen.length, count);

channel.disconnect();
await channel.waitForDisconnection();

async function collect(subscribing) {
  const subscription = await subscribing;
  const seen = [];
  subscription.on((found) => seen.push(found));
  return { subscription, seen };
}
