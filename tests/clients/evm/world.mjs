// The chain under test as the harness describes it, the token that the scripts use, and the accounts that every chain has.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { createPublicClient, createTestClient, createWalletClient, http } from 'viem';
import { mnemonicToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';

export const described = JSON.parse(process.env.SEQUENZA_CHAIN);

const WORDS = 'test test test test test test test test test test test junk';
export const accounts = [...Array(10).keys()].map((addressIndex) => mnemonicToAccount(WORDS, { addressIndex }));

/** viem's clients of the chain at `url`; answers are asked for anew each time. */
export function clients(url) {
  const options = { chain: foundry, transport: http(url), cacheTime: 0, pollingInterval: 20 };
  return {
    open: createPublicClient(options),
    test: createTestClient({ ...options, mode: 'anvil' }),
    wallet: (account) => createWalletClient({ ...options, account }),
  };
}

/** The token of contracts/Token.sol, compiled now. */
export function token() {
  const solc = createRequire(import.meta.url)('solc');
  const content = readFileSync(new URL('../contracts/Token.sol', import.meta.url), 'utf8');
  const outputSelection = { '*': { '*': ['abi', 'evm.bytecode.object'] } };
  const settings = { optimizer: { enabled: true }, evmVersion: 'prague', outputSelection };
  const input = { language: 'Solidity', sources: { 'Token.sol': { content } }, settings };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const faults = (output.errors ?? []).filter(({ severity }) => severity === 'error');
  if (faults.length > 0) throw new Error(faults[0].formattedMessage);
  const { abi, evm } = output.contracts['Token.sol'].Token;
  return { abi, bytecode: `0x${evm.bytecode.object}` };
}

/** Asks `probe` until it gives something other than undefined. */
export async function eventually(what, probe, milliseconds = 15_000) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`waited ${milliseconds} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The receipt of a transaction, asked for until it is there. */
export function landed({ open }, hash) {
  const known = (error) => {
    if (error.name === 'TransactionReceiptNotFoundError') return undefined;
    throw error;
  };
  return eventually(`${hash} at ${open.transport.url}`, () => open.getTransactionReceipt({ hash }).catch(known), 20_000);
}
