// Events: every one is found exactly once, in order, however small the pages and whatever the filter.

import assert from 'node:assert/strict';

import { hash, num } from 'starknet';

import { ETH, STRK, account, provider, same, send, transferCall } from './chain.mjs';

const user = account(0);
const recipients = [1, 2, 3].map((index) => account(index).address);
const TRANSFER = hash.getSelectorFromName('Transfer');

const receipts = [];
for (const [round, to] of recipients.entries()) {
  receipts.push(await send(user, [transferCall(to, 1n + BigInt(round)), transferCall(to, 100n, ETH)]));
}
const from_block = { block_number: receipts[0].block_number };
const to_block = { block_number: receipts.at(-1).block_number };

/** Follows the continuation token to the end. */
async function all(filter, chunk_size) {
  const found = [];
  let continuation_token;
  do {
    const page = await provider.getEvents({ from_block, to_block, chunk_size, continuation_token, ...filter });
    assert.ok(page.events.length <= chunk_size);
    found.push(...page.events);
    continuation_token = page.continuation_token;
  } while (continuation_token);
  return found;
}

const name = (event) => `${event.transaction_hash}/${event.event_index}`;
const whole = await all({}, 1000);
assert.equal(new Set(whole.map(name)).size, whole.length, 'no event comes twice');
for (const chunk of [1, 2, 3, 7]) {
  assert.deepEqual((await all({}, chunk)).map(name), whole.map(name), `in pages of ${chunk}`);
}

// The receipts tell the same events in the same order.
const fromReceipts = receipts.flatMap((receipt) => receipt.events.map((_, index) => `${receipt.transaction_hash}/${index}`));
const ours = whole.filter((event) => receipts.some((receipt) => same(receipt.transaction_hash, event.transaction_hash)));
assert.deepEqual(ours.map(name).map(normalised), fromReceipts.map(normalised));

const strk = await all({ address: STRK, keys: [[TRANSFER]] }, 2);
const eth = await all({ address: ETH, keys: [[TRANSFER]] }, 2);
assert.equal(eth.length, 3);
assert.ok(strk.every((event) => same(event.from_address, STRK) && same(event.keys[0], TRANSFER)));
assert.deepEqual((await all({ address: [STRK, ETH], keys: [[TRANSFER]] }, 2)).length, strk.length + eth.length);
assert.deepEqual(await all({ keys: [[num.toHex(1)]] }, 2), []);

// A page larger than the chain allows is refused with the code of the specification.
await assert.rejects(all({}, 1_000_000_000), (error) => error.code === 31);
await assert.rejects(all({ continuation_token: 'nonsense' }, 2), (error) => error.code === 33);

function normalised(text) {
  const [transaction, index] = text.split('/');
  return `${num.toHex(transaction)}/${index}`;
}
