// The chain under test as the harness describes it, and the few moves that every script makes.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import './websocket.mjs';
import { Account, CallData, RpcProvider, cairo } from 'starknet';

/** What the harness says: endpoints, funded accounts, and the folder with contract classes. */
const chain = JSON.parse(process.env.SEQUENZA_CHAIN);

export const wsUrl = chain.ws;
export const STRK = '0x04718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d';
export const ETH = '0x049d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7';
export const OZ_ACCOUNT_CLASS = '0x05b4b537eaa2399e3aa99c4e2e0208ebd6c71bc1467938cd52c798c601e43564';

export const provider = await RpcProvider.create({ nodeUrl: chain.rpc });

/** The funded account number `index`. */
export function account(index) {
  const { address, privateKey } = chain.accounts[index];
  return new Account({ provider, address, signer: privateKey });
}

export function accountAt(address, privateKey) {
  return new Account({ provider, address, signer: privateKey });
}

/** A Sierra class with its CASM, by the name of its file. */
export function contractClass(name) {
  const read = (kind) => JSON.parse(readFileSync(join(chain.classes, `${name}.${kind}.json`), 'utf8'));
  return { contract: read('contract_class'), casm: read('compiled_contract_class') };
}

/** The call that moves `amount` of the smallest unit of `token`. */
export function transferCall(recipient, amount, token = STRK) {
  return {
    contractAddress: token,
    entrypoint: 'transfer',
    calldata: CallData.compile({ recipient, amount: cairo.uint256(amount) }),
  };
}

export async function balanceOf(owner, token = STRK, blockIdentifier = 'latest') {
  const call = { contractAddress: token, entrypoint: 'balance_of', calldata: [owner] };
  const [low, high] = await provider.callContract(call, blockIdentifier);
  return BigInt(low) + (BigInt(high) << 128n);
}

/** Waits until a transaction is in a sealed block and returns its receipt, whether it succeeded or was reverted. */
export async function landed(transactionHash) {
  const receipt = await provider.waitForTransaction(transactionHash, {
    retryInterval: 50,
    retries: 600,
    successStates: ['ACCEPTED_ON_L2'],
    errorStates: [],
  });
  return receipt.value ?? receipt;
}

/** Sends calls as a user would, with no details given, and waits for the sealed block. */
export async function send(from, calls, details) {
  const { transaction_hash } = await from.execute(calls, details);
  return landed(transaction_hash);
}

export const same = (a, b) => BigInt(a) === BigInt(b);

/** Asks `probe` until it gives something other than undefined. */
export async function eventually(what, probe, milliseconds = 15_000) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`waited ${milliseconds} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
