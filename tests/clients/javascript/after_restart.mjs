// Finds everything that was there before the restart, and goes on from it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { account, balanceOf, landed, provider, same, send, transferCall } from './chain.mjs';

const notes = JSON.parse(readFileSync(process.env.SEQUENZA_NOTES, 'utf8'));
const [user, other] = [account(0), account(1)];

const block = await provider.getBlockWithTxHashes(notes.blockNumber);
assert.ok(same(block.block_hash, notes.blockHash));
assert.ok(same(block.new_root, notes.newRoot));
const receipt = await provider.getTransactionReceipt(notes.transaction);
assert.equal((receipt.value ?? receipt).finality_status, 'ACCEPTED_ON_L2');
assert.equal(await balanceOf(other.address, undefined, notes.blockNumber), BigInt(notes.balance));

// What was acknowledged is not lost, wherever it stood.
assert.equal((await landed(notes.waiting)).execution_status, 'SUCCEEDED');
assert.equal(await balanceOf(other.address), BigInt(notes.balance) + 1n);

// And life goes on.
const next = await send(user, transferCall(other.address, 5n));
assert.equal(next.execution_status, 'SUCCEEDED');
assert.ok(next.block_number > notes.blockNumber);
assert.equal(await balanceOf(other.address), BigInt(notes.balance) + 6n);
