// What developers ask of a local chain: blocks when they say, time as they say, and the state put as they like.

import assert from 'node:assert/strict';

import { parseEther } from 'viem';

import { accounts, clients, described } from './world.mjs';

const { open, test, wallet } = clients(described.rpc);
const [alice, bob] = accounts;
const stranger = '0x00000000000000000000000000000000000000a1';
const landed = (hash) => open.waitForTransactionReceipt({ hash });

const first = await open.getBlockNumber();
await test.mine({ blocks: 3 });
assert.equal(await open.getBlockNumber(), first + 3n);

await test.setAutomine(false);
const waiting = await wallet(alice).sendTransaction({ to: bob.address, value: 1n });
await new Promise((resolve) => setTimeout(resolve, 200));
assert.equal(await open.getBlockNumber(), first + 3n, 'no block unless asked for');
assert.equal((await test.getTxpoolStatus()).pending, 1);
await test.mine({ blocks: 1 });
assert.equal((await landed(waiting)).blockNumber, first + 4n);
await test.setAutomine(true);

const before = await open.getBlock();
await test.increaseTime({ seconds: 1_000 });
await test.mine({ blocks: 1 });
// Blocks that follow each other quickly are dated a second apart, so the chain may have been a little ahead.
assert.ok((await open.getBlock()).timestamp >= before.timestamp + 900n);
const date = (await open.getBlock()).timestamp + 500n;
await test.setNextBlockTimestamp({ timestamp: date });
await test.mine({ blocks: 1 });
assert.equal((await open.getBlock()).timestamp, date);

const id = await test.snapshot();
const height = await open.getBlockNumber();
const balance = await open.getBalance({ address: bob.address });
await landed(await wallet(alice).sendTransaction({ to: bob.address, value: parseEther('1') }));
await test.revert({ id });
assert.equal(await open.getBlockNumber(), height);
assert.equal(await open.getBalance({ address: bob.address }), balance);

await test.setBalance({ address: stranger, value: parseEther('7') });
await test.setNonce({ address: stranger, nonce: 5 });
await test.setStorageAt({ address: stranger, index: 1, value: `0x${'2a'.padStart(64, '0')}` });
assert.equal(await open.getBalance({ address: stranger }), parseEther('7'));
assert.equal(await open.getTransactionCount({ address: stranger }), 5);
assert.equal(BigInt(await open.getStorageAt({ address: stranger, slot: '0x1' })), 42n);
await test.impersonateAccount({ address: stranger });
const sent = await landed(await wallet(stranger).sendTransaction({ account: stranger, to: bob.address, value: 1n }));
assert.equal(sent.status, 'success');
assert.equal(sent.from, stranger);
await test.stopImpersonatingAccount({ address: stranger });
await test.setCode({ address: stranger, bytecode: '0x602a60005260206000f3' });
assert.equal(BigInt((await open.call({ to: stranger })).data), 42n);
