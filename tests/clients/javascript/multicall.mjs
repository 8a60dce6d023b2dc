// Several calls in one transaction happen together or not at all.

import assert from 'node:assert/strict';

import { ETH, account, balanceOf, landed, provider, same, send, transferCall } from './chain.mjs';

const user = account(0);
const [first, second] = [account(1).address, account(2).address];
const before = [await balanceOf(first), await balanceOf(second, ETH)];

const together = await send(user, [transferCall(first, 11n), transferCall(second, 22n, ETH), transferCall(first, 33n)]);
assert.equal(together.execution_status, 'SUCCEEDED');
assert.equal(await balanceOf(first), before[0] + 44n);
assert.equal(await balanceOf(second, ETH), before[1] + 22n);

// The second call asks for more than there is: the first must not stay, but the fee is paid and the nonce moves.
const tooMuch = (await balanceOf(user.address, ETH)) + 1n;
const bounds = await provider.getBlockWithTxHashes('latest').then((block) => ({
  l1_gas: { max_amount: 0x100000n, max_price_per_unit: 2n * BigInt(block.l1_gas_price.price_in_fri) },
  l1_data_gas: { max_amount: 0x10000n, max_price_per_unit: 2n * BigInt(block.l1_data_gas_price.price_in_fri) },
  l2_gas: { max_amount: 50_000_000n, max_price_per_unit: 2n * BigInt(block.l2_gas_price.price_in_fri) },
}));
const nonce = BigInt(await user.getNonce());
const strkBefore = await balanceOf(user.address);
const { transaction_hash } = await user.execute([transferCall(first, 55n), transferCall(second, tooMuch, ETH)], {
  resourceBounds: bounds,
  tip: 0n,
});
const reverted = await landed(transaction_hash);
assert.equal(reverted.execution_status, 'REVERTED');
assert.match(reverted.revert_reason, /./);
assert.equal(await balanceOf(first), before[0] + 44n);
assert.equal(await balanceOf(second, ETH), before[1] + 22n);
assert.equal(BigInt(await user.getNonce('latest')), nonce + 1n);
assert.equal(await balanceOf(user.address), strkBefore - BigInt(reverted.actual_fee.amount));

const status = await provider.getTransactionStatus(transaction_hash);
assert.equal(status.execution_status, 'REVERTED');
assert.equal(status.failure_reason, reverted.revert_reason);
assert.ok(same((await provider.getTransactionByHash(transaction_hash)).nonce, nonce));
