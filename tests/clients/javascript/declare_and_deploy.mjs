// Declare a class, deploy it through the universal deployer, read and change its state.

import assert from 'node:assert/strict';

import { CallData, hash, selector } from 'starknet';

import { account, contractClass, landed, provider, same, send } from './chain.mjs';

const user = account(0);
const { contract, casm } = contractClass('hello_starknet__hello_starknet');
const classHash = hash.computeContractClassHash(contract);

assert.equal(await provider.isClassDeclared({ classHash }), false);
const { resourceBounds } = await user.estimateDeclareFee({ contract, casm }, { tip: 0n });
const declared = await user.declare({ contract, casm });
assert.ok(same(declared.class_hash, classHash), 'the chain and starknet.js agree on the class hash');
assert.equal((await landed(declared.transaction_hash)).execution_status, 'SUCCEEDED');
assert.equal(await provider.isClassDeclared({ classHash }), true);

// What the chain serves is the class that was declared: the same hash comes out again.
const served = await provider.getClassByHash(classHash);
assert.deepEqual(served.entry_points_by_type, contract.entry_points_by_type);
const compiled = await provider.getCompiledCasm(classHash);
assert.equal(compiled.bytecode.length, casm.bytecode.length);

// A second declaration is refused with the codes of the specification: when it is estimated, and when it is sent.
await assert.rejects(user.declare({ contract, casm }), (error) => error.code === 41);
await assert.rejects(user.declare({ contract, casm }, { resourceBounds, tip: 0n }), (error) => error.code === 51);

const deployed = await user.deployContract({ classHash, constructorCalldata: [] }, { retryInterval: 50 });
const address = deployed.contract_address;
assert.equal((await landed(deployed.transaction_hash)).execution_status, 'SUCCEEDED');
assert.ok(same(await provider.getClassHashAt(address, 'latest'), classHash));
const balance = async (block) =>
  BigInt((await provider.callContract({ contractAddress: address, entrypoint: 'get_balance' }, block))[0]);
assert.equal(await balance('latest'), 0n);

const increase = (amount) => ({
  contractAddress: address,
  entrypoint: 'increase_balance',
  calldata: CallData.compile({ amount }),
});
const receipt = await send(user, increase(42));
assert.equal(receipt.execution_status, 'SUCCEEDED');
assert.equal(await balance('latest'), 42n);
assert.equal(await balance(receipt.block_number - 1), 0n);
const stored = await provider.getStorageAt(address, selector.starknetKeccak('balance'), 'latest');
assert.ok(same(stored.value, 42));
