// A new account: computed before it exists, funded, deployed by itself, and then used.

import assert from 'node:assert/strict';

import { CallData, ec, hash, stark } from 'starknet';

import { OZ_ACCOUNT_CLASS, account, accountAt, balanceOf, landed, provider, same, send, transferCall } from './chain.mjs';

const privateKey = stark.randomAddress();
const publicKey = ec.starkCurve.getStarkKey(privateKey);
const constructorCalldata = CallData.compile({ publicKey });
const address = hash.calculateContractAddressFromHash(publicKey, OZ_ACCOUNT_CLASS, constructorCalldata, 0);

const funds = 10n ** 18n;
assert.equal((await send(account(0), transferCall(address, funds))).execution_status, 'SUCCEEDED');

const fresh = accountAt(address, privateKey);
const deployment = await fresh.deployAccount({
  classHash: OZ_ACCOUNT_CLASS,
  constructorCalldata,
  addressSalt: publicKey,
});
assert.ok(same(deployment.contract_address, address));
const receipt = await landed(deployment.transaction_hash);
assert.equal(receipt.execution_status, 'SUCCEEDED');
assert.equal(receipt.type, 'DEPLOY_ACCOUNT');
assert.ok(same(await provider.getClassHashAt(address, 'latest'), OZ_ACCOUNT_CLASS));
assert.equal(BigInt(await fresh.getNonce('latest')), 1n);

const other = account(1).address;
const before = await balanceOf(other);
assert.equal((await send(fresh, transferCall(other, 7n))).execution_status, 'SUCCEEDED');
assert.equal(await balanceOf(other), before + 7n);
