// Estimates are enough, simulations change nothing, and a tip is paid.

import assert from 'node:assert/strict';

import { account, balanceOf, landed, provider, same, transferCall } from './chain.mjs';

const [user, other] = [account(0), account(1)];
const call = transferCall(other.address, 5n);

const estimate = await user.estimateInvokeFee(call, { tip: 0n });
assert.equal(estimate.unit, 'FRI');
assert.ok(estimate.overall_fee > 0n);

// Simulated, it shows the transfer in its trace; nothing moves.
const nonce = await user.getNonce();
const balance = await balanceOf(other.address);
const { simulated_transactions } = await user.simulateTransaction([{ type: 'INVOKE', payload: call }], {
  skipValidate: false,
  tip: 0n,
});
assert.equal(simulated_transactions.length, 1);
const { transaction_trace } = simulated_transactions[0];
assert.equal(transaction_trace.type, 'INVOKE');
assert.ok(transaction_trace.execute_invocation.calls.some((inner) => same(inner.contract_address, call.contractAddress)));
assert.ok(transaction_trace.validate_invocation);
assert.equal(await balanceOf(other.address, undefined, 'pre_confirmed'), balance);
assert.equal(await user.getNonce(), nonce);

const unvalidated = await user.simulateTransaction([{ type: 'INVOKE', payload: call }], { skipValidate: true, tip: 0n });
assert.equal(unvalidated.simulated_transactions[0].transaction_trace.validate_invocation ?? null, null);

// The bounds of the estimate are enough. starknet.js adds half to amounts and half to prices: 2.25 times in all.
const plain = await landed(
  (await user.execute(call, { resourceBounds: estimate.resourceBounds, tip: 0n })).transaction_hash,
);
assert.equal(plain.execution_status, 'SUCCEEDED');
const paid = BigInt(plain.actual_fee.amount);
assert.ok(paid <= estimate.overall_fee, `paid ${paid}, estimated ${estimate.overall_fee}`);
assert.ok(paid * 3n >= estimate.overall_fee, `paid ${paid}, estimated ${estimate.overall_fee}`);

// A tip is paid for each unit of L2 gas.
const tip = 1_000_000_000n;
const tipped = await landed((await user.execute(call, { resourceBounds: estimate.resourceBounds, tip })).transaction_hash);
assert.equal(tipped.execution_status, 'SUCCEEDED');
assert.ok(same((await provider.getTransactionByHash(tipped.transaction_hash)).tip, tip));
const block = await provider.getBlockWithTxHashes(tipped.block_number);
const { l1_gas, l1_data_gas, l2_gas } = tipped.execution_resources;
const expected =
  BigInt(l1_gas) * BigInt(block.l1_gas_price.price_in_fri) +
  BigInt(l1_data_gas) * BigInt(block.l1_data_gas_price.price_in_fri) +
  BigInt(l2_gas) * (BigInt(block.l2_gas_price.price_in_fri) + tip);
assert.equal(BigInt(tipped.actual_fee.amount), expected);

// Who cannot pay is told before the transaction is taken.
const unfunded = { l1_gas: one(), l1_data_gas: one(), l2_gas: { max_amount: 1n, max_price_per_unit: 1n } };
await assert.rejects(user.execute(call, { resourceBounds: unfunded, tip: 0n }), (error) => [53, 55, 65].includes(error.code));

function one() {
  return { max_amount: 1n, max_price_per_unit: 1n };
}
