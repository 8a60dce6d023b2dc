// A transfer lands: balance, nonce, receipt, block and fee all tell the same story.

import assert from 'node:assert/strict';

import { account, balanceOf, landed, provider, same, transferCall } from './chain.mjs';

const [from, to] = [account(0), account(1)];
const amount = 12_345n;
const before = { from: await balanceOf(from.address), to: await balanceOf(to.address) };
const nonce = BigInt(await from.getNonce());

const { transaction_hash } = await from.execute(transferCall(to.address, amount));
const receipt = await landed(transaction_hash);

assert.equal(receipt.execution_status, 'SUCCEEDED');
assert.equal(receipt.finality_status, 'ACCEPTED_ON_L2');
assert.equal(receipt.actual_fee.unit, 'FRI');
const fee = BigInt(receipt.actual_fee.amount);
assert.ok(fee > 0n, 'fees are on by default');

assert.equal(await balanceOf(to.address), before.to + amount);
assert.equal(await balanceOf(from.address), before.from - amount - fee);
assert.equal(BigInt(await from.getNonce()), nonce + 1n);

const block = await provider.getBlockWithReceipts(receipt.block_number);
assert.ok(same(block.block_hash, receipt.block_hash));
const inside = block.transactions.find((each) => same(each.receipt.transaction_hash, transaction_hash));
assert.ok(inside, 'the block holds the transaction');
assert.ok(same(inside.receipt.actual_fee.amount, fee));

const sent = await provider.getTransactionByHash(transaction_hash);
assert.equal(sent.type, 'INVOKE');
assert.equal(sent.version, '0x3');
assert.ok(same(sent.nonce, nonce));

// The state of the block before still tells the old balance.
const parent = receipt.block_number - 1;
assert.equal(await balanceOf(to.address, undefined, parent), before.to);
