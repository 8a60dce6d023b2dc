// Traces of sealed transactions, one by one and by block, for success and for revert.

import assert from 'node:assert/strict';

import { STRK, account, balanceOf, landed, provider, same, send, transferCall } from './chain.mjs';

const [user, other] = [account(0), account(1)];
const good = await send(user, [transferCall(other.address, 1n), transferCall(other.address, 2n)]);
const trace = await provider.getTransactionTrace(good.transaction_hash);

assert.equal(trace.type, 'INVOKE');
const calls = trace.execute_invocation.calls;
assert.equal(calls.length, 2);
assert.ok(calls.every((call) => same(call.contract_address, STRK)));
assert.ok(same(trace.validate_invocation.contract_address, user.address));
assert.ok(same(trace.fee_transfer_invocation.contract_address, STRK));
const storage = trace.state_diff.storage_diffs.find((diff) => same(diff.address, STRK));
assert.ok(storage.storage_entries.length >= 2);
assert.deepEqual(trace.execution_resources, good.execution_resources);

const block = await provider.getBlockTransactionsTraces(good.block_number);
const inBlock = block.find((each) => same(each.transaction_hash, good.transaction_hash));
assert.deepEqual(inBlock.trace_root, trace);

const estimate = await user.estimateInvokeFee(transferCall(other.address, 1n), { tip: 0n });
const tooMuch = (await balanceOf(user.address)) * 2n;
const sent = await user.execute(transferCall(other.address, tooMuch), {
  resourceBounds: estimate.resourceBounds,
  tip: 0n,
});
const bad = await landed(sent.transaction_hash);
assert.equal(bad.execution_status, 'REVERTED');
const reverted = await provider.getTransactionTrace(bad.transaction_hash);
assert.equal(reverted.execute_invocation.revert_reason, bad.revert_reason);

await assert.rejects(provider.getTransactionTrace('0x123'), (error) => error.code === 29);
