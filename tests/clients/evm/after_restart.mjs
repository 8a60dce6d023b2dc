// Everything that before_restart.mjs saw is still there, and the chain goes on.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { accounts, clients, described, token } from './world.mjs';

const { open, wallet } = clients(described.rpc);
const [alice, bob] = accounts;
const { abi } = token();
const { contractAddress: address, transactionHash: hash, blockHash } = JSON.parse(readFileSync(process.env.SEQUENZA_NOTES));
const receipt = await open.getTransactionReceipt({ hash });
assert.equal(receipt.blockHash, blockHash);
assert.equal(receipt.logs.length, 1);
assert.equal((await open.getBlock({ blockHash })).transactions[0], hash);
assert.equal(await open.readContract({ abi, address, functionName: 'balanceOf', args: [bob.address] }), 7n);
const next = await wallet(alice).writeContract({ abi, address, functionName: 'transfer', args: [bob.address, 1n] });
assert.equal((await open.waitForTransactionReceipt({ hash: next })).status, 'success');
assert.equal(await open.readContract({ abi, address, functionName: 'balanceOf', args: [bob.address] }), 8n);
