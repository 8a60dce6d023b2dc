// Leaves things on the chain and writes down what a later look must find. The last transfer may still wait in the pool.

import { writeFileSync } from 'node:fs';

import { account, balanceOf, provider, send, transferCall } from './chain.mjs';

const [user, other] = [account(0), account(1)];
const receipt = await send(user, transferCall(other.address, 1_000n));
const block = await provider.getBlockWithTxHashes(receipt.block_number);
const balance = await balanceOf(other.address);
const waiting = await user.execute(transferCall(other.address, 1n));

writeFileSync(
  process.env.SEQUENZA_NOTES,
  JSON.stringify({
    transaction: receipt.transaction_hash,
    blockNumber: receipt.block_number,
    blockHash: block.block_hash,
    newRoot: block.new_root,
    balance: balance.toString(),
    waiting: waiting.transaction_hash,
  }),
);
